//! `bias`: all biases, and the shifts of normalisations, as in Ben Zaken et al., "BitFit: Simple Parameter-efficient
//! Fine-tuning for Transformer-based Masked Language-models" (2022).
//! The block-wise paper does not have it.

use crate::analysis::Role;

use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Bias;

impl StrategyName {
    /// `bias`: all biases, and the shifts of normalisations.
    pub const BIAS: StrategyName = StrategyName::plain(&(&Bias as _));
}

impl Strategy for Bias {
    fn word(&self) -> &'static str {
        "bias"
    }

    fn trains(&self, _count: usize) -> String {
        "all biases, and the shifts of normalisations".to_owned()
    }

    /// None where the network has no such parameter.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(network.of_roles("bias", "biases and shifts", &[Role::Bias, Role::Shift]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn the_biases_of_all_layers_train_with_the_head_and_no_weight_does() {
        let analysis = vgg();
        let found = StrategyName::BIAS.candidates(&network(&analysis)).unwrap();
        let [only] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(only.layers, ["conv1", "conv2", "conv3", "conv4"]);
        assert_eq!(
            only.trainable,
            ["conv1.b", "conv2.b", "conv3.b", "conv4.b", "head"]
        );
        assert!(!StrategyName::all().contains(&StrategyName::BIAS));
    }
}
