//! Which trials a run consists of.

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::strategy::{Candidate, Network, Strategy};

use super::SearchError;

/// What a trial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// To rank a candidate, on the search part of the data.
    Search,
    /// To train a winner, on the training part.
    Train,
}

impl Phase {
    /// `search` or `train`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Search => "search",
            Phase::Train => "train",
        }
    }
}

/// The trials of one strategy.
#[derive(Clone, Debug)]
pub struct StrategyPlan {
    /// The strategy.
    pub strategy: Strategy,
    /// What it tries. A single candidate is trained without a search.
    pub candidates: Vec<Candidate>,
}

/// The trials of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One entry per strategy, in the order asked for.
    pub strategies: Vec<StrategyPlan>,
}

impl Plan {
    /// The trials that `strategies` need for this network and split.
    ///
    /// # Errors
    /// When a strategy has nothing to train, or has to choose but there is no search part.
    pub fn new(
        strategies: &[Strategy],
        network: &Network<'_>,
        split: &Split,
    ) -> Result<Self, SearchError> {
        let mut plan: Vec<StrategyPlan> = Vec::new();
        for &strategy in strategies {
            if plan.iter().any(|p| p.strategy == strategy) {
                continue;
            }
            let candidates = strategy.candidates(network)?;
            if candidates.len() > 1 && (split.search.is_empty() || split.validation.is_empty()) {
                return Err(SearchError::NoSearchData {
                    strategy,
                    candidates: candidates.len(),
                });
            }
            plan.push(StrategyPlan {
                strategy,
                candidates,
            });
        }
        Ok(Plan { strategies: plan })
    }

    /// Number of trials: one per candidate that is searched, and one per strategy.
    pub fn trials(&self) -> usize {
        let of = |p: &StrategyPlan| match p.candidates.len() {
            1 => 1,
            n => n + 1,
        };
        self.strategies.iter().map(of).sum()
    }
}

/// The identity of a trial, and its folder's name: `blocks-block5-search`.
pub fn trial_id(candidate: &Candidate, phase: Phase) -> String {
    format!("{}-{}", candidate.id, phase.name())
}
