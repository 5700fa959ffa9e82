//! How a strategy finds its best candidate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Phase;

/// How candidates are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchMethod {
    /// Each is trained for all epochs of the search.
    #[default]
    Exhaustive,
    /// Successive halving: all are trained for a few epochs, the best of them go on for `rate` times as many,
    /// and so on until the epochs of the search are reached, in which only one of `rate` goes on each time.
    /// Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    /// Optimization", 2016.
    Halving {
        /// One in this many goes on, for this many times the epochs; at least 2.
        rate: usize,
        /// Epochs that a candidate has at least before it is ranked; at least 1.
        first: usize,
    },
    /// Each is trained as the winner will be, on as many samples and for as many epochs, and the best of them is the
    /// winner. What takes several times as long tells what a short training does not: which of few and many parameters
    /// come to more in the end.
    Whole,
}

impl SearchMethod {
    /// The phase of the trials that candidates are ranked by.
    pub const fn phase(self) -> Phase {
        match self {
            SearchMethod::Whole => Phase::Train,
            SearchMethod::Exhaustive | SearchMethod::Halving { .. } => Phase::Search,
        }
    }

    const RATE: usize = 3;

    /// Halving by the rate that is taken where none is given, from so many epochs on.
    pub const fn halving(first: usize) -> Self {
        SearchMethod::Halving {
            rate: Self::RATE,
            first,
        }
    }

    /// The epochs after which candidates of a search of so many epochs are ranked, the fewest first: these epochs,
    /// divided by `rate` again and again as long as they are no fewer than `first`. 5 epochs at a rate of 3 are 1, 2, 5,
    /// and from 2 epochs on 2, 5.
    pub fn rungs(self, epochs: usize) -> Vec<usize> {
        let mut rungs = vec![epochs.max(1)];
        if let SearchMethod::Halving { rate, first } = self {
            while let Some(&last) = rungs.last()
                && last > 1
                && last.div_ceil(rate.max(2)) >= first
            {
                rungs.push(last.div_ceil(rate.max(2)));
            }
        }
        rungs.reverse();
        rungs
    }
}

impl fmt::Display for SearchMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchMethod::Exhaustive => f.write_str("exhaustive"),
            SearchMethod::Halving { rate, first: 1 } if *rate == Self::RATE => {
                f.write_str("halving")
            }
            SearchMethod::Halving { rate, first: 1 } => write!(f, "halving:{rate}"),
            SearchMethod::Halving { rate, first } => write!(f, "halving:{rate}:{first}"),
            SearchMethod::Whole => f.write_str("whole"),
        }
    }
}

impl FromStr for SearchMethod {
    type Err = String;

    /// Reads `exhaustive`, `whole`, `halving`, `halving:RATE` or `halving:RATE:EPOCHS`.
    fn from_str(name: &str) -> Result<Self, String> {
        let mut words = name.split(':');
        let number = |word: Option<&str>, default: usize, least: usize, what: &str| match word {
            None => Ok(default),
            Some(word) => match word.parse() {
                Ok(number) if number >= least => Ok(number),
                _ => Err(format!(
                    "{what} of halving is a number from {least} on, not `{word}`"
                )),
            },
        };
        match (words.next(), words.clone().count()) {
            (Some("exhaustive"), 0) => Ok(SearchMethod::Exhaustive),
            (Some("whole"), 0) => Ok(SearchMethod::Whole),
            (Some("halving"), 0..=2) => Ok(SearchMethod::Halving {
                rate: number(words.next(), Self::RATE, 2, "the rate")?,
                first: number(words.next(), 1, 1, "the first epochs")?,
            }),
            _ => Err(format!(
                "`{name}` is none of exhaustive, whole, halving, halving:RATE, halving:RATE:EPOCHS"
            )),
        }
    }
}

impl Serialize for SearchMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SearchMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_rates_that_halve_nothing_are_refused() {
        for name in [
            "exhaustive",
            "whole",
            "halving",
            "halving:2",
            "halving:10",
            "halving:3:5",
        ] {
            assert_eq!(name.parse::<SearchMethod>().unwrap().to_string(), name);
        }
        assert_eq!(
            "halving:3".parse(),
            Ok(SearchMethod::halving(1)),
            "the default may be written out"
        );
        for wrong in [
            "",
            "halving:1",
            "halving:0",
            "halving:x",
            "exhaustive:2",
            "halving:3:0",
            "halving:3:2:1",
            "half",
        ] {
            assert!(wrong.parse::<SearchMethod>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rungs_end_at_the_epochs_of_the_search() {
        let rungs = |rate, first, epochs| SearchMethod::Halving { rate, first }.rungs(epochs);
        assert_eq!(rungs(3, 1, 5), [1, 2, 5]);
        assert_eq!(rungs(3, 1, 27), [1, 3, 9, 27]);
        assert_eq!(rungs(3, 3, 27), [3, 9, 27]);
        assert_eq!(rungs(3, 3, 9), [3, 9]);
        assert_eq!(rungs(3, 4, 9), [9]);
        assert_eq!(rungs(3, 1, 1), [1]);
        assert_eq!(rungs(2, 1, 2), [1, 2]);
        assert_eq!(rungs(0, 0, 0), [1]);
        assert_eq!(SearchMethod::Exhaustive.rungs(9), [9]);
    }
}
