//! How a strategy finds its best candidate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    },
}

impl SearchMethod {
    const RATE: usize = 3;
    /// Halving by the rate that is taken where none is given.
    pub const HALVING: Self = SearchMethod::Halving { rate: Self::RATE };
}

impl fmt::Display for SearchMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchMethod::Exhaustive => f.write_str("exhaustive"),
            SearchMethod::Halving { rate: Self::RATE } => f.write_str("halving"),
            SearchMethod::Halving { rate } => write!(f, "halving:{rate}"),
        }
    }
}

impl FromStr for SearchMethod {
    type Err = String;

    /// Reads `exhaustive`, `halving` or `halving:RATE`.
    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':') {
            None if name == "exhaustive" => Ok(SearchMethod::Exhaustive),
            None if name == "halving" => Ok(SearchMethod::Halving { rate: Self::RATE }),
            Some(("halving", rate)) => match rate.parse() {
                Ok(rate) if rate >= 2 => Ok(SearchMethod::Halving { rate }),
                _ => Err(format!(
                    "the rate of halving is a number from 2 on, not `{rate}`"
                )),
            },
            _ => Err(format!(
                "`{name}` is none of exhaustive, halving, halving:RATE"
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
        for name in ["exhaustive", "halving", "halving:2", "halving:10"] {
            assert_eq!(name.parse::<SearchMethod>().unwrap().to_string(), name);
        }
        assert_eq!(
            "halving:3".parse(),
            Ok(SearchMethod::Halving { rate: 3 }),
            "the default may be written out"
        );
        for wrong in [
            "",
            "halving:1",
            "halving:0",
            "halving:x",
            "exhaustive:2",
            "half",
        ] {
            assert!(wrong.parse::<SearchMethod>().is_err(), "{wrong}");
        }
    }
}
