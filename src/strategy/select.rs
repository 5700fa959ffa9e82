//! `select`: the layers and parameters that the user names.

use super::pattern::matches;
use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Select;

impl StrategyName {
    /// `select`: the layers that the user names.
    pub const SELECT: StrategyName = StrategyName::plain(&(&Select as _));
}

impl Strategy for Select {
    fn word(&self) -> &'static str {
        "select"
    }

    fn trains(&self, _count: usize) -> String {
        "those of --train".to_owned()
    }

    /// One candidate of all that a [`pattern`](super::pattern) matches: layers by their name, their parameters'
    /// names and their block's, and parameters that no layer owns by their name and their block's.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let analysis = network.analysis;
        if network.selection.is_empty() {
            return Err(StrategyError::NoSelection);
        }
        let all = analysis.backbone_layers();
        let matches_layer = |pattern: &str, layer: usize| {
            let layer = &analysis.weighted[layer];
            let block = analysis.blocks.get(layer.block).map(|b| &b.name);
            let mut names = std::iter::once(&layer.name)
                .chain(&layer.parameters)
                .chain(block);
            names.any(|name| matches(pattern, name))
        };
        let matches_tensor = |pattern: &str, (name, block): (&String, &str)| {
            matches(pattern, name) || matches(pattern, block)
        };
        let idle = |p: &&String| {
            !all.iter().any(|&l| matches_layer(p, l))
                && !network.loose().any(|t| matches_tensor(p, t))
        };
        if let Some(pattern) = network.selection.iter().find(idle) {
            let layers: Vec<&str> = all
                .iter()
                .map(|&l| analysis.weighted[l].name.as_str())
                .collect();
            return Err(StrategyError::NoMatch {
                pattern: pattern.clone(),
                layers: layers.join(", "),
            });
        }
        let layers: Vec<usize> = all
            .iter()
            .copied()
            .filter(|&l| network.selection.iter().any(|p| matches_layer(p, l)))
            .collect();
        let tensors: Vec<&String> = network
            .loose()
            .filter(|&t| network.selection.iter().any(|p| matches_tensor(p, t)))
            .map(|(name, _)| name)
            .collect();
        let label = network.selection.join(", ");
        Ok(vec![network.candidate_of(
            "select".to_owned(),
            &label,
            &layers,
            &tensors,
        )])
    }

    fn takes_patterns(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    fn selected(patterns: &[&str]) -> Result<Vec<Candidate>, StrategyError> {
        let analysis = vgg();
        let selection: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        StrategyName::SELECT.candidates(&Network {
            selection: &selection,
            ..network(&analysis)
        })
    }

    #[test]
    fn patterns_name_layers_parameters_and_blocks() {
        for (patterns, layers) in [
            (&["conv2"][..], &["conv2"][..]),
            (&["conv3.w"], &["conv3"]),
            (&["block1", "conv4"], &["conv1", "conv2", "conv4"]),
            (&["conv{1,3}"], &["conv1", "conv3"]),
        ] {
            let candidates = selected(patterns).unwrap();
            assert_eq!(candidates.len(), 1, "{patterns:?}");
            assert_eq!(candidates[0].layers, layers, "{patterns:?}");
        }
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_told_with_the_layers_there_are() {
        assert_eq!(selected(&[]), Err(StrategyError::NoSelection));
        let error = selected(&["conv1", "conv9"]).unwrap_err().to_string();
        assert!(error.contains("`conv9`"), "{error}");
        assert!(error.contains("conv1, conv2, conv3, conv4"), "{error}");
    }
}
