//! `norm`: the scales and shifts of normalisations, as in Frankle et al., "Training BatchNorm and Only BatchNorm" (2021).
//! The block-wise paper does not have it.

use crate::analysis::Role;

use super::{Candidate, Network, Strategy, StrategyError, StrategyName};

pub(super) struct Norm;

impl StrategyName {
    /// `norm`: the scales and shifts of normalisations.
    pub const NORM: StrategyName = StrategyName::plain(&(&Norm as _));
}

impl Strategy for Norm {
    fn word(&self) -> &'static str {
        "norm"
    }

    fn trains(&self, _count: usize) -> String {
        "the scales and shifts of normalisations".to_owned()
    }

    /// None where the network has no such parameter.
    fn candidates(
        &self,
        network: &Network<'_>,
        _count: usize,
    ) -> Result<Vec<Candidate>, StrategyError> {
        Ok(network.of_roles("norm", "scales and shifts", &[Role::Scale, Role::Shift]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::tests::{network, vgg};

    #[test]
    fn a_network_without_normalisations_has_none_to_train() {
        let analysis = vgg();
        let found = StrategyName::NORM.candidates(&network(&analysis));
        assert_eq!(found, Err(StrategyError::NoCandidates(StrategyName::NORM)));
    }
}
