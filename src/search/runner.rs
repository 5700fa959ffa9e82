//! Carrying out a plan: all searches, then the winners.

use std::sync::Mutex;

use crate::run::{Phase, Ranking, Results, TrialRecord, TrialRequest};
use crate::strategy::{Candidate, Network};
use crate::training::TrainingError;

use super::chooser::{Choice, Scene, Told, Verdict, chooser};
use super::emit::Emitter;
use super::executor::Executor;
use super::plan::Plan;
use super::pool::lock;
use super::round::{After, OnEnd, Round, Site};
use super::state::{Progress, State};
use super::trial::Done;
use super::watch::Doing;
use super::{SearchError, outcome};

pub(super) struct Runner<'a> {
    pub site: Site<'a>,
    pub network: &'a Network<'a>,
    pub emitter: Emitter<'a>,
    pub executor: &'a dyn Executor,
}

impl Runner<'_> {
    /// Runs what `progress` does not have yet. `results.json` is up to date whenever a strategy
    /// has ended.
    pub fn run(&self, plan: &Plan, progress: Progress) -> Result<Results, SearchError> {
        let state = State::new(plan, self.site.run, self.site.watcher, progress);
        let mut first_error = None;
        let interrupted = match self.rounds(plan, &state, &mut first_error) {
            Ok(is_done) => !is_done,
            Err(SearchError::Training(TrainingError::Stopped)) => true,
            Err(error) => return Err(error),
        };
        let results = state.write_results(interrupted)?;
        match first_error {
            // Nothing works for this input: that is the news, not a table of failures.
            Some(error)
                if error.is_bad_input() && results.strategies.len() == results.failed().count() =>
            {
                Err(error)
            }
            _ => Ok(results),
        }
    }

    /// Has all that is asked for carried out, and asks for more, until nothing is left; `false` where others
    /// have to end their trials first.
    fn rounds(
        &self,
        plan: &Plan,
        state: &State<'_>,
        first_error: &mut Option<SearchError>,
    ) -> Result<bool, SearchError> {
        let chooser = chooser(self.site.settings.method());
        self.clear(state, false)?;
        loop {
            let asked = state.requests();
            let last = asked.iter().map(|r| r.round).max().unwrap_or(0);
            let mut is_done = true;
            for number in 1..=last {
                is_done &= self.round(plan, state, number, first_error)?;
            }
            if !is_done {
                return Ok(false);
            }
            let record = |id: &str| state.trial(id);
            let ranking = |id: &str| self.ranking(id);
            let scene = self.scene(plan, &asked, (&record, &ranking));
            // Of a strategy that was added since, or whose trial ended just before the process was killed.
            for request in &asked {
                state.twins(request, &scene.twins(request))?;
            }
            let next = chooser.next(&scene)?;
            if next.is_empty() {
                // What a search has chosen may have been trained before, as that of a strategy without one.
                let is_open = |choice: &Choice| !state.has_ended(choice.strategy);
                let mut is_done = true;
                if scene.choices().iter().any(is_open) {
                    for number in 1..=last {
                        is_done &= self.round(plan, state, number, first_error)?;
                    }
                }
                if !is_done {
                    return Ok(false);
                }
                for choice in scene.choices() {
                    if !choice.trained.is_empty() && is_open(&choice) {
                        self.end_average(&scene, choice, (plan, state), first_error)?;
                    }
                }
                self.settle(&scene, state)?;
                for request in &asked {
                    self.site.run.remove_reply(&request.id)?;
                }
                return Ok(true);
            }
            state.ask(next)?;
            self.clear(state, true)?;
        }
    }

    pub(super) fn scene<'s>(
        &'s self,
        plan: &'s Plan,
        asked: &'s [TrialRequest],
        (record, ranking): (Told<'s, TrialRecord>, Told<'s, Ranking>),
    ) -> Scene<'s> {
        Scene {
            plan,
            network: self.network,
            settings: self.site.settings,
            asked,
            record,
            ranking,
        }
    }

    /// What a trial makes of each sample that ranks it. A file that is damaged tells nothing.
    pub(super) fn ranking(&self, id: &str) -> Option<Ranking> {
        self.site.run.read_ranking(id).ok().flatten()
    }

    /// Removes the checkpoints of trials of the search that have come as far as is asked, and are not asked to
    /// go on; `all`: also of those that could have been.
    fn clear(&self, state: &State<'_>, all: bool) -> Result<(), SearchError> {
        let asked = state.requests();
        for (place, request) in asked.iter().enumerate() {
            let goes_on = asked[place + 1..].iter().any(|r| r.id == request.id);
            let is_over = !goes_on && (all || !request.goes_on);
            if request.phase == Phase::Search && is_over && state.is_met(request) {
                self.site.run.remove_checkpoint(&request.id)?;
            }
        }
        Ok(())
    }

    /// Has what is left of a round carried out. `false` where some of it is still with others.
    fn round(
        &self,
        plan: &Plan,
        state: &State<'_>,
        number: usize,
        first_error: &mut Option<SearchError>,
    ) -> Result<bool, SearchError> {
        let asked = state.requests();
        let record = |id: &str| state.trial(id);
        let ranking = |id: &str| self.ranking(id);
        let scene = self.scene(plan, &asked, (&record, &ranking));
        let of_round = asked.iter().filter(|r| r.round == number);
        let (search, train): (Vec<_>, Vec<_>) = of_round.partition(|r| r.phase == Phase::Search);
        if !search.is_empty() {
            let end = |request: &TrialRequest, done: Done| {
                state.keep(done.record)?;
                state.twins(request, &scene.twins(request))
            };
            let met = |request: &TrialRequest| state.is_met(request);
            let trained = asked.iter().filter(|r| r.phase == Phase::Train).count();
            let after = After {
                searched: scene.waiting(),
                trained: plan.after_search().saturating_sub(trained),
            };
            return self.requests(number, (&search, after, false), state, &met, &end);
        }
        self.settle(&scene, state)?;
        let choices = scene.choices();
        let first = Mutex::new(None);
        let is_open = |choice: &Choice| !state.has_ended(choice.strategy);
        let served = |request: &TrialRequest| -> Vec<&Choice> {
            let same = |c: &&Choice| {
                c.trained.is_empty() && c.candidate.trains_the_same(&request.candidate)
            };
            choices.iter().filter(same).collect()
        };
        let met = |request: &TrialRequest| {
            let averaged = |c: &Candidate| c.trains_the_same(&request.candidate);
            let is_wanted = |c: &&Choice| is_open(c) && c.trained.iter().any(averaged);
            let is_wanted = choices.iter().any(|c| is_wanted(&c));
            let is_there = || self.site.run.read_reply(request).is_ok_and(|r| r.is_some());
            let is_served = match served(request).as_slice() {
                // Which of several is the winner is not known yet, or another is.
                [] => is_wanted || state.is_met(request),
                served => !served.iter().any(|c| is_open(c)),
            };
            // What may be averaged has to be there until it was.
            is_served && (!is_wanted || is_there())
        };
        let end = |request: &TrialRequest, done: Done| {
            let record = state.keep(done.record)?;
            state.twins(request, &scene.twins(request))?;
            for choice in served(request).into_iter().filter(|c| is_open(c)) {
                let of = (&record, done.parameters.as_ref());
                let error = self.end(choice, of, &[], (plan, state))?;
                if let Some(error) = error {
                    lock(&first).get_or_insert(error);
                }
            }
            Ok(())
        };
        let is_searched = scene.verdicts().iter().any(|verdict| match verdict {
            Verdict::Open => true,
            Verdict::Chosen(choice) => !choice.trained.is_empty() && is_open(choice),
            Verdict::Diverged { .. } => false,
        });
        let trained = match is_searched {
            true => plan.trials().saturating_sub(train.len()),
            false => 0,
        };
        let after = After {
            trained,
            ..After::default()
        };
        let done = self.requests(number, (&train, after, is_searched), state, &met, &end);
        if let Some(error) = lock(&first).take() {
            first_error.get_or_insert(error);
        }
        done
    }

    /// Has those of a round's requests carried out that are not met; `after`: what will follow them, `is_kept`: whether
    /// what they come to may be wanted again.
    fn requests(
        &self,
        number: usize,
        (requests, after, is_kept): (&[&TrialRequest], After, bool),
        state: &State<'_>,
        is_met: &dyn Fn(&TrialRequest) -> bool,
        end: &OnEnd<'_>,
    ) -> Result<bool, SearchError> {
        let run = self.site.run;
        let end = |request: &TrialRequest, done: Done| {
            if is_kept {
                run.write_reply(request, &done.record, done.parameters.as_ref())?;
                return end(request, done);
            }
            end(request, done)?;
            // Once others have replied, the trial's files serve for nothing more.
            Ok(run.remove_reply(&request.id)?)
        };
        let is_open = |request: &&&TrialRequest| !is_met(request);
        for request in requests.iter().filter(|r| !is_open(r)) {
            // There is one if the process was killed when the trial's record had been written.
            if request.phase == Phase::Train {
                run.remove_checkpoint(&request.id)?;
            }
        }
        for request in requests.iter().filter(is_open) {
            if let Some((record, parameters)) = run.read_reply(request)? {
                state.go_on()?;
                end(request, Done { record, parameters })?;
                // There is one if the process was killed between reply and record.
                run.remove_checkpoint(&request.id)?;
            }
        }
        let open: Vec<TrialRequest> = requests
            .iter()
            .filter(is_open)
            .map(|&r| r.clone())
            .collect();
        if open.is_empty() {
            return Ok(true);
        }
        state.expect(open.len() + after.searched + after.trained);
        self.site.watcher.doing("", Doing::Planning, 0, 0);
        let round = Round::new(self.site, &state.requests(), number)?;
        if !self.executor.has_others() {
            let start = round.start(&open, state.counts(), after);
            self.site.watcher.round(&start);
        }
        self.executor.run(&round, &open, &|| state.begin(), &end)?;
        Ok(open.iter().all(is_met))
    }

    /// Writes down which strategies came to nothing, and says of which a part did.
    fn settle(&self, scene: &Scene<'_>, state: &State<'_>) -> Result<(), SearchError> {
        for verdict in scene.verdicts() {
            match verdict {
                Verdict::Diverged {
                    strategy,
                    searched,
                    seconds,
                    reason,
                } if !state.has_ended(strategy) => {
                    let error = SearchError::Diverged {
                        candidates: searched.candidates,
                        reason,
                    };
                    let error = (error.to_string(), error.failure());
                    state.end(outcome::failed(strategy, Some(searched), seconds, error))?;
                }
                Verdict::Chosen(choice) if !state.has_ended(choice.strategy) => {
                    if let Some(searched) = choice.searched.filter(|s| s.diverged > 0) {
                        self.site.watcher.warning(&format!(
                            "{} of {} candidates of `{}` diverged and are not ranked",
                            searched.diverged, searched.candidates, choice.strategy
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
