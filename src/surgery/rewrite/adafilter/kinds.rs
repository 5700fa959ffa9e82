//! What opens the gates, and how many are to be open.

use serde::{Deserialize, Serialize};

use super::super::Number;

/// What opens the gates of the tuned filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterGate {
    /// A network that is trained with the filters.
    #[default]
    Learned,
    /// That network as it was drawn, which is not trained.
    Random,
    /// All are open: ordinary fine-tuning of the layers.
    Ones,
    /// None is: the frozen backbone.
    Zeros,
}

named!(
    FilterGate,
    "learned, random, ones, zeros",
    "learned" => FilterGate::Learned,
    "random" => FilterGate::Random,
    "ones" => FilterGate::Ones,
    "zeros" => FilterGate::Zeros
);

/// A share of open gates, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TunedShare {
    /// The share, 0 to 1, of the mean over layers of their open gates.
    pub target: Number,
    /// `weight (share − target)²` is added to the loss.
    pub weight: Number,
}
