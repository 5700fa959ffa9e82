//! Carrying out a plan: all searches, then the winners.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::onnx::{create_folder, write_atomic};
use crate::run::{
    Certainty, Failure, HeldOut, Parameters, Phase, Results, RunDir, RunError, StrategyResult,
    TrialRecord, TrialRequest, csv,
};
use crate::strategy::{Network, StrategyName};
use crate::surgery::rewrite::Merged;
use crate::training::TrainingError;

use super::chooser::{Choice, Scene, Verdict, chooser};
use super::emit::{Emitted, Emitter, Winner};
use super::executor::Executor;
use super::plan::Plan;
use super::pool::lock;
use super::round::{OnEnd, Round, Site};
use super::state::{Progress, State};
use super::trial::Done;
use super::watch::Stop;
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
            let scene = self.scene(plan, &asked, &record);
            // Of a strategy that was added since, or whose trial ended just before the process was killed.
            for request in &asked {
                state.twins(request, &scene.twins(request))?;
            }
            let next = chooser.next(&scene)?;
            if next.is_empty() {
                self.settle(&scene, state)?;
                return Ok(true);
            }
            state.ask(next)?;
            self.clear(state, true)?;
        }
    }

    fn scene<'s>(
        &'s self,
        plan: &'s Plan,
        asked: &'s [TrialRequest],
        record: &'s (dyn Fn(&str) -> Option<TrialRecord> + Sync),
    ) -> Scene<'s> {
        Scene {
            plan,
            network: self.network,
            settings: self.site.settings,
            asked,
            record,
        }
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
        let scene = self.scene(plan, &asked, &record);
        let of_round = asked.iter().filter(|r| r.round == number);
        let (search, train): (Vec<_>, Vec<_>) = of_round.partition(|r| r.phase == Phase::Search);
        if !search.is_empty() {
            let end = |request: &TrialRequest, done: Done| {
                state.keep(done.record)?;
                state.twins(request, &scene.twins(request))
            };
            let met = |request: &TrialRequest| state.is_met(request);
            let trained = asked.iter().filter(|r| r.phase == Phase::Train).count();
            let left = plan.after_search().saturating_sub(trained);
            return self.requests(number, (&search, left), state, &met, &end);
        }
        self.settle(&scene, state)?;
        let choices = scene.choices();
        let first = Mutex::new(None);
        let served = |request: &TrialRequest| -> Vec<&Choice> {
            let same = |c: &&Choice| c.candidate.trains_the_same(&request.candidate);
            choices.iter().filter(same).collect()
        };
        let met = |request: &TrialRequest| {
            let mut served = served(request).into_iter();
            served.all(|choice| state.has_ended(choice.strategy))
        };
        let end = |request: &TrialRequest, done: Done| {
            let record = state.keep(done.record)?;
            state.twins(request, &scene.twins(request))?;
            let open = served(request).into_iter();
            for choice in open.filter(|c| !state.has_ended(c.strategy)) {
                let failed = |error: (String, Option<Failure>)| {
                    let seconds = choice.seconds + record.seconds;
                    outcome::failed(choice.strategy, choice.searched, seconds, error)
                };
                let result = match &done.parameters {
                    None => failed((record.error.clone().unwrap_or_default(), record.failure)),
                    Some(parameters) => match self.emit(choice, &record, parameters, state) {
                        Ok(result) => result,
                        Err(error) if error.failure().is_none() => return Err(error),
                        Err(error) => {
                            let result = failed((error.to_string(), error.failure()));
                            lock(&first).get_or_insert(error);
                            result
                        }
                    },
                };
                state.end(result)?;
            }
            Ok(())
        };
        let is_open = |verdict: &Verdict| matches!(verdict, Verdict::Open);
        let later = match scene.verdicts().iter().any(is_open) {
            true => plan.trials().saturating_sub(train.len()),
            false => 0,
        };
        let done = self.requests(number, (&train, later), state, &met, &end);
        if let Some(error) = lock(&first).take() {
            first_error.get_or_insert(error);
        }
        done
    }

    /// Has those of a round's requests carried out that are not met; `later`: how many trials will follow
    /// them.
    fn requests(
        &self,
        number: usize,
        (requests, later): (&[&TrialRequest], usize),
        state: &State<'_>,
        is_met: &dyn Fn(&TrialRequest) -> bool,
        end: &OnEnd<'_>,
    ) -> Result<bool, SearchError> {
        let run = self.site.run;
        // Once others have replied, the trial's files serve for nothing more.
        let end = |request: &TrialRequest, done: Done| {
            end(request, done)?;
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
        state.expect(open.len() + later);
        let round = Round::new(self.site, &state.requests(), number)?;
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
                Verdict::Chosen(Choice {
                    strategy,
                    searched: Some(searched),
                    ..
                }) if searched.diverged > 0 && !state.has_ended(strategy) => {
                    self.site.watcher.warning(&format!(
                        "{} of {} candidates of `{strategy}` diverged and are not ranked",
                        searched.diverged, searched.candidates
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a winner's model and says what it is worth.
    fn emit(
        &self,
        choice: &Choice,
        record: &TrialRecord,
        parameters: &Parameters,
        state: &State<'_>,
    ) -> Result<StrategyResult, SearchError> {
        let abandoned = AtomicBool::new(false);
        let Site {
            lab,
            split,
            settings,
            run,
            watcher,
            ..
        } = self.site;
        let mut stop = Stop {
            watcher,
            abandoned: &abandoned,
        };
        // What is measured from here on is what is written: merged weights, of a float16 model rounded ones.
        let rewrite = &choice.candidate.rewrite;
        let merged = rewrite.merge(self.emitter.grafted, parameters)?;
        let held_out = self.held_out(choice.strategy, &merged, &mut stop)?;
        let held_out_accuracy = held_out.as_ref().map(|h| h.score.accuracy);
        let validation = record.validation.map(|v| v.accuracy);
        let winner = Winner {
            strategy: choice.strategy,
            candidate: &choice.candidate.label,
            rewrite,
            parameters,
            merged: &merged,
            held_out_accuracy,
            validation_accuracy: validation,
        };
        let samples = match split.held_out.as_slice() {
            [] => &split.retraining(),
            samples => samples,
        };
        let may_be_kept = || state.go_on();
        let emitted = self
            .emitter
            .emit(run, &winner, (lab, samples), &may_be_kept);
        if emitted.is_err() {
            // There is no model whose predictions they were. That they may stay is the lesser evil.
            let _ = std::fs::remove_file(run.path(&RunDir::predictions(choice.strategy)));
        }
        let Emitted {
            model,
            sha256,
            external,
        } = emitted?;
        Ok(StrategyResult {
            name: choice.strategy,
            candidate: Some(choice.candidate.label.clone()),
            layers: choice.candidate.layers.clone(),
            trial: Some(record.id.clone()),
            validation_accuracy: validation,
            monitored: record.validation.map(|v| settings.watched().of(&v)),
            held_out_accuracy,
            held_out,
            trained_parameters: record.trained_parameters,
            epochs: Some(record.epochs),
            searched: choice.searched,
            certainty: self.certainty(choice)?,
            seconds: choice.seconds + record.seconds,
            model: Some(model),
            sha256: Some(sha256),
            external,
            error: None,
            failure: None,
        })
    }

    /// How sure the choice among the candidates is, as far as their trials have left what tells it.
    fn certainty(&self, choice: &Choice) -> Result<Option<Certainty>, SearchError> {
        let Site { run, settings, .. } = self.site;
        let mut ranked = Vec::new();
        // Those that ended early were trained for less: no figure tells them from the others.
        let rung = choice.ranked.first().map_or(0, |first| first.rung);
        let last = choice.ranked.iter().filter(|trial| trial.rung == rung);
        for trial in last.clone() {
            let own = trial.same_as.as_ref().unwrap_or(&trial.id);
            match run.read_ranking(own)? {
                Some(ranking) => {
                    ranked.push((trial.id.clone(), trial.candidate.clone(), ranking));
                }
                None => return Ok(None),
            }
        }
        let (by, seed) = (settings.ranks_by(), settings.split.seed);
        let earlier = choice.ranked.len() - last.count();
        Ok(Certainty::of(by, &ranked, earlier, seed))
    }

    /// What a winner makes of the held-out samples, which is also written down sample by sample; `None`
    /// without any.
    fn held_out(
        &self,
        strategy: StrategyName,
        Merged { rewrite, values }: &Merged,
        stop: &mut Stop<'_>,
    ) -> Result<Option<HeldOut>, SearchError> {
        let Site {
            lab, split, run, ..
        } = self.site;
        let samples = split.held_out.as_slice();
        if samples.is_empty() {
            return Ok(None);
        }
        let predictions = lab.predict_watched(rewrite, values, samples, stop)?;
        let name = |row: usize| self.emitter.dataset.name(samples[row]);
        let held_out = outcome::held_out(&predictions, &name)?;
        let classes = self.emitter.card.classes.as_deref().unwrap_or_default();
        let path = run.path(&RunDir::predictions(strategy));
        let bytes = csv(&predictions, classes, &name);
        bytes
            .and_then(|bytes| {
                path.parent().map_or(Ok(()), create_folder)?;
                write_atomic(&path, &bytes)
            })
            .map_err(|e| RunError::write(&path, e))?;
        Ok(Some(held_out))
    }
}
