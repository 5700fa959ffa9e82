//! `lora-blocksN`: an update of rank N, as of [`lora`](super::lora), of one block at a time, as
//! [`blocks`](super::blocks) trains one whole. The block-wise paper does not have it.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName, Unit};

pub(super) struct LoraBlocks;

impl StrategyName {
    /// `lora-blocksN`: updates of this rank, 1 or more, of the best single block.
    pub const fn lora_blocks(rank: usize) -> Self {
        StrategyName::numbered(&(&LoraBlocks as _), rank)
    }
}

impl Strategy for LoraBlocks {
    fn word(&self) -> &'static str {
        "lora-blocks"
    }

    fn trains(&self, rank: usize) -> String {
        format!("updates of rank {rank} of the weights of the best block")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 4,
            is_written: true,
            flag: "lora-blocks",
            means: "Rank of the updates",
        })
    }

    /// Blocks of which no weight can have an update of this rank are left out.
    fn candidates(
        &self,
        network: &Network<'_>,
        rank: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let blocks = network.analysis.backbone_blocks();
        let mut candidates: Vec<Candidate> = blocks
            .filter_map(|block| {
                let id = format!("lora-blocks{rank}-{}", block.name);
                let label = format!("{}, rank {rank}", block.name);
                network.updates(id, label, &block.layers, rank)
            })
            .collect();
        candidates.reverse();
        Ok(candidates)
    }

    fn searches(&self) -> Option<Unit> {
        Some(Unit::Block)
    }

    fn updates_weights(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{ids, network, vgg};
    use crate::surgery::Rewrite;
    use crate::surgery::rewrite::LowRank;

    #[test]
    fn the_updates_of_one_block_after_the_other_are_tried_from_the_output_end() {
        let analysis = vgg();
        let network = Network {
            lora_alpha: Some(6),
            ..network(&analysis)
        };
        let candidates = StrategyName::lora_blocks(3).candidates(&network).unwrap();
        assert_eq!(
            ids(&candidates),
            [
                "lora-blocks3-block3",
                "lora-blocks3-block2",
                "lora-blocks3-block1"
            ]
        );
        let first = &candidates[2];
        assert_eq!(first.label, "block1, rank 3");
        assert_eq!(first.layers, ["conv1", "conv2"]);
        let weights = ["conv1.w", "conv2.w"].map(str::to_owned);
        let added = weights.iter().flat_map(|w| LowRank::parameters_of(w));
        let expected: Vec<String> = added.chain(["head".to_owned()]).collect();
        assert_eq!(first.trainable, expected);
        let expected = LowRank {
            weights: weights.to_vec(),
            rank: 3,
            alpha: 6,
            seed: 0,
        };
        assert_eq!(first.rewrite, Rewrite::LowRank(expected));
    }

    #[test]
    fn blocks_too_small_for_the_rank_are_left_out() {
        let analysis = vgg();
        // conv1 and conv2 have four filters, the others eight.
        let five = StrategyName::lora_blocks(5).candidates(&network(&analysis));
        assert_eq!(
            ids(&five.unwrap()),
            ["lora-blocks5-block3", "lora-blocks5-block2"]
        );
        let nine = StrategyName::lora_blocks(9);
        assert_eq!(
            nine.candidates(&network(&analysis)),
            Err(StrategyError::NoCandidates(nine))
        );
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::lora_blocks(4)));
    }
}
