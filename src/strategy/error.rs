//! Errors of the strategy room.

use super::Strategy;

/// What can go wrong while candidates are made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// No strategy has this name.
    #[error(
        "unknown strategy `{0}`{similar}; the strategies are {all}, `select` and `all`, with any number in \
         place of 3 and 5",
        similar = similar(.0),
        all = names()
    )]
    Unknown(String),
    /// The model has nothing this strategy could choose from.
    #[error("strategy `{0}` finds nothing to choose from: the model has no backbone layers")]
    NoCandidates(Strategy),
    /// A candidate has no parameters.
    #[error("strategy `{0}` finds no parameters to train in the model")]
    NothingToTrain(Strategy),
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
    let all = Strategy::ALL.map(|s| s.to_string());
    let names = all.iter().map(String::as_str).chain(["select", "all"]);
    let near = names.map(|n| (strsim::jaro(n, name), n));
    let nearest = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((likeness, name)) if likeness > NEAR => format!(" (did you mean `{name}`?)"),
        _ => String::new(),
    }
}

fn names() -> String {
    let names = Strategy::ALL.map(|s| format!("`{s}`"));
    names.join(", ")
}
