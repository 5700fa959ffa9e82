//! What opens the gates, and where training begins.

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

/// Where training begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateStart {
    /// With all gates open, as ordinary fine-tuning does: the logits have a bias of 1.
    #[default]
    Tuned,
    /// With about half of them: no bias.
    Half,
}

named!(
    FilterGate,
    "learned, random, ones, zeros",
    "learned" => FilterGate::Learned,
    "random" => FilterGate::Random,
    "ones" => FilterGate::Ones,
    "zeros" => FilterGate::Zeros
);
named!(GateStart, "tuned, half", "tuned" => GateStart::Tuned, "half" => GateStart::Half);

/// A share of open gates, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TunedShare {
    /// The share, 0 to 1, of the mean over layers of their open gates.
    pub target: Number,
    /// `weight (share − target)²` is added to the loss.
    pub weight: Number,
}
