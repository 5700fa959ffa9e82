//! Which trials a run wants next.

mod exhaustive;
mod halving;
mod scout;
mod whole;

use std::collections::HashSet;

use crate::run::{
    Certainty, Phase, Ranking, RunError, SearchMethod, Searched, Settings, TrialRecord,
    TrialRequest, ranked, tie_break,
};
use crate::strategy::{Candidate, Network, StrategyName};

use super::SearchError;
use super::plan::{Plan, StrategyPlan, trial_id};

use exhaustive::Exhaustive;
use halving::Halving;
use whole::Whole;

/// Decides by what has ended which trials are wanted next.
pub(super) trait Chooser {
    /// The next trials, once all that were asked for have ended; none where the run is at its end.
    ///
    /// What it gives follows from `scene` alone, so that a run which is resumed, or collected by another
    /// process, goes on as it would have.
    ///
    /// # Errors
    /// When the records contradict what was asked for.
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError>;
}

/// The chooser of a method.
pub(super) fn chooser(method: SearchMethod) -> Box<dyn Chooser> {
    match method {
        SearchMethod::Exhaustive => Box::new(Exhaustive),
        SearchMethod::Halving { rate, .. } => Box::new(Halving { rate }),
        SearchMethod::Whole => Box::new(Whole),
    }
}

/// A run between two trials.
pub(super) struct Scene<'a> {
    pub plan: &'a Plan,
    pub network: &'a Network<'a>,
    pub settings: &'a Settings,
    /// All that was asked for, in its order.
    pub asked: &'a [TrialRequest],
    /// The record of a trial that has ended.
    pub record: Told<'a, TrialRecord>,
    /// What a trial of the search makes of each sample that ranks it.
    pub ranking: Told<'a, Ranking>,
}

/// What is told of a trial, by its name; `None` where that is not there.
pub(super) type Told<'a, T> = &'a (dyn Fn(&str) -> Option<T> + Sync);

/// What the search of a strategy has come to.
pub(super) enum Verdict {
    /// Some of its candidates have not been tried yet.
    Open,
    /// It trains this in the end.
    Chosen(Box<Choice>),
    /// All of its candidates diverged.
    Diverged {
        strategy: StrategyName,
        searched: Searched,
        /// Seconds of its trials.
        seconds: f64,
        /// That of the first.
        reason: String,
    },
}

/// A strategy after its search.
pub(super) struct Choice {
    pub strategy: StrategyName,
    pub candidate: Candidate,
    /// `None` where there was nothing to choose.
    pub searched: Option<Searched>,
    /// Where the winner may be an average, all that were trained for it and did not fail, the best first; else none.
    pub trained: Vec<Candidate>,
    /// The trials of the candidates that are ranked, the best first; none where there was nothing to choose.
    pub ranked: Vec<TrialRecord>,
    /// That of the choice, where it is not the first, see [`Certainty::taken`].
    pub taken: Option<String>,
    /// Seconds of its searches.
    pub seconds: f64,
}

/// How far trials are asked to go.
#[derive(Clone, Copy)]
struct Budget {
    epochs: usize,
    rung: usize,
    goes_on: bool,
}

impl Budget {
    /// Once, and for so many epochs.
    fn once(epochs: usize) -> Self {
        Budget {
            epochs,
            rung: 0,
            goes_on: false,
        }
    }
}

impl Scene<'_> {
    /// The last request for the trial that trains what `candidate` does.
    pub fn request_for(&self, candidate: &Candidate, phase: Phase) -> Option<&TrialRequest> {
        let mut asked = self.asked.iter().rev();
        asked.find(|r| r.phase == phase && r.candidate.trains_the_same(candidate))
    }

    /// What the candidate's search came to, under its own name where it is another strategy's as well.
    fn tried(&self, candidate: &Candidate) -> Option<TrialRecord> {
        let phase = self.plan.method.phase();
        let request = self.request_for(candidate, phase)?;
        let record = (self.record)(&request.id)?;
        let is_own = request.candidate.id == candidate.id;
        request.is_met_by(&record).then(|| match is_own {
            true => record,
            false => TrialRecord {
                id: trial_id(candidate, phase),
                candidate: candidate.label.clone(),
                same_as: Some(request.id.clone()),
                ..record
            },
        })
    }

    /// What the search of a strategy tries: the candidates that are begun, then those that were joined of them.
    pub fn candidates(&self, plan: &StrategyPlan) -> Vec<Candidate> {
        let joined = self.joined(plan).map(|request| request.candidate.clone());
        let begun = plan.begun().iter().cloned();
        begun.chain(joined).collect()
    }

    /// The first request for each candidate that was joined of others in the search of a strategy.
    fn joined<'s>(&'s self, plan: &'s StrategyPlan) -> impl Iterator<Item = &'s TrialRequest> {
        let may = plan.allowance.as_ref().is_some_and(|a| a.joins > 0);
        let mut known = HashSet::new();
        let asked = self.asked.iter().filter(move |r| {
            may && r.phase == Phase::Search && r.strategy == plan.strategy && r.rung > 1
        });
        let planned = |r: &&TrialRequest| {
            let mut planned = plan.begun().iter();
            planned.any(|c| c.trains_the_same(&r.candidate))
        };
        asked.filter(move |r| !planned(r) && known.insert(&r.id))
    }

    /// What the search of each strategy has come to, in the order of the plan.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let strategies = self.plan.strategies.iter();
        strategies.map(|plan| self.verdict(plan)).collect()
    }

    fn verdict(&self, plan: &StrategyPlan) -> Verdict {
        let strategy = &plan.strategy;
        let candidates = &self.candidates(plan);
        let chosen =
            |ranking: &[usize], searched: Option<Searched>, seconds, records: &[TrialRecord]| {
                let ranked = ranking.iter().filter_map(|&i| records.get(i).cloned());
                let ranked: Vec<TrialRecord> = ranked.collect();
                let takes_largest = strategy.rule().takes_the_largest() && !self.plan.is_whole();
                let mut ranking = ranking.to_vec();
                let mut taken = None;
                // Verdicts are asked for again and again: draws are made only where something follows from them.
                if takes_largest
                    && let Ok(Some(certainty)) =
                        certainty(&ranked, &|id| Ok((self.ranking)(id)), self.settings)
                    && let Some(place) = largest(&certainty, &ranked)
                {
                    taken = Some(ranked[place].id.clone());
                    let first = ranking.remove(place);
                    ranking.insert(0, first);
                }
                let averages = self.plan.is_whole() && strategy.rule().averages();
                let trained = ranking.iter().filter(|_| averages && searched.is_some());
                let trained = trained.map(|&place| candidates[place].clone()).collect();
                Verdict::Chosen(Box::new(Choice {
                    trained,
                    strategy: *strategy,
                    candidate: strategy.winner(self.network, candidates, &ranking),
                    searched,
                    ranked,
                    taken,
                    seconds,
                }))
            };
        if plan.candidates.len() == 1 {
            return chosen(&[0], None, 0.0, &[]);
        }
        let records: Option<Vec<TrialRecord>> = candidates.iter().map(|c| self.tried(c)).collect();
        let Some(records) = records else {
            return Verdict::Open;
        };
        let ranking = ranked(&records, self.settings.ranks_by());
        let searched = Searched {
            candidates: records.len(),
            diverged: records.iter().filter(|r| r.error.is_some()).count(),
        };
        // A candidate that is trained as the winner is no search of it.
        let winner = ranking.first().filter(|_| self.plan.is_whole());
        let own = winner.map_or(0.0, |&winner| records[winner].seconds);
        let seconds = records.iter().map(|r| r.seconds).sum::<f64>() - own;
        if ranking.is_empty() {
            let reason = records.into_iter().find_map(|r| r.error);
            return Verdict::Diverged {
                strategy: *strategy,
                searched,
                seconds,
                reason: reason.unwrap_or_default(),
            };
        }
        chosen(&ranking, Some(searched), seconds, &records)
    }

    /// The choices that stand.
    pub fn choices(&self) -> Vec<Choice> {
        let choice = |verdict| match verdict {
            Verdict::Chosen(choice) => Some(*choice),
            _ => None,
        };
        self.verdicts().into_iter().filter_map(choice).collect()
    }

    /// Other candidates of its phase whose figures a trial gives: they train the same parameters.
    pub fn twins(&self, request: &TrialRequest) -> Vec<(StrategyName, Candidate)> {
        let asked = &request.candidate;
        let all: Vec<(StrategyName, Candidate)> = match request.phase {
            Phase::Search => self.plan.searched().chain(self.composed()).collect(),
            Phase::Train if self.plan.is_whole() => {
                self.plan.begun().chain(self.winners()).collect()
            }
            Phase::Train => self.winners().collect(),
        };
        let mut known = HashSet::from([asked.id.clone()]);
        all.into_iter()
            .filter(|(_, c)| c.trains_the_same(asked) && known.insert(c.id.clone()))
            .collect()
    }

    /// What each strategy trains in the end, as far as that stands.
    fn winners(&self) -> impl Iterator<Item = (StrategyName, Candidate)> {
        let choices = self.choices().into_iter();
        choices.map(|c| (c.strategy, c.candidate))
    }

    /// What is made of several candidates and was not among those that were searched.
    fn composed(&self) -> impl Iterator<Item = (StrategyName, Candidate)> {
        let searches = self.plan.searched().next().is_some();
        let choices = if searches { self.choices() } else { Vec::new() };
        let composed = choices.into_iter();
        composed
            .filter(|c| c.strategy.composed_of().is_some())
            .map(|c| (c.strategy, c.candidate))
    }

    /// What a run begins with, each in a round of its own: the training of `head` where there are other strategies, so
    /// that a run which is stopped early leaves a model, that with which others are compared; where some strategy
    /// searches, the training of the others, which need not wait for it; and the `search`.
    fn first(&self, search: Vec<TrialRequest>) -> Vec<TrialRequest> {
        let plans = &self.plan.strategies;
        let searches = plans.iter().any(|p| p.candidates.len() > 1);
        let (heads, others): (Vec<_>, Vec<_>) = plans
            .iter()
            .filter(|p| p.candidates.len() == 1)
            .partition(|p| p.strategy == StrategyName::HEAD);
        let of = |plans: Vec<&StrategyPlan>, is_wanted: bool| {
            let plans = plans.into_iter().filter(|_| is_wanted);
            let wanted = plans.flat_map(|p| p.candidates.iter().map(|c| (p.strategy, c.clone())));
            let epochs = Budget::once(self.settings.most_epochs());
            self.requests(wanted, Phase::Train, epochs)
        };
        let mut first = Vec::new();
        let mut rounds = 0;
        for mut round in [of(heads, plans.len() > 1), of(others, searches), search] {
            round.iter_mut().for_each(|request| request.round += rounds);
            rounds += usize::from(!round.is_empty());
            first.extend(round);
        }
        first
    }

    /// What stands behind every search: a trial of each winner that was made of several candidates, for
    /// comparison alone, then the training of all winners.
    fn after_search(&self) -> Result<Vec<TrialRequest>, SearchError> {
        let open = |verdict: &Verdict| matches!(verdict, Verdict::Open);
        if let Some(place) = self.verdicts().iter().position(open) {
            let candidates = self.candidates(&self.plan.strategies[place]);
            let mut untried = candidates.iter().filter(|c| self.tried(c).is_none());
            return Err(SearchError::NotTried {
                id: untried
                    .next()
                    .map(|c| trial_id(c, self.plan.method.phase()))
                    .unwrap_or_default(),
            });
        }
        let epochs = Budget::once(self.settings.most_search_epochs());
        let made = self.requests(self.composed(), Phase::Search, epochs);
        if !made.is_empty() {
            return Ok(made);
        }
        let epochs = Budget::once(self.settings.most_epochs());
        Ok(self.requests(self.winners(), Phase::Train, epochs))
    }

    /// A round of requests for what of `wanted` has not been asked for: candidates that train the same
    /// parameters share a trial, since in one phase all else is the same for all.
    fn requests(
        &self,
        wanted: impl IntoIterator<Item = (StrategyName, Candidate)>,
        phase: Phase,
        budget: Budget,
    ) -> Vec<TrialRequest> {
        let round = self.asked.iter().map(|r| r.round).max().unwrap_or(0) + 1;
        let asked = self.asked.iter().filter(|r| r.phase == phase);
        let asked = asked.map(|r| r.candidate.clone()).collect();
        distinct(asked, wanted)
            .into_iter()
            .map(|(strategy, candidate)| TrialRequest {
                id: trial_id(&candidate, phase),
                round,
                phase,
                strategy,
                epochs: self.epochs(&candidate, budget.epochs),
                rung: budget.rung,
                rate: self.found_rate(&candidate, phase),
                goes_on: budget.goes_on,
                candidate,
            })
            .collect()
    }

    /// The epochs of a candidate's trial that is allowed so many: none where it trains the head alone, and that is
    /// where its training would end.
    fn epochs(&self, candidate: &Candidate, allowed: usize) -> usize {
        let is_of_head = |name: &String| self.network.head.contains(name);
        let is_head = candidate.rewrite.is_none() && candidate.trainable.iter().all(is_of_head);
        match is_head && self.settings.solves_head() {
            true => 0,
            false => allowed,
        }
    }
}

/// How sure a ranking is, as far as the trials have left what tells it.
///
/// # Errors
/// Those of `ranking`, which says what a trial makes of each sample that ranks it.
pub(super) fn certainty(
    ranked: &[TrialRecord],
    ranking: &dyn Fn(&str) -> Result<Option<Ranking>, RunError>,
    settings: &Settings,
) -> Result<Option<Certainty>, RunError> {
    // Those that ended early were trained for less: no figure tells them from the others.
    let Some(rung) = ranked.first().map(|trial| trial.rung) else {
        return Ok(None);
    };
    let last: Vec<&TrialRecord> = ranked.iter().filter(|trial| trial.rung == rung).collect();
    let of = |trial: &&TrialRecord| {
        let told = ranking(trial.same_as.as_ref().unwrap_or(&trial.id))?;
        Ok(told.map(|told| (trial.id.clone(), trial.candidate.clone(), told)))
    };
    let Some(rankings) = last.iter().map(of).collect::<Result<Option<Vec<_>>, _>>()? else {
        return Ok(None);
    };
    let by = settings.ranks_by();
    let earlier = ranked.len() - last.len();
    let certainty = Certainty::of(by, &rankings, earlier, settings.split.seed);
    let tie = match last.as_slice() {
        [first, second, ..] => tie_break(first, second, by),
        _ => None,
    };
    Ok(certainty.map(|certainty| Certainty { tie, ..certainty }))
}

/// The place of the candidate that trains the most parameters, of those that cannot be told from the best; `None` where that is
/// the best itself.
fn largest(certainty: &Certainty, ranked: &[TrialRecord]) -> Option<usize> {
    let standings = certainty.candidates.iter().zip(ranked).enumerate();
    let open = standings.filter(|(place, (standing, _))| *place == 0 || standing.is_open());
    // Of equal ones the better.
    let largest = open
        .rev()
        .max_by_key(|(_, (_, trial))| trial.trained_parameters)?;
    Some(largest.0).filter(|&place| place > 0)
}

/// Those of `wanted` that train what neither one of `known` nor one before them does.
pub(super) fn distinct(
    mut known: Vec<Candidate>,
    wanted: impl IntoIterator<Item = (StrategyName, Candidate)>,
) -> Vec<(StrategyName, Candidate)> {
    let mut new = Vec::new();
    for (strategy, candidate) in wanted {
        if !known.iter().any(|k| k.trains_the_same(&candidate)) {
            known.push(candidate.clone());
            new.push((strategy, candidate));
        }
    }
    new
}

#[cfg(test)]
mod tests;
