//! What a few gradients say of where to train, before anything is trained: the content of `scores.json`.

use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::training::Sensitivity;

/// What the gradients of some samples, one by one, at the head as it stands before training, say of a layer or
/// a block. Sums run over its elements i and samples n; ḡ is the mean gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitScores {
    /// Name of the layer or block.
    pub name: String,
    /// Trained values.
    pub parameters: usize,
    /// Multiply-accumulate operations of its forward pass for one sample; `None` if not known.
    pub macs: Option<u64>,
    /// ‖ḡ‖ / ‖w‖: relative gradient norm (Auto-RGN; Lee et al., "Surgical fine-tuning", 2023).
    pub relative_gradient: f64,
    /// Mean over the elements of ḡᵢ² / varₙ gₙᵢ (Auto-SNR, same source).
    pub signal_to_noise: f64,
    /// Mean over the elements of meanₙ gₙᵢ²: the diagonal of the empirical Fisher information, per value that is
    /// trained.
    pub fisher: f64,
    /// Σᵢ meanₙ gₙᵢ², divided by its shares of all parameters and of all operations: information per cost, as
    /// TinyTrain (2024) weighs its channels' potential. `None` where operations are not known.
    pub fisher_per_cost: Option<f64>,
    /// (Σᵢ ḡᵢ²)² / (2 Σᵢ ḡᵢ² meanₙ gₙᵢ²): how far a quadratic model, whose curvature is the diagonal of the
    /// Fisher information, says that the loss falls by one step along ḡ.
    pub gain: f64,
}

/// The scores of a network's layers and blocks before the classifier, each from input to output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Samples whose gradients were taken.
    pub samples: usize,
    /// Of each weighted layer with a gradient.
    pub layers: Vec<UnitScores>,
    /// Of each block with a gradient.
    pub blocks: Vec<UnitScores>,
}

impl Scores {
    /// The blocks by their place among those before the classifier, the one with the largest relative gradient
    /// norm first.
    pub fn promising(&self, analysis: &Analysis) -> Vec<usize> {
        let score = |name: &str| {
            let block = self.blocks.iter().find(|b| b.name == name);
            block.map(|b| b.relative_gradient)
        };
        let blocks = analysis.backbone_blocks().enumerate();
        let mut scored: Vec<(usize, f64)> = blocks
            .filter_map(|(place, block)| Some((place, score(&block.name)?)))
            .collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored.into_iter().map(|(place, _)| place).collect()
    }

    /// Of what the gradients of so many samples say of tensors.
    pub fn of(analysis: &Analysis, found: &[Sensitivity], samples: usize) -> Self {
        let of = |name: &str, parameters: &[&String], macs: Option<u64>| {
            let tensors = found
                .iter()
                .filter(|s| parameters.iter().any(|p| **p == s.name));
            UnitScores::of(name, &tensors.collect::<Vec<_>>(), macs, analysis)
        };
        let macs_of = |layers: &[usize]| -> Option<u64> {
            let rows = analysis.layers.iter();
            let rows = rows.filter(|row| row.weighted.is_some_and(|w| layers.contains(&w)));
            rows.map(|row| row.macs).sum()
        };
        let layers = analysis.backbone_layers().into_iter().filter_map(|index| {
            let layer = &analysis.weighted[index];
            let parameters: Vec<&String> = layer.parameters.iter().collect();
            of(&layer.name, &parameters, macs_of(&[index]))
        });
        let blocks = analysis.backbone_blocks().filter_map(|block| {
            let owned = block
                .layers
                .iter()
                .filter_map(|&w| analysis.weighted.get(w));
            let owned = owned.flat_map(|w| &w.parameters);
            let parameters: Vec<&String> = owned.chain(&block.tensors).collect();
            of(&block.name, &parameters, macs_of(&block.layers))
        });
        Scores {
            samples,
            layers: layers.collect(),
            blocks: blocks.collect(),
        }
    }
}

impl UnitScores {
    /// Of its tensors; `None` where it has none with a gradient.
    fn of(
        name: &str,
        tensors: &[&Sensitivity],
        macs: Option<u64>,
        analysis: &Analysis,
    ) -> Option<Self> {
        let sum = |of: fn(&Sensitivity) -> f64| tensors.iter().map(|t| of(t)).sum::<f64>();
        let parameters: usize = tensors.iter().map(|t| t.elements).sum();
        if parameters == 0 {
            return None;
        }
        let gradient = sum(|t| t.gradient);
        let fisher = sum(|t| t.fisher);
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let share = |part: f64, all: f64| ratio(part, all);
        let of_parameters = share(parameters as f64, analysis.totals.parameters as f64);
        let of_macs = macs
            .zip(analysis.totals.macs)
            .map(|(m, all)| share(m as f64, all as f64));
        Some(UnitScores {
            name: name.to_owned(),
            parameters,
            macs,
            relative_gradient: ratio(gradient.sqrt(), sum(|t| t.weight).sqrt()),
            signal_to_noise: sum(|t| t.signal) / parameters as f64,
            fisher: fisher / parameters as f64,
            fisher_per_cost: of_macs.map(|m| ratio(fisher, of_parameters * m)),
            gain: ratio(gradient * gradient, 2.0 * sum(|t| t.curvature)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{AnalyzeOptions, nets};

    fn tensor(name: &str, elements: usize, gradient: f64) -> Sensitivity {
        Sensitivity {
            name: name.to_owned(),
            elements,
            weight: 4.0,
            gradient,
            fisher: 3.0,
            signal: elements as f64 / 2.0,
            curvature: 0.5,
        }
    }

    #[test]
    fn a_unit_has_the_sums_of_its_tensors() {
        let analysis = Analysis::of_graph(&nets::vgg(), &[], &AnalyzeOptions::default()).unwrap();
        let found = [
            tensor("conv3.w", 10, 1.0),
            tensor("conv3.b", 2, 3.0),
            tensor("conv4.w", 8, 9.0),
        ];
        let scores = Scores::of(&analysis, &found, 5);
        let names = |units: &[UnitScores]| -> Vec<String> {
            units.iter().map(|u| u.name.clone()).collect()
        };
        assert_eq!(names(&scores.layers), ["conv3", "conv4"]);
        assert_eq!(names(&scores.blocks), ["block2", "block3"]);
        let conv3 = &scores.layers[0];
        assert_eq!((conv3.parameters, scores.samples), (12, 5));
        assert!((conv3.relative_gradient - (4.0f64 / 8.0).sqrt()).abs() < 1e-12);
        assert!((conv3.signal_to_noise - 0.5).abs() < 1e-12);
        assert!((conv3.fisher - 0.5).abs() < 1e-12);
        assert!((conv3.gain - 16.0 / 2.0).abs() < 1e-12);
        let cost = 12.0 / analysis.totals.parameters as f64 * conv3.macs.unwrap() as f64
            / analysis.totals.macs.unwrap() as f64;
        assert!((conv3.fisher_per_cost.unwrap() - 6.0 / cost).abs() < 1e-6);
        // Of three blocks, the last two have a gradient.
        assert_eq!(scores.promising(&analysis), [2, 1]);
    }
}
