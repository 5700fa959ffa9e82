//! Successive halving: all candidates are trained for a few epochs, and the best of each strategy go on.

use std::collections::{BTreeSet, HashSet};

use crate::run::{Phase, TrialRecord, TrialRequest, ranked};
use crate::search::SearchError;
use crate::search::plan::StrategyPlan;

use super::{Budget, Chooser, Scene};

pub(super) struct Halving {
    /// One in this many goes on, for this many times the epochs.
    pub rate: usize,
}

impl Chooser for Halving {
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError> {
        let rungs = rungs(scene.settings.search_epochs, self.rate);
        let budget = |rung: usize| Budget {
            epochs: rungs[rung - 1],
            rung,
            goes_on: rung < rungs.len(),
        };
        let begin = scene.requests(scene.plan.searched(), Phase::Search, budget(1));
        let first = scene.first(begin);
        if !first.is_empty() {
            return Ok(first);
        }
        let asked = scene.asked.iter().filter(|r| r.rung == 1);
        let rounds: BTreeSet<usize> = asked.map(|r| r.round).collect();
        for round in rounds {
            for rung in 1..rungs.len() {
                let promoted = self.promoted(scene, round, rung);
                if !promoted.is_empty() {
                    let Budget {
                        epochs,
                        rung,
                        goes_on,
                    } = budget(rung + 1);
                    let go_on = |request: &TrialRequest| TrialRequest {
                        epochs: scene.epochs(&request.candidate, epochs),
                        rung,
                        goes_on,
                        ..request.clone()
                    };
                    return Ok(promoted.into_iter().map(go_on).collect());
                }
            }
        }
        scene.after_search()
    }
}

impl Halving {
    /// The trials of a round on `rung` that go on to the next; none where they have been asked to already.
    fn promoted<'s>(
        &self,
        scene: &'s Scene<'_>,
        round: usize,
        rung: usize,
    ) -> Vec<&'s TrialRequest> {
        let mut known = HashSet::new();
        let strategies = scene.plan.strategies.iter();
        let best = strategies.flat_map(|plan| self.best(scene, plan, (round, rung)));
        best.filter(|request| known.insert(&request.id)).collect()
    }

    /// The best trials of a strategy on a rung of a round; none where some have left it already.
    fn best<'s>(
        &self,
        scene: &'s Scene<'_>,
        plan: &StrategyPlan,
        (round, rung): (usize, usize),
    ) -> Vec<&'s TrialRequest> {
        let requests = plan.candidates.iter();
        let requests = requests.filter_map(|c| scene.request_for(c, Phase::Search));
        let on_rung: Vec<(&TrialRequest, TrialRecord)> = requests
            .filter(|r| r.round == round && r.rung >= rung)
            .filter_map(|r| Some((r, (scene.record)(&r.id)?)))
            .collect();
        if on_rung.iter().any(|(request, _)| request.rung > rung) {
            return Vec::new();
        }
        let (requests, records): (Vec<_>, Vec<_>) = on_rung.into_iter().unzip();
        let needed = plan.strategy.composed_of().unwrap_or(1);
        let kept = requests.len().div_ceil(self.rate).max(needed);
        let ranking = ranked(&records, scene.settings.ranks_by());
        ranking
            .into_iter()
            .take(kept)
            .map(|place| requests[place])
            .collect()
    }
}

/// The epochs of each rung: those of the search divided by `rate` again and again, down to 1, the fewest
/// first. 5 epochs at a rate of 3 are 1, 2, 5.
fn rungs(epochs: usize, rate: usize) -> Vec<usize> {
    let mut rungs = vec![epochs.max(1)];
    while let Some(&last) = rungs.last()
        && last > 1
    {
        rungs.push(last.div_ceil(rate.max(2)));
    }
    rungs.reverse();
    rungs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_at_the_epochs_of_the_search() {
        assert_eq!(rungs(5, 3), [1, 2, 5]);
        assert_eq!(rungs(27, 3), [1, 3, 9, 27]);
        assert_eq!(rungs(1, 3), [1]);
        assert_eq!(rungs(2, 2), [1, 2]);
        assert_eq!(rungs(0, 0), [1]);
    }
}
