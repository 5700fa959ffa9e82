//! `lastN`: the last N blocks before the head, together; the usual way of transfer learning, as in Yosinski et
//! al., "How transferable are features in deep neural networks?" (2014), where the first layers stay as they
//! are. The block-wise paper does not have it.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName};

pub(super) struct Last;

impl StrategyName {
    /// `lastN`: the last so many blocks before the head, 1 or more.
    pub const fn last(blocks: usize) -> Self {
        StrategyName::numbered(&(&Last as _), blocks)
    }
}

impl Strategy for Last {
    fn word(&self) -> &'static str {
        "last"
    }

    fn trains(&self, count: usize) -> String {
        format!("the last {count} blocks before the head, together")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 3,
            is_written: true,
            flag: "last",
            means: "Number of blocks",
        })
    }

    /// Where there are fewer blocks than `count`, all of them.
    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(network.last_blocks(format!("last{count}"), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    fn last(count: usize) -> Candidate {
        let analysis = vgg();
        let candidates = StrategyName::last(count).candidates(&network(&analysis));
        let mut candidates = candidates.unwrap();
        assert_eq!(candidates.len(), 1, "{candidates:?}");
        candidates.remove(0)
    }

    #[test]
    fn the_blocks_nearest_the_head_train_with_it() {
        let two = last(2);
        assert_eq!(
            (two.id.as_str(), two.label.as_str()),
            ("last2", "last 2 blocks")
        );
        assert_eq!(two.layers, ["conv3", "conv4"]);
        assert_eq!(
            two.trainable,
            ["conv3.w", "conv3.b", "conv4.w", "conv4.b", "head"]
        );
        assert_eq!(last(1).label, "last block");
    }

    #[test]
    fn where_there_are_fewer_blocks_all_of_them_train() {
        let all = last(9);
        assert_eq!(
            (all.id.as_str(), all.label.as_str()),
            ("last9", "last 3 blocks")
        );
        assert_eq!(all.layers, ["conv1", "conv2", "conv3", "conv4"]);
    }

    #[test]
    fn what_no_layer_owns_trains_with_its_block() {
        let mut analysis = vgg();
        let token = "token".to_owned();
        analysis.blocks[0].tensors.push(token.clone());
        let network = network(&analysis);
        let trains = |count| {
            let candidates = StrategyName::last(count).candidates(&network).unwrap();
            candidates[0].trainable.contains(&token)
        };
        assert!(!trains(2));
        assert!(trains(3));
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::last(3)));
    }
}
