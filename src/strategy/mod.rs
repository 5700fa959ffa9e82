//! What to train: the strategies, and the candidates each of them tries.
//!
//! To add a strategy, write a file with its `candidates` function, then add its variant of
//! [`Strategy`], its line in [`Strategy::ALL`] and its arms below.

mod blocks;
mod error;
mod full;
mod head;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::analysis::{Analysis, WeightedLayer};
use crate::surgery::{Grafted, HeadKind};

pub use error::StrategyError;

/// A rule by which parts of the backbone are chosen for training. Each trains the head, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The head alone.
    Head,
    /// All layers.
    Full,
    /// The best single block.
    Blocks,
}

impl Strategy {
    /// All strategies, in the order of the default list.
    pub const ALL: [Strategy; 3] = [Strategy::Head, Strategy::Full, Strategy::Blocks];

    /// The name on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Head => "head",
            Strategy::Full => "full",
            Strategy::Blocks => "blocks",
        }
    }

    /// What this strategy tries, from the output end of the network to its input.
    ///
    /// # Errors
    /// When there is nothing it could train.
    pub fn candidates(self, network: &Network<'_>) -> Result<Vec<Candidate>, StrategyError> {
        let candidates = match self {
            Strategy::Head => head::candidates(network),
            Strategy::Full => full::candidates(network),
            Strategy::Blocks => blocks::candidates(network),
        };
        match candidates.first() {
            None => Err(StrategyError::NoCandidates(self)),
            Some(_) if candidates.iter().any(|c| c.trainable.is_empty()) => {
                Err(StrategyError::NothingToTrain(self))
            }
            Some(_) => Ok(candidates),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        let mut all = Strategy::ALL.into_iter();
        all.find(|s| s.name() == name)
            .ok_or_else(|| StrategyError::Unknown(name.to_owned()))
    }
}

/// One choice of parameters to train.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Candidate {
    /// Unique within a run, and fit for a file name: `head`, `full`, `blocks-block5`.
    pub id: String,
    /// What is trained besides the head, for people: `block5`.
    pub label: String,
    /// Names of the backbone's weighted layers that are trained.
    pub layers: Vec<String>,
    /// Initializers (or constants, by their output) that are trained, the head's last.
    pub trainable: Vec<String>,
}

/// The network that candidates are made of.
#[derive(Clone, Debug)]
pub struct Network<'a> {
    /// Layers and blocks of the original model.
    pub analysis: &'a Analysis,
    /// The parameters of the head that is trained.
    pub head: Vec<String>,
}

impl<'a> Network<'a> {
    /// The network that grafting gave. Of a kept head, all layers of the model's own classifier
    /// are trained.
    pub fn new(analysis: &'a Analysis, grafted: &Grafted, head: HeadKind) -> Self {
        let head = match head {
            HeadKind::Keep => {
                let classifier = analysis.weighted.iter().filter(|w| w.in_classifier);
                distinct(classifier.flat_map(|w| &w.parameters))
            }
            _ => grafted.head_parameters.clone(),
        };
        Network { analysis, head }
    }

    /// A candidate that trains these layers, given by their index, and the head.
    fn candidate(&self, id: String, label: &str, layers: &[usize]) -> Candidate {
        let layers: Vec<&WeightedLayer> = layers
            .iter()
            .filter_map(|&i| self.analysis.weighted.get(i))
            .collect();
        let parameters = layers.iter().flat_map(|l| &l.parameters);
        Candidate {
            id,
            label: label.to_owned(),
            layers: layers.iter().map(|l| l.name.clone()).collect(),
            trainable: distinct(parameters.chain(&self.head)),
        }
    }
}

/// Layers may share a parameter; it is trained once.
fn distinct<'s>(names: impl Iterator<Item = &'s String>) -> Vec<String> {
    let set: indexmap::IndexSet<&String> = names.collect();
    set.into_iter().cloned().collect()
}
