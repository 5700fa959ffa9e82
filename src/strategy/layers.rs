//! `layers`: one weighted layer at a time; Algorithm 1 (LW) of the block-wise paper.

use super::{Candidate, Network, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Layers;

impl StrategyName {
    /// `layers`: the best single layer.
    pub const LAYERS: StrategyName = StrategyName::plain(&(&Layers as _));
}

impl Strategy for Layers {
    fn word(&self) -> &'static str {
        "layers"
    }

    fn trains(&self, _count: usize) -> String {
        "the best layer".to_owned()
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        &[StrategyName::LAYERS]
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(single_layers(network))
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Layer)
    }
}

/// A candidate for each layer of the backbone, the last one first.
pub(super) fn single_layers(network: &Network<'_>) -> Vec<Candidate> {
    let layers = network.analysis.backbone_layers();
    let candidate = |(place, &layer): (usize, &usize)| {
        let name = &network.analysis.weighted[layer].name;
        network.candidate(format!("layers-{:02}", place + 1), name, &[layer])
    };
    layers.iter().enumerate().rev().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{ids, network, vgg};

    #[test]
    fn layers_are_tried_one_by_one_from_the_output_end() {
        let analysis = vgg();
        let network = network(&analysis);
        let candidates = StrategyName::LAYERS.candidates(&network).unwrap();
        assert_eq!(
            ids(&candidates),
            ["layers-04", "layers-03", "layers-02", "layers-01"]
        );
        assert_eq!(candidates[0].layers, ["conv4"]);
        let best = StrategyName::LAYERS.winner(&network, &candidates, &[2, 0, 1]);
        assert_eq!(best, candidates[2]);
    }
}
