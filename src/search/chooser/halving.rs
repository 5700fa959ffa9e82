//! Successive halving: all candidates are trained for a few epochs, and the best of each strategy go on, with what
//! is joined of them.

use std::collections::{BTreeSet, HashSet};

use crate::run::{Phase, TrialRecord, TrialRequest, ranked};
use crate::search::SearchError;
use crate::search::plan::StrategyPlan;
use crate::strategy::Candidate;

use super::{Budget, Chooser, Scene};

pub(super) struct Halving {
    /// One in this many goes on, for this many times the epochs.
    pub rate: usize,
}

impl Chooser for Halving {
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError> {
        let all = scene.settings.rungs();
        let plans = || scene.plan.strategies.iter();
        let own =
            |plan: &StrategyPlan| plan.allowance.as_ref().map_or(all.len(), |a| a.rungs.len());
        let most = plans().filter(|p| p.candidates.len() > 1).map(own).max();
        let most = most.unwrap_or(all.len());
        // What is searched for comparison alone goes as far as what it is compared with.
        let of = |plan: &StrategyPlan| own(plan).min(most);
        let budget = |rung: usize| Budget {
            epochs: all[rung - 1],
            rung,
            goes_on: rung < most,
        };
        let first = scene.first(scene.search(budget(1)));
        if !first.is_empty() {
            return Ok(first);
        }
        let asked = scene.asked.iter().filter(|r| r.rung == 1);
        let rounds: BTreeSet<usize> = asked.map(|r| r.round).collect();
        for round in rounds {
            for rung in 1..most {
                let plans = scene.plan.strategies.iter().filter(|plan| of(plan) > rung);
                let next = self.promoted(scene, plans, (round, rung), budget(rung + 1));
                if !next.is_empty() {
                    return Ok(next);
                }
            }
        }
        scene.after_search()
    }
}

impl Halving {
    /// What goes on to the next rung of a round from `rung`, with what is joined of it, which begins there in a round
    /// of its own; nothing where it has been asked for already.
    fn promoted<'s>(
        &self,
        scene: &'s Scene<'_>,
        plans: impl Iterator<Item = &'s StrategyPlan>,
        (round, rung): (usize, usize),
        budget: Budget,
    ) -> Vec<TrialRequest> {
        let mut known = HashSet::new();
        let mut go_on = Vec::new();
        let mut joined = Vec::new();
        for plan in plans {
            let best = self.best(scene, plan, (round, rung));
            let made = self.join(scene, plan, &best);
            joined.extend(made.map(|candidate| (plan.strategy, candidate)));
            go_on.extend(best.into_iter().filter(|r| known.insert(&r.id)));
        }
        let go_on = go_on.into_iter().map(|request| TrialRequest {
            epochs: scene.epochs(&request.candidate, budget.epochs),
            rung: budget.rung,
            goes_on: budget.goes_on,
            ..request.clone()
        });
        let joined = scene.requests(joined, Phase::Search, budget);
        go_on.chain(joined).collect()
    }

    /// The best trials of a strategy on a rung of a round, the best first; none where some have left it already.
    fn best<'s>(
        &self,
        scene: &'s Scene<'_>,
        plan: &StrategyPlan,
        (round, rung): (usize, usize),
    ) -> Vec<&'s TrialRequest> {
        let candidates = scene.candidates(plan);
        let requests = candidates.iter();
        let requests = requests.filter_map(|c| scene.request_for(c, Phase::Search));
        let of_plan =
            |r: &TrialRequest| plan.begun().iter().any(|c| c.trains_the_same(&r.candidate));
        // What was joined has rounds of its own, and is held against those that it was joined of.
        let rounds = requests.clone().filter(|r| of_plan(r)).map(|r| r.round);
        let last = rounds.max().unwrap_or(0);
        let round_of = |r: &TrialRequest| if of_plan(r) { r.round } else { last };
        let on_rung: Vec<(&TrialRequest, TrialRecord)> = requests
            .filter(|r| round_of(r) == round && r.rung >= rung)
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

    /// What is joined of the best of a strategy, as far as its search may go; `None` where it joins nothing new.
    fn join(
        &self,
        scene: &Scene<'_>,
        plan: &StrategyPlan,
        best: &[&TrialRequest],
    ) -> Option<Candidate> {
        let joins = plan.allowance.as_ref().map_or(0, |a| a.joins);
        if best.is_empty() || scene.joined(plan).count() >= joins {
            return None;
        }
        let candidates = scene.candidates(plan);
        let place = |r: &&TrialRequest| {
            let mut all = candidates.iter();
            all.position(|c| c.trains_the_same(&r.candidate))
        };
        let ranking: Vec<usize> = best.iter().filter_map(place).collect();
        let strategy = plan.strategy.rule();
        strategy.joined(scene.network, &candidates, &ranking)
    }
}
