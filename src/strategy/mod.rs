//! What to train: the strategies, and the candidates each of them tries.
//!
//! To add a strategy, write a file with its `candidates` function, then add its variant of
//! [`Strategy`] and its arms below, and its line in [`Strategy::ALL`] if the paper has it.

mod blocks;
mod count;
mod error;
mod full;
mod head;
mod layers;
pub mod pattern;
mod random;
mod ranked;
mod select;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::analysis::{Analysis, Block, WeightedLayer};
use crate::surgery::{Grafted, HeadKind};

pub use count::CandidateCounts;
pub use error::StrategyError;

/// Layers in a window, and drawn at random, where the name of a strategy gives no number.
const DEFAULT_COUNT: usize = 3;

/// A rule by which parts of the backbone are chosen for training. Each trains the head, too.
///
/// Stored by its name, see [`Strategy::from_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The head alone.
    Head,
    /// All layers.
    Full,
    /// The best single layer.
    Layers,
    /// So many of the best single layers, together.
    Top(usize),
    /// The best single block.
    Blocks,
    /// The best window of so many neighbouring layers.
    Windows(usize),
    /// So many layers, drawn at random.
    Random(usize),
    /// The layers that the user names.
    Select,
}

impl Strategy {
    /// The strategies of the block-wise paper, in the order of its Table I, and its random three.
    pub const ALL: [Strategy; 8] = [
        Strategy::Head,
        Strategy::Full,
        Strategy::Layers,
        Strategy::Top(3),
        Strategy::Top(5),
        Strategy::Blocks,
        Strategy::Windows(DEFAULT_COUNT),
        Strategy::Random(DEFAULT_COUNT),
    ];

    /// What this strategy tries, from the output end of the network to its input. A single
    /// candidate needs no search.
    ///
    /// # Errors
    /// When there is nothing it could train.
    pub fn candidates(self, network: &Network<'_>) -> Result<Vec<Candidate>, StrategyError> {
        let candidates = match self {
            Strategy::Head => head::candidates(network),
            Strategy::Full => full::candidates(network),
            Strategy::Layers => layers::candidates(network),
            Strategy::Top(_) => ranked::candidates(network),
            Strategy::Blocks => blocks::candidates(network),
            Strategy::Windows(length) => windows::candidates(network, length),
            Strategy::Random(count) => random::candidates(network, count),
            Strategy::Select => select::candidates(network)?,
        };
        match candidates.first() {
            None => Err(StrategyError::NoCandidates(self)),
            Some(_) if candidates.iter().any(|c| c.trainable.is_empty()) => {
                Err(StrategyError::NothingToTrain(self))
            }
            Some(_) => Ok(candidates),
        }
    }

    /// What is trained in the end, after a search ranked `candidates`: `ranking` holds the places
    /// of those that could be trained, the best first, and is not empty.
    pub fn winner(
        self,
        network: &Network<'_>,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Candidate {
        match self {
            Strategy::Top(count) => ranked::winner(network, candidates, ranking, count),
            _ => candidates[ranking[0]].clone(),
        }
    }
}

impl fmt::Display for Strategy {
    /// The name on the command line and in file names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strategy::Head => f.write_str("head"),
            Strategy::Full => f.write_str("full"),
            Strategy::Layers => f.write_str("layers"),
            Strategy::Top(count) => write!(f, "top{count}"),
            Strategy::Blocks => f.write_str("blocks"),
            Strategy::Windows(DEFAULT_COUNT) => f.write_str("windows"),
            Strategy::Windows(length) => write!(f, "windows{length}"),
            Strategy::Random(count) => write!(f, "random{count}"),
            Strategy::Select => f.write_str("select"),
        }
    }
}

impl FromStr for Strategy {
    type Err = StrategyError;

    /// Reads a name: `head`, `full`, `layers`, `blocks`, `select`; and with a number of 1 or more
    /// behind it, or 3 where it is left out, `top`, `windows`, `random`.
    fn from_str(name: &str) -> Result<Self, StrategyError> {
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (word, number) = name.split_at(digits);
        let count = match number {
            "" => Some(DEFAULT_COUNT),
            _ => number.parse().ok().filter(|&n| n > 0),
        };
        match (word, count, number) {
            ("head", _, "") => Ok(Strategy::Head),
            ("full", _, "") => Ok(Strategy::Full),
            ("layers", _, "") => Ok(Strategy::Layers),
            ("blocks", _, "") => Ok(Strategy::Blocks),
            ("select", _, "") => Ok(Strategy::Select),
            ("top", Some(n), _) => Ok(Strategy::Top(n)),
            ("windows", Some(n), _) => Ok(Strategy::Windows(n)),
            ("random", Some(n), _) => Ok(Strategy::Random(n)),
            _ => Err(StrategyError::Unknown(name.to_owned())),
        }
    }
}

impl serde::Serialize for Strategy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Strategy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// One choice of parameters to train.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Unique within a run, and fit for a file name: `head`, `layers-07`, `blocks-block5`.
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
    /// Decides what [`Strategy::Random`] draws.
    pub seed: u64,
    /// Patterns of the layers of [`Strategy::Select`].
    pub selection: &'a [String],
}

impl<'a> Network<'a> {
    /// The network that grafting gave, with seed 0 and no selection. Of a kept head, all layers of
    /// the model's own classifier are trained.
    pub fn new(analysis: &'a Analysis, grafted: &Grafted, head: HeadKind) -> Self {
        let head = match head {
            HeadKind::Keep => {
                let layers = analysis.weighted.iter().filter(|w| w.in_classifier);
                let blocks = analysis.blocks.iter().filter(|b| b.is_classifier);
                let owned = layers.flat_map(|w| &w.parameters);
                distinct(owned.chain(blocks.flat_map(|b| &b.tensors)))
            }
            _ => grafted.head_parameters.clone(),
        };
        Network {
            analysis,
            head,
            seed: 0,
            selection: &[],
        }
    }

    /// A candidate that trains these layers, given by their index, and the head. What belongs to a block
    /// alone is trained where all layers of that block are.
    fn candidate(&self, id: String, label: &str, layers: &[usize]) -> Candidate {
        let chosen: HashSet<usize> = layers.iter().copied().collect();
        let of = |l: &usize| Some(self.analysis.weighted.get(*l)?.block);
        let touched: BTreeSet<usize> = layers.iter().filter_map(of).collect();
        let blocks = touched.iter().filter_map(|&b| self.analysis.blocks.get(b));
        let whole = |b: &&Block| !b.is_classifier && b.layers.iter().all(|l| chosen.contains(l));
        let tensors: Vec<&String> = blocks.filter(whole).flat_map(|b| &b.tensors).collect();
        self.candidate_of(id, label, layers, &tensors)
    }

    /// A candidate that trains these layers, these parameters of no layer, and the head.
    fn candidate_of(
        &self,
        id: String,
        label: &str,
        layers: &[usize],
        tensors: &[&String],
    ) -> Candidate {
        let layers: Vec<&WeightedLayer> = layers
            .iter()
            .filter_map(|&i| self.analysis.weighted.get(i))
            .collect();
        let owned = layers.iter().flat_map(|l| &l.parameters);
        let loose = tensors.iter().copied();
        Candidate {
            id,
            label: label.to_owned(),
            layers: layers.iter().map(|l| l.name.clone()).collect(),
            trainable: distinct(owned.chain(loose).chain(&self.head)),
        }
    }

    /// The parameters before the classifier that no layer owns, with the name of their block.
    fn loose(&self) -> impl Iterator<Item = (&'a String, &'a str)> {
        let blocks = self.analysis.blocks.iter().filter(|b| !b.is_classifier);
        blocks.flat_map(|b| b.tensors.iter().map(|t| (t, b.name.as_str())))
    }
}

/// Layers may share a parameter; it is trained once.
fn distinct<'s>(names: impl Iterator<Item = &'s String>) -> Vec<String> {
    let set: indexmap::IndexSet<&String> = names.collect();
    set.into_iter().cloned().collect()
}
