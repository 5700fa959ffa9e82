//! Which trials a run consists of.

use crate::autodiff::AutodiffError;
use crate::data::Split;
use crate::run::{Allowance, Phase, SearchMethod, Skipped};
use crate::strategy::{Candidate, Network, StrategyName};
use crate::training::TrainingError;

use super::SearchError;
use super::chooser::distinct;

/// The trials of one strategy.
#[derive(Clone, Debug)]
pub struct StrategyPlan {
    /// The strategy.
    pub strategy: StrategyName,
    /// What it tries. A single candidate is trained without a search.
    pub candidates: Vec<Candidate>,
    /// Candidates that are left out because an operator has no gradient, with that reason.
    pub skipped: Vec<Skipped>,
    /// How far its search goes; `None` where all candidates are tried, as far as the method of the search says.
    pub allowance: Option<Allowance>,
}

impl StrategyPlan {
    /// The candidates that are begun.
    pub(super) fn begun(&self) -> &[Candidate] {
        let begun = self.allowance.as_ref().map(|a| a.begun);
        let all = self.candidates.len();
        &self.candidates[..begun.map_or(all, |begun| begun.min(all))]
    }
}

/// Why each of some candidates cannot be trained, `None` where it can: see
/// [`Lab::obstacles`](crate::training::Lab::obstacles).
pub type Obstacles<'a> =
    dyn Fn(&[Candidate]) -> Result<Vec<Option<AutodiffError>>, TrainingError> + 'a;

/// The trials of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One entry per strategy, in the order asked for.
    pub strategies: Vec<StrategyPlan>,
    /// How the best candidate is found.
    pub method: SearchMethod,
}

impl Plan {
    /// The trials that `strategies` need for this network and split. Of several candidates, those
    /// that cannot be differentiated are left out.
    ///
    /// # Errors
    /// When a strategy has nothing to train, none of its candidates can be differentiated, or it has
    /// to choose but there is no search part.
    pub fn new(
        strategies: &[StrategyName],
        network: &Network<'_>,
        (split, method): (&Split, SearchMethod),
        obstacles: &Obstacles<'_>,
    ) -> Result<Self, SearchError> {
        let mut plan: Vec<StrategyPlan> = Vec::new();
        for &strategy in strategies {
            if plan.iter().any(|p| p.strategy == strategy) {
                continue;
            }
            let Sorted {
                candidates,
                skipped,
                first,
            } = sort(strategy.candidates(network)?, obstacles)?;
            if let (true, Some(reason)) = (candidates.is_empty(), first) {
                return Err(SearchError::NoGradient {
                    strategy,
                    reason: Box::new(reason),
                    working: working(network, obstacles)?,
                    layers: trainable_layers(network, obstacles)?,
                });
            }
            let lacks_data = split.validation.is_empty()
                || (method != SearchMethod::Whole && split.search.is_empty());
            if candidates.len() > 1 && lacks_data {
                return Err(SearchError::NoSearchData {
                    strategy,
                    candidates: candidates.len(),
                });
            }
            plan.push(StrategyPlan {
                strategy,
                candidates,
                skipped,
                allowance: None,
            });
        }
        Ok(Plan {
            strategies: plan,
            method,
        })
    }

    /// The candidates that are tried on the search part, with those who ask for them: none where no
    /// strategy has to choose, else also the only candidates of the others, for comparison.
    pub(super) fn searched(&self) -> impl Iterator<Item = (StrategyName, Candidate)> {
        let any = !self.is_whole() && self.strategies.iter().any(|p| p.candidates.len() > 1);
        let searched = self.strategies.iter().filter(move |_| any);
        searched.flat_map(|p| p.begun().iter().map(|c| (p.strategy, c.clone())))
    }

    /// The candidates that are begun, with those who ask for them.
    pub(super) fn begun(&self) -> impl Iterator<Item = (StrategyName, Candidate)> {
        let plans = self.strategies.iter();
        plans.flat_map(|p| p.begun().iter().map(|c| (p.strategy, c.clone())))
    }

    /// Whether each candidate is trained as a winner is, and not on the search part.
    pub(super) fn is_whole(&self) -> bool {
        self.method == SearchMethod::Whole
    }

    /// Number of trials, at most: one per set of parameters that is searched or joined while it is, and for each strategy
    /// one of its winner, or two of those that are made of several candidates.
    pub fn trials(&self) -> usize {
        let joins = self.strategies.iter().filter_map(|p| p.allowance.as_ref());
        let joins: usize = joins.map(|a| a.joins).sum();
        distinct(Vec::new(), self.searched()).len() + joins + self.after_search()
    }

    /// Number of trials behind the search, at most.
    pub(super) fn after_search(&self) -> usize {
        let composed = |p: &&StrategyPlan| p.strategy.composed_of().is_some();
        let composed = self.strategies.iter().filter(composed).count();
        match self.is_whole() {
            true => distinct(Vec::new(), self.begun()).len() + composed,
            false => self.strategies.len() + composed,
        }
    }
}

/// Candidates by whether they can be trained.
struct Sorted {
    candidates: Vec<Candidate>,
    skipped: Vec<Skipped>,
    /// The first reason for which one cannot.
    first: Option<AutodiffError>,
}

fn sort(all: Vec<Candidate>, obstacles: &Obstacles<'_>) -> Result<Sorted, SearchError> {
    let reasons = obstacles(&all)?;
    let mut sorted = Sorted {
        candidates: Vec::new(),
        skipped: Vec::new(),
        first: None,
    };
    for (candidate, obstacle) in all.into_iter().zip(reasons) {
        match obstacle {
            None => sorted.candidates.push(candidate),
            Some(reason) => {
                sorted.skipped.push(Skipped {
                    id: candidate.id,
                    reason: reason.to_string(),
                });
                sorted.first.get_or_insert(reason);
            }
        }
    }
    Ok(sorted)
}

/// The strategies that can be used on this network: `` `head`, `blocks` (2 of 3 candidates) ``.
fn working(network: &Network<'_>, obstacles: &Obstacles<'_>) -> Result<String, SearchError> {
    let mut names = Vec::new();
    for strategy in StrategyName::all() {
        let Ok(all) = strategy.candidates(network) else {
            continue;
        };
        let count = all.len();
        let left = sort(all, obstacles)?.candidates.len();
        match left {
            0 => {}
            _ if left == count => names.push(format!("`{strategy}`")),
            _ => names.push(format!("`{strategy}` ({left} of {count} candidates)")),
        }
    }
    Ok(match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    })
}

/// The layers that can be trained, from input to output: all by name where they are few.
fn trainable_layers(
    network: &Network<'_>,
    obstacles: &Obstacles<'_>,
) -> Result<String, SearchError> {
    let Ok(all) = StrategyName::LAYERS.candidates(network) else {
        return Ok(String::new());
    };
    let count = all.len();
    let left = sort(all, obstacles)?.candidates;
    let names: Vec<String> = left.iter().map(|c| format!("`{}`", c.label)).collect();
    Ok(match names.as_slice() {
        [] => String::new(),
        [first, .., last] if names.len() > 8 => {
            format!("{} of {count}, {first} to {last}", names.len())
        }
        few => few.join(", "),
    })
}

/// The identity of a trial, and its folder's name: `blocks-block5-search`.
pub fn trial_id(candidate: &Candidate, phase: Phase) -> String {
    format!("{}-{}", candidate.id, phase.name())
}
