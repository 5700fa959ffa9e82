//! `lastN`: the last N weighted layers before the head; the usual way of transfer learning, as in Yosinski et
//! al., "How transferable are features in deep neural networks?" (2014), where the first layers stay as they
//! are. The block-wise paper does not have it.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName};

pub(super) struct Last;

impl StrategyName {
    /// `lastN`: the last so many layers before the head, 1 or more.
    pub const fn last(layers: usize) -> Self {
        StrategyName::numbered(&(&Last as _), layers)
    }
}

impl Strategy for Last {
    fn word(&self) -> &'static str {
        "last"
    }

    fn trains(&self, count: usize) -> String {
        format!("the last {count} layers before the head")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 3,
            is_written: true,
            flag: "last",
            means: "Number of layers",
        })
    }

    /// Where there are fewer layers than `count`, all of them.
    fn candidates(
        &self,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let layers = network.analysis.backbone_layers();
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let last = &layers[layers.len().saturating_sub(count)..];
        let label = format!("last {} layers", last.len());
        Ok(vec![network.candidate(
            format!("last{count}"),
            &label,
            last,
        )])
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
    fn the_layers_nearest_the_head_train_with_it() {
        let two = last(2);
        assert_eq!(
            (two.id.as_str(), two.label.as_str()),
            ("last2", "last 2 layers")
        );
        assert_eq!(two.layers, ["conv3", "conv4"]);
        assert_eq!(
            two.trainable,
            ["conv3.w", "conv3.b", "conv4.w", "conv4.b", "head"]
        );
    }

    #[test]
    fn where_there_are_fewer_layers_all_of_them_train() {
        let all = last(9);
        assert_eq!(
            (all.id.as_str(), all.label.as_str()),
            ("last9", "last 4 layers")
        );
        assert_eq!(all.layers, ["conv1", "conv2", "conv3", "conv4"]);
    }

    #[test]
    fn what_no_layer_owns_trains_where_its_whole_block_does() {
        let mut analysis = vgg();
        let token = "token".to_owned();
        analysis.blocks[0].tensors.push(token.clone());
        let network = network(&analysis);
        let trains = |count| {
            let candidates = StrategyName::last(count).candidates(&network).unwrap();
            candidates[0].trainable.contains(&token)
        };
        // Of the first block's two layers, the last three of four are one.
        assert!(!trains(3));
        assert!(trains(4));
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::last(3)));
    }
}
