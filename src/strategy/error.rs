//! Errors of the strategy room.

use super::Strategy;

/// What can go wrong while candidates are made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// No strategy has this name.
    #[error("unknown strategy `{0}`; the strategies are {all}", all = names())]
    Unknown(String),
    /// The model has nothing this strategy could choose from.
    #[error("strategy `{0}` finds nothing to choose from: the model has no backbone layers")]
    NoCandidates(Strategy),
    /// A candidate has no parameters.
    #[error("strategy `{0}` finds no parameters to train in the model")]
    NothingToTrain(Strategy),
}

impl StrategyError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        true
    }
}

fn names() -> String {
    let names = Strategy::ALL.map(|s| format!("`{s}`"));
    names.join(", ")
}
