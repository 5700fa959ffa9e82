//! `head`: the head alone; Baseline I of the block-wise paper.

use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Head;

impl StrategyName {
    /// `head`: the head alone.
    pub const HEAD: StrategyName = StrategyName::plain(&(&Head as _));
}

impl Strategy for Head {
    fn word(&self) -> &'static str {
        "head"
    }

    fn trains(&self, _count: usize) -> String {
        "the head alone".to_owned()
    }

    fn in_paper(&self) -> &'static [StrategyName] {
        &[StrategyName::HEAD]
    }

    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(vec![network.candidate("head".to_owned(), "head", &[])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn the_parameters_of_the_head_train_and_no_others() {
        let analysis = vgg();
        let candidates = StrategyName::HEAD.candidates(&network(&analysis)).unwrap();
        let [head] = candidates.as_slice() else {
            panic!("{candidates:?}")
        };
        assert_eq!((head.id.as_str(), head.layers.len()), ("head", 0));
        assert_eq!(head.trainable, ["head"]);
    }
}
