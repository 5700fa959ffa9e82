//! `loraN`: an update of rank N beside the frozen weight of every layer that can have one, as in Hu et al.,
//! "LoRA: Low-Rank Adaptation of Large Language Models" (2021); merged into the weights of the model that leaves.
//! The block-wise paper does not have it.

use super::{Candidate, Network, Number, Strategy, StrategyError, StrategyName};

pub(super) struct Lora;

impl StrategyName {
    /// `loraN`: updates of this rank, 1 or more.
    pub const fn lora(rank: usize) -> Self {
        StrategyName::numbered(&(&Lora as _), rank)
    }
}

impl Strategy for Lora {
    fn word(&self) -> &'static str {
        "lora"
    }

    fn trains(&self, rank: usize) -> String {
        format!("updates of rank {rank} of the weights, which are frozen")
    }

    fn number(&self) -> Option<Number> {
        Some(Number {
            default: 4,
            is_written: true,
            flag: "lora",
            means: "Rank of the updates",
        })
    }

    /// Layers whose weight is too small for an update of this rank stay as they are.
    fn candidates(
        &self,
        network: &Network<'_>,
        rank: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        let layers = network.analysis.backbone_layers();
        let (id, label) = (format!("lora{rank}"), format!("updates of rank {rank}"));
        Ok(Vec::from_iter(network.updates(id, label, &layers, rank)))
    }

    fn updates_weights(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};
    use crate::surgery::Rewrite;
    use crate::surgery::rewrite::LowRank;

    fn lora(network: &Network<'_>, rank: usize) -> Candidate {
        let mut candidates = StrategyName::lora(rank).candidates(network).unwrap();
        assert_eq!(candidates.len(), 1, "{candidates:?}");
        candidates.remove(0)
    }

    #[test]
    fn the_updates_of_all_layers_train_with_the_head_and_the_weights_do_not() {
        let analysis = vgg();
        let Candidate {
            id,
            label,
            layers,
            trainable,
            rewrite,
        } = lora(&network(&analysis), 2);
        assert_eq!(
            (id.as_str(), label.as_str()),
            ("lora2", "updates of rank 2")
        );
        assert_eq!(layers, ["conv1", "conv2", "conv3", "conv4"]);
        let weights = ["conv1.w", "conv2.w", "conv3.w", "conv4.w"].map(str::to_owned);
        let added = weights.iter().flat_map(|w| LowRank::parameters_of(w));
        let expected: Vec<String> = added.chain(["head".to_owned()]).collect();
        assert_eq!(trainable, expected);
        let expected = LowRank {
            weights: weights.to_vec(),
            rank: 2,
            alpha: 2,
            seed: 0,
        };
        assert_eq!(rewrite, Rewrite::LowRank(expected));
    }

    #[test]
    fn layers_too_small_for_the_rank_are_left_alone_and_where_all_are_there_is_nothing_to_train() {
        let analysis = vgg();
        let network = network(&analysis);
        // conv1 and conv2 have four filters, the others eight.
        let five = lora(&network, 5);
        assert_eq!(five.layers, ["conv3", "conv4"]);
        let nine = StrategyName::lora(9);
        assert_eq!(
            nine.candidates(&network),
            Err(StrategyError::NoCandidates(nine))
        );
    }

    #[test]
    fn another_rank_seed_or_alpha_is_another_network() {
        let analysis = vgg();
        let of = |seed, rank, lora_alpha| {
            let network = Network {
                seed,
                lora_alpha,
                ..network(&analysis)
            };
            lora(&network, rank)
        };
        let first = of(0, 2, None);
        assert!(first.trains_the_same(&of(0, 2, None)));
        // α is the rank where none is given.
        assert!(first.trains_the_same(&of(0, 2, Some(2))));
        // The added parameters have the same names.
        let others = [of(1, 2, None), of(0, 3, None), of(0, 2, Some(4))];
        for other in others {
            assert_eq!(other.trainable, first.trainable);
            assert!(!other.trains_the_same(&first));
        }
    }

    #[test]
    fn it_is_not_of_the_paper() {
        assert!(!StrategyName::all().contains(&StrategyName::lora(4)));
    }
}
