//! Reverse-mode differentiation of an ONNX graph.
//!
//! [`gradients`] appends to a normalised graph the nodes that compute the derivative of one value
//! with respect to others, in standard ONNX operators. Each operator's rule stands in
//! [`rules`]; the sweep knows no operator.

#[cfg(test)]
mod checks;
mod context;
mod error;
mod loss;
pub mod rules;
mod sweep;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use context::Context;
pub use error::AutodiffError;
pub use loss::{Labels, Loss, Targets, binary_cross_entropy, cross_entropy, squared_error};
pub(crate) use sweep::dependents;
pub use sweep::gradients;

/// What the nodes of a gradient may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operators {
    /// Operators of the ONNX standard alone.
    #[default]
    Standard,
    /// Where there is one, a single node of the [kernels' domain](crate::kernels::dialect) instead of
    /// several standard ones. Such a graph runs only once its maps are
    /// channels-last, as [`training`](crate::training) makes it.
    Kernels,
    /// Operators of the ONNX standard alone, chosen so that nothing but constants follows from the batch size: no
    /// attribute, and no choice of nodes.
    #[serde(skip)]
    AnyBatch,
}

impl FromStr for Operators {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "standard" => Ok(Operators::Standard),
            "kernels" => Ok(Operators::Kernels),
            _ => Err("expected `kernels` or `standard`".to_owned()),
        }
    }
}
