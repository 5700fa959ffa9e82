//! What a search may cost, and what it has cost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the search of a strategy that [looks for promising blocks](crate::strategy::Strategy::wants_promising) may
/// cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchBudget {
    /// Seconds by the clock on the wall, roughly: they are turned into operations by a few steps that are timed once,
    /// when the run begins.
    Seconds(f64),
    /// A share of the [operations](SearchCost::exhaustive) of an exhaustive search, above 0, at most 1.
    Share(f64),
    /// The operations of training everything once as winners are trained: a search then takes no longer than the
    /// training of what it finds. Without a bound where these are not known.
    Winner,
}

/// A span of time: `90s`, `10m`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Its seconds, above 0.
    pub seconds: f64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a time such as 90s, 10m or 1h".to_owned();
        let text = text.trim();
        let unit = text.chars().next_back().ok_or_else(expected)?;
        let factor = match unit {
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            _ => return Err(expected()),
        };
        let number = text.strip_suffix(unit).unwrap_or_default();
        let seconds = number.parse::<f64>().map_err(|_| expected())? * factor;
        match seconds.is_finite() && seconds > 0.0 {
            true => Ok(Span { seconds }),
            false => Err("expected a time above 0".to_owned()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: f64| self.seconds >= unit && self.seconds % unit == 0.0;
        match self.seconds {
            s if whole(3600.0) => write!(f, "{}h", s / 3600.0),
            s if whole(60.0) => write!(f, "{}m", s / 60.0),
            s => write!(f, "{s}s"),
        }
    }
}

/// How far the search of a strategy goes: in `run.json` beside its candidates, so that a run that is resumed goes on
/// as it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allowance {
    /// How many of the candidates are begun, the first ones; at least 1.
    pub begun: usize,
    /// The epochs up to which candidates are trained on each rung of halving.
    pub rungs: Vec<usize>,
    /// How many further candidates are joined of those that do best, at most one for each rung but the first.
    pub joins: usize,
    /// What it costs; `None` where the operations of a step are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<PlannedCost>,
}

/// The operations of a search, as they were planned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedCost {
    /// See [`SearchCost::exhaustive`].
    pub exhaustive: u64,
    /// What the budget allows; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Operations per second in the steps that were timed; `None` where the budget is no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Of the gradients that say where to look.
    pub scoring: u64,
    /// What the search takes at most, whichever candidates go on. Above the budget where one candidate alone is.
    pub most: u64,
}

/// What a search has cost, in floating-point operations: two per multiply-accumulate of convolutions and dense
/// products, all else not counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchCost {
    /// Of the steps of all its trials, of the samples that they were scored on, of the frozen layers before them, and
    /// of the gradients that say where to look. A head that is solved before is not counted, here and below.
    pub operations: u64,
    /// Of trials of every layer, block, window (of three layers) and of all together, for all epochs of the search,
    /// counted likewise.
    pub exhaustive: u64,
    /// What the budget allowed; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Operations per second in the steps that were timed when it began; `None` where the budget is no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
}

impl SearchCost {
    /// The share of an exhaustive search; 0 where that costs nothing.
    pub fn share(&self) -> f64 {
        match self.exhaustive {
            0 => 0.0,
            all => self.operations as f64 / all as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_come_back_as_they_are_given() {
        for (text, seconds) in [("90s", 90.0), ("10m", 600.0), ("1h", 3600.0), ("0.5s", 0.5)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.seconds, span.to_string().as_str()), (seconds, text));
        }
        assert_eq!("1.5h".parse::<Span>().unwrap().to_string(), "90m");
        for wrong in ["", "10", "m", "0s", "-1m", "1d", "nans", "infh", "1µ"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
