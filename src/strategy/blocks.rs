//! `blocks`: one block at a time; Algorithm 2 of the block-wise paper.

use super::{Candidate, Network, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct Blocks;

impl StrategyName {
    /// `blocks`: the best single block.
    pub const BLOCKS: StrategyName = StrategyName::plain(&(&Blocks as _));
}

impl Strategy for Blocks {
    fn word(&self) -> &'static str {
        "blocks"
    }

    fn trains(&self, _count: usize) -> String {
        "the best block".to_owned()
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        &[StrategyName::BLOCKS]
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let mut candidates: Vec<Candidate> = network
            .analysis
            .backbone_blocks()
            .map(|block| {
                network.candidate(format!("blocks-{}", block.name), &block.name, &block.layers)
            })
            .collect();
        candidates.reverse();
        Ok(candidates)
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{ids, network, vgg};

    #[test]
    fn blocks_are_tried_one_by_one_from_the_output_end() {
        let analysis = vgg();
        let candidates = StrategyName::BLOCKS
            .candidates(&network(&analysis))
            .unwrap();
        assert_eq!(
            ids(&candidates),
            ["blocks-block3", "blocks-block2", "blocks-block1"]
        );
        assert_eq!(candidates[2].layers, ["conv1", "conv2"]);
    }
}
