//! The name of a strategy: which it is, and with which number.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::{Candidate, Network, STRATEGIES, Strategy, StrategyError};

/// A strategy and the number behind its name. Stored by its name, see [`StrategyName::from_str`].
///
/// [`StrategyName::HEAD`], [`StrategyName::top`] and the like are in the strategies' own files.
#[derive(Clone, Copy)]
pub struct StrategyName {
    /// Behind two references, of which the outer one is as small as a number: errors carry names.
    rule: &'static &'static dyn Strategy,
    /// 0 of a strategy without a number.
    count: usize,
}

/// What stands for a percent sign in the name of a file.
const PERCENT: &str = "-percent";

/// The name of every strategy, with its default number.
pub fn names() -> impl Iterator<Item = StrategyName> {
    let name = |rule: &'static &'static dyn Strategy| StrategyName {
        rule,
        count: rule.number().map_or(0, |number| number.default),
    };
    STRATEGIES.iter().map(name)
}

impl StrategyName {
    /// The name of a strategy without a number.
    pub(super) const fn plain(rule: &'static &'static dyn Strategy) -> Self {
        StrategyName { rule, count: 0 }
    }

    /// The name of a strategy with a number behind it, 1 or more; 0 is taken as 1.
    pub(super) const fn numbered(rule: &'static &'static dyn Strategy, count: usize) -> Self {
        let count = if count == 0 { 1 } else { count };
        StrategyName { rule, count }
    }

    /// The strategies of the block-wise paper, in the order of its Table I, and its random three: what `all`
    /// means.
    pub fn all() -> Vec<StrategyName> {
        STRATEGIES
            .iter()
            .flat_map(|s| s.in_paper())
            .copied()
            .collect()
    }

    /// The strategy.
    pub fn rule(self) -> &'static dyn Strategy {
        *self.rule
    }

    /// The strategy with another number, 1 or more; as it is where it has none.
    pub fn with_number(self, count: usize) -> Self {
        match self.number() {
            Some(_) => StrategyName::numbered(self.rule, count),
            None => self,
        }
    }

    /// The name as that of a file: `last40-percent` of `last40%`.
    pub fn file_stem(self) -> String {
        self.to_string().replace('%', PERCENT)
    }

    /// The name that has this [`StrategyName::file_stem`].
    pub fn from_file_stem(stem: &str) -> Option<Self> {
        let name: StrategyName = stem.replace(PERCENT, "%").parse().ok()?;
        (name.file_stem() == stem).then_some(name)
    }

    /// The number behind the name; `None` of a strategy without one.
    pub fn number(self) -> Option<usize> {
        self.rule.number().map(|_| self.count)
    }

    /// Of how many of the best candidates the winner is made; `None` where it is one of them.
    pub fn composed_of(self) -> Option<usize> {
        self.rule.is_composed().then_some(self.count)
    }

    /// What the strategy tries, from the output end of the network to its input. A single candidate needs no
    /// search.
    ///
    /// # Errors
    /// When there is nothing it could train.
    pub fn candidates(self, network: &Network<'_>) -> Result<Vec<Candidate>, StrategyError> {
        let mut candidates = self.rule.candidates(network, self.count)?;
        if network.freeze.is_some() && self != Self::HEAD {
            let only_head = |c: &Candidate| c.trainable.iter().all(|p| network.head.contains(p));
            candidates.retain(|candidate| !only_head(candidate));
            // Without what is frozen, two may be one.
            let mut distinct: Vec<Candidate> = Vec::new();
            for candidate in candidates {
                if !distinct
                    .iter()
                    .any(|other| other.trains_the_same(&candidate))
                {
                    distinct.push(candidate);
                }
            }
            candidates = distinct;
            if candidates.is_empty() {
                return Err(StrategyError::AllFrozen(self));
            }
        }
        match candidates.first() {
            None => Err(StrategyError::NoCandidates(self)),
            Some(_) if candidates.iter().any(|c| c.trainable.is_empty()) => {
                Err(StrategyError::NothingToTrain(self))
            }
            Some(_) => Ok(candidates),
        }
    }

    /// What is trained in the end, see [`Strategy::winner`].
    pub fn winner(
        self,
        network: &Network<'_>,
        candidates: &[Candidate],
        ranking: &[usize],
    ) -> Candidate {
        self.rule.winner(network, self.count, candidates, ranking)
    }
}

impl PartialEq for StrategyName {
    fn eq(&self, other: &Self) -> bool {
        (self.rule.word(), self.count) == (other.rule.word(), other.count)
    }
}

impl Eq for StrategyName {}

impl Hash for StrategyName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.rule.word(), self.count).hash(state);
    }
}

impl fmt::Debug for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StrategyName({self})")
    }
}

impl fmt::Display for StrategyName {
    /// The name on the command line and in file names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.rule.word();
        let stem = word.trim_end_matches('%');
        f.write_str(stem)?;
        match self.rule.number() {
            Some(number) if number.is_written || self.count != number.default => {
                write!(f, "{}", self.count)?;
            }
            _ => {}
        }
        f.write_str(&word[stem.len()..])
    }
}

impl FromStr for StrategyName {
    type Err = StrategyError;

    /// Reads a name: the strategy's word, and behind it (before its percent sign) a number of 1 or more where it
    /// has one, which may be left out for the default.
    fn from_str(name: &str) -> Result<Self, StrategyError> {
        let (number, unit) = match name.strip_suffix('%') {
            Some(number) => (number, "%"),
            None => (name, ""),
        };
        let digits = number.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (stem, digits) = number.split_at(digits);
        let word = format!("{stem}{unit}");
        let unknown = || StrategyError::Unknown(name.to_owned());
        let plain = names().find(|n| n.rule.word() == word && !stem.contains('%'));
        let plain = plain.ok_or_else(unknown)?;
        match (plain.number(), digits) {
            (_, "") => Ok(plain),
            (None, _) => Err(unknown()),
            (Some(_), digits) => match digits.parse() {
                Ok(count) if count > 0 => Ok(StrategyName { count, ..plain }),
                _ => Err(unknown()),
            },
        }
    }
}

impl serde::Serialize for StrategyName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for StrategyName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}
