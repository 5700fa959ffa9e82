//! `adafilter`: convolutions with a tuned copy of each filter, and a network that chooses between the two for each
//! sample (Guo et al., "AdaFilter: Adaptive Filter Fine-Tuning for Deep Transfer Learning", AAAI 2020). How it is
//! read is told in `surgery/rewrite/adafilter/`. The block-wise paper does not have it.

use serde::{Deserialize, Serialize};

use crate::surgery::Rewrite;
use crate::surgery::rewrite::{AdaFilter, FilterGate, GateStart, Gateable, Number, TunedShare};

use super::pattern::meant;
use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Adaptive;

impl StrategyName {
    /// `adafilter`: filters that are chosen for each sample.
    pub const ADAFILTER: StrategyName = StrategyName::plain(&(&Adaptive as _));
}

/// What `adafilter` gates, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaFilterOptions {
    /// Patterns of the convolutions: layers, parameters or blocks by name; empty for those of the last half.
    pub layers: Vec<String>,
    /// What opens the gates.
    pub gate: FilterGate,
    /// Where training begins.
    pub start: GateStart,
    /// Width of the gate network; `None` for a quarter of the mean number of channels, 16 to 64.
    pub width: Option<usize>,
    /// The share of open gates that the loss asks for, 0 to 1; `None` asks for none.
    pub share: Option<f32>,
    /// Whether gates that are the same for all validation samples are taken out of the model that leaves, with the
    /// filters that are never taken.
    pub bake: bool,
}

/// What `(share − target)²` counts in the loss: at a tenth from the target as much as a tenth of a loss of 1.
const SHARE_WEIGHT: f32 = 10.0;

impl AdaFilterOptions {
    fn width_for(&self, chosen: &[&Gateable]) -> usize {
        let channels: usize = chosen.iter().map(|g| g.channels).sum();
        let quarter = channels / (4 * chosen.len().max(1));
        self.width
            .unwrap_or_else(|| (quarter.div_ceil(8) * 8).clamp(16, 64))
    }
}

impl Strategy for Adaptive {
    fn word(&self) -> &'static str {
        "adafilter"
    }

    fn trains(&self, _count: usize) -> String {
        "copies of the filters of the last half of all convolutions, with a gate that takes them or the frozen ones for \
         each image"
            .to_owned()
    }

    /// One candidate; none where no convolution can be gated.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let options = &network.adafilter;
        let analysis = network.analysis;
        let mut all = Vec::new();
        for layer in analysis.backbone_layers() {
            let layer = &analysis.weighted[layer];
            let own = |g: &&Gateable| layer.parameters.contains(&g.weight);
            if let Some(gateable) = network.gateable.iter().find(own) {
                all.push((layer, gateable));
            }
        }
        let names = all.iter().map(|&(layer, gateable)| {
            let block = analysis.blocks.get(layer.block).map(|b| b.name.as_str());
            let own = [layer.name.as_str(), gateable.weight.as_str()];
            own.into_iter().chain(block).collect()
        });
        let places = 0..all.len();
        let chosen: Vec<usize> = match options.layers.as_slice() {
            [] => places.skip(all.len() / 2).collect(),
            [all] if all == "all" => places.collect(),
            patterns => meant(patterns, &Vec::from_iter(names))?,
        };
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let gated: Vec<&Gateable> = chosen.iter().map(|&at| all[at].1).collect();
        let adafilter = AdaFilter {
            weights: gated.iter().map(|g| g.weight.clone()).collect(),
            gate: options.gate,
            start: options.start,
            width: options.width_for(&gated),
            share: options.share.map(|target| TunedShare {
                target: Number(target),
                weight: Number(SHARE_WEIGHT),
            }),
            seed: network.seed,
            dependent: None,
        };
        let of_gate = match options.gate {
            FilterGate::Learned => adafilter.gate_parameters(),
            _ => Vec::new(),
        };
        let tuned = gated.iter().flat_map(|g| &g.tuned).cloned();
        Ok(vec![Candidate {
            id: "adafilter".to_owned(),
            label: match gated.len() {
                1 => "filters of 1 convolution".to_owned(),
                n => format!("filters of {n} convolutions"),
            },
            layers: chosen.iter().map(|&at| all[at].0.name.clone()).collect(),
            trainable: tuned.chain(of_gate).chain(network.head.clone()).collect(),
            rewrite: Rewrite::AdaFilter(adafilter),
        }])
    }

    fn gates_filters(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    fn adafilter(options: AdaFilterOptions) -> Result<Candidate, StrategyError> {
        let analysis = vgg();
        let network = Network {
            adafilter: options,
            ..network(&analysis)
        };
        let mut candidates = StrategyName::ADAFILTER.candidates(&network)?;
        assert_eq!(candidates.len(), 1, "{candidates:?}");
        Ok(candidates.remove(0))
    }

    fn of(layers: &[&str]) -> AdaFilterOptions {
        AdaFilterOptions {
            layers: layers.iter().map(|&l| l.to_owned()).collect(),
            ..AdaFilterOptions::default()
        }
    }

    #[test]
    fn the_last_half_is_gated_and_copies_gates_and_head_are_trained() {
        let found = adafilter(of(&[])).unwrap();
        assert_eq!(found.layers, ["conv3", "conv4"]);
        let Rewrite::AdaFilter(rewrite) = &found.rewrite else {
            panic!("{found:?}")
        };
        assert_eq!(rewrite.weights, ["conv3.w", "conv4.w"]);
        assert_eq!(rewrite.width, 16);
        let trains = |name: &str| found.trainable.iter().any(|t| t == name);
        assert!(trains("ftsurgery/adafilter/conv3.w/weight"));
        assert!(trains("ftsurgery/adafilter/conv4.w/logits/weight"));
        assert!(trains("ftsurgery/adafilter-lstm/recurrence"));
        assert!(!trains("conv3.w"));
        assert_eq!(found.trainable.last().unwrap(), "head");
    }

    #[test]
    fn patterns_choose_layers_and_one_that_matches_nothing_is_told() {
        assert_eq!(adafilter(of(&["all"])).unwrap().layers.len(), 4);
        assert_eq!(
            adafilter(of(&["block1", "conv4"])).unwrap().layers,
            ["conv1", "conv2", "conv4"]
        );
        let error = adafilter(of(&["conv9"])).unwrap_err();
        assert!(matches!(error, StrategyError::NoMatch { pattern, .. } if pattern == "conv9"));
    }

    #[test]
    fn gates_that_are_drawn_or_constant_are_not_trained() {
        for gate in [FilterGate::Random, FilterGate::Ones, FilterGate::Zeros] {
            let found = adafilter(AdaFilterOptions {
                gate,
                ..AdaFilterOptions::default()
            })
            .unwrap();
            let of_gate =
                |t: &&String| t.contains("lstm") || t.contains("logits") || t.contains("project");
            assert_eq!(found.trainable.iter().find(of_gate), None, "{gate:?}");
        }
    }
}
