//! `full`: every weighted layer, and what no layer owns; Baseline II of the block-wise paper.

use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Full;

impl StrategyName {
    /// `full`: all layers.
    pub const FULL: StrategyName = StrategyName::plain(&(&Full as _));
}

impl Strategy for Full {
    fn word(&self) -> &'static str {
        "full"
    }

    fn trains(&self, _count: usize) -> String {
        "everything".to_owned()
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        &[StrategyName::FULL]
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let layers = network.analysis.backbone_layers();
        let tensors: Vec<&String> = network.loose().map(|(name, _)| name).collect();
        let candidate = network.candidate_of("full".to_owned(), "all layers", &layers, &tensors);
        Ok(vec![candidate])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn every_layer_before_the_classifier_trains_and_the_head_last() {
        let analysis = vgg();
        let candidates = StrategyName::FULL.candidates(&network(&analysis)).unwrap();
        let [full] = candidates.as_slice() else {
            panic!("{candidates:?}")
        };
        assert_eq!(full.layers, ["conv1", "conv2", "conv3", "conv4"]);
        let owned = analysis.backbone_layers().into_iter();
        let owned = owned.flat_map(|l| &analysis.weighted[l].parameters);
        let head = "head".to_owned();
        assert!(full.trainable.iter().eq(owned.chain([&head])));
    }
}
