//! Errors of the strategy room.

use super::{StrategyName, names};

/// What can go wrong while candidates are made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// No strategy has this name.
    #[error(
        "unknown strategy `{0}`{similar}; the strategies are {all} and `all`; another number, \
         1 or more, may stand behind {numbered}",
        similar = similar(.0),
        all = listed(names().map(|name| name.to_string())),
        numbered = listed(words_with_number()),
    )]
    Unknown(String),
    /// The model has nothing this strategy could choose from.
    #[error(
        "strategy `{0}` finds nothing to choose from: the model has no backbone layer that this strategy can train"
    )]
    NoCandidates(StrategyName),
    /// A candidate has no parameters.
    #[error("strategy `{0}` finds no parameters to train in the model")]
    NothingToTrain(StrategyName),
    /// `select` without layers.
    #[error("strategy `select` needs the layers to train")]
    NoSelection,
    /// A pattern of `select` fits nothing.
    #[error("`{pattern}` matches no backbone layer, parameter or block; the layers are {layers}")]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The layers' names, for people.
        layers: String,
    },
    /// All that a strategy would train is frozen.
    #[error("strategy `{0}` has nothing to train: the freeze list freezes all of it")]
    AllFrozen(StrategyName),
    /// A freeze list cannot be used.
    #[error("the freeze list {} cannot be used: {reason}", path.display())]
    FreezeList {
        /// The file.
        path: std::path::PathBuf,
        /// What stands in the way.
        reason: String,
    },
}

impl StrategyError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        true
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StrategyError::NoSelection => Some("name them with --train, e.g. --train 'block5'"),
            StrategyError::NoMatch { .. } => {
                Some("`ftsurgery analyze` shows the layers; quote patterns, and use ** across `/`")
            }
            _ => None,
        }
    }
}

/// `` (did you mean `blocks`?) `` for a name that is nearly one.
fn similar(name: &str) -> String {
    /// What clap asks for as well.
    const NEAR: f64 = 0.7;
    let all = StrategyName::all().into_iter().chain(names());
    let all = all.map(|name| name.to_string());
    let near = all
        .chain(["all".to_owned()])
        .map(|n| (strsim::jaro(&n, name), n));
    let nearest = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((likeness, name)) if likeness > NEAR => format!(" (did you mean `{name}`?)"),
        _ => String::new(),
    }
}

/// The strategies behind whose name a number may stand: `top`.
fn words_with_number() -> impl Iterator<Item = String> {
    let numbered = names().filter(|name| name.number().is_some());
    numbered.map(|name| name.rule().word().to_owned())
}

/// `` `head`, `full` ``.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
