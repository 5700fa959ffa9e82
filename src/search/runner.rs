//! Carrying out a plan: all searches, then the winners.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::Split;
use crate::onnx::{create_folder, write_atomic};
use crate::run::{
    HeldOut, Phase, Results, RunDir, RunError, Searched, Settings, StrategyResult, TrialRecord,
    csv, ranked,
};
use crate::strategy::{Candidate, Network, StrategyName};
use crate::training::{BankOptions, FeatureBank, Lab, Trained, TrainingError, TrialOutcome};

use super::emit::{Emitter, Winner};
use super::plan::{Plan, StrategyPlan, trial_id};
use super::pool::{self, Share, lock};
use super::state::{Progress, State};
use super::trial::{Bench, Done};
use super::trials::{Trial, distinct};
use super::watch::{Stop, Watcher};
use super::{SearchError, outcome};

pub(super) struct Runner<'a> {
    pub lab: &'a Lab<'a>,
    pub network: &'a Network<'a>,
    pub split: &'a Split,
    pub settings: &'a Settings,
    pub run: &'a RunDir,
    pub emitter: Emitter<'a>,
    pub watcher: &'a dyn Watcher,
}

/// A strategy after its search.
struct Chosen {
    strategy: StrategyName,
    candidate: Candidate,
    searched: Option<Searched>,
    /// Seconds of its searches.
    seconds: f64,
}

impl Chosen {
    fn failed(&self, seconds: f64, error: &SearchError) -> StrategyResult {
        outcome::failed(self.strategy, self.searched, seconds, error)
    }
}

impl Runner<'_> {
    /// Runs what `progress` does not have yet. `results.json` is up to date whenever a strategy
    /// has ended.
    pub fn run(&self, plan: &Plan, progress: Progress) -> Result<Results, SearchError> {
        let state = State::new(plan, self.run, self.watcher, progress);
        let mut first_error = None;
        let outcome = self.phases(plan, &state, &mut first_error);
        let interrupted = match outcome {
            Ok(()) => false,
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

    fn phases(
        &self,
        plan: &Plan,
        state: &State<'_>,
        first_error: &mut Option<SearchError>,
    ) -> Result<(), SearchError> {
        let ended = |trial: &Trial| state.trial(&trial.id).is_some();
        let keep = |trial: &Trial, done: Done| state.keep(trial, done.record).map(drop);
        let trials = distinct(plan.searched(), Phase::Search);
        self.phase(&trials, state, &ended, &keep)?;
        let mut chosen = Vec::new();
        for plan in &plan.strategies {
            // Also of a strategy that failed in an earlier process: what is trained beside it, and
            // from which frozen values, must not depend on that.
            chosen.extend(self.choose(plan, state)?);
        }
        // What is made of several candidates has not been tried yet; for comparison alone.
        let made = chosen
            .iter()
            .filter(|c| c.strategy.rule().is_composed() && !trials.is_empty())
            .map(|c| (c.strategy, c.candidate.clone()));
        self.phase(&distinct(made, Phase::Search), state, &ended, &keep)?;
        self.retrain(&chosen, state, first_error)
    }

    /// The candidate that a strategy trains in the end; `None`, which is written down, where all of
    /// them diverged.
    fn choose(
        &self,
        plan: &StrategyPlan,
        state: &State<'_>,
    ) -> Result<Option<Chosen>, SearchError> {
        let candidates = &plan.candidates;
        if candidates.len() == 1 {
            return Ok(Some(Chosen {
                strategy: plan.strategy,
                candidate: plan.strategy.winner(self.network, candidates, &[0]),
                searched: None,
                seconds: 0.0,
            }));
        }
        let record = |candidate: &Candidate| {
            let id = trial_id(candidate, Phase::Search);
            state.trial(&id).ok_or(SearchError::NotTried { id })
        };
        let records: Vec<TrialRecord> = candidates.iter().map(record).collect::<Result<_, _>>()?;
        let ranking = ranked(&records, self.settings.watched());
        let searched = Searched {
            candidates: records.len(),
            diverged: records.len() - ranking.len(),
        };
        let seconds = records.iter().map(|r| r.seconds).sum();
        if ranking.is_empty() {
            let reason = records.into_iter().find_map(|r| r.error);
            let error = SearchError::Diverged {
                candidates: searched.candidates,
                reason: reason.unwrap_or_default(),
            };
            if !state.has_ended(plan.strategy) {
                let (strategy, searched) = (plan.strategy, Some(searched));
                state.end(outcome::failed(strategy, searched, seconds, &error))?;
            }
            return Ok(None);
        }
        if searched.diverged > 0 && !state.has_ended(plan.strategy) {
            self.watcher.warning(&format!(
                "{} of {} candidates of `{}` diverged and are not ranked",
                searched.diverged, searched.candidates, plan.strategy
            ));
        }
        Ok(Some(Chosen {
            strategy: plan.strategy,
            candidate: plan.strategy.winner(self.network, candidates, &ranking),
            searched: Some(searched),
            seconds,
        }))
    }

    /// Trains the winners on the training part and writes their models. Strategies with the same
    /// winner share its training.
    fn retrain(
        &self,
        chosen: &[Chosen],
        state: &State<'_>,
        first_error: &mut Option<SearchError>,
    ) -> Result<(), SearchError> {
        let wanted = chosen.iter().map(|c| (c.strategy, c.candidate.clone()));
        let trials = distinct(wanted, Phase::Train);
        state.expect(trials.len());
        let first = Mutex::new(None);
        let ended = |trial: &Trial| trial.strategies().all(|s| state.has_ended(s));
        self.phase(
            &trials,
            state,
            &ended,
            &|trial, Done { record, outcome }| {
                let record = state.keep(trial, record)?;
                for strategy in trial.strategies().filter(|&s| !state.has_ended(s)) {
                    let Some(choice) = chosen.iter().find(|c| c.strategy == strategy) else {
                        continue;
                    };
                    let seconds = choice.seconds + record.seconds;
                    let result = match &outcome {
                        Err(error) => choice.failed(seconds, error),
                        Ok(outcome) => match self.emit(choice, &record, outcome, state) {
                            Ok(result) => result,
                            Err(error) if error.failure().is_none() => return Err(error),
                            Err(error) => {
                                let result = choice.failed(seconds, &error);
                                lock(&first).get_or_insert(error);
                                result
                            }
                        },
                    };
                    state.end(result)?;
                }
                Ok(())
            },
        )?;
        *first_error = lock(&first).take();
        Ok(())
    }

    /// Runs those trials that have not ended yet, several at a time, from the input end of the
    /// network to its output: the longest first, and each behind the frozen layers of the one before.
    fn phase(
        &self,
        trials: &[Trial],
        state: &State<'_>,
        has_ended: &dyn Fn(&Trial) -> bool,
        end: &(dyn Fn(&Trial, Done) -> Result<(), SearchError> + Sync),
    ) -> Result<(), SearchError> {
        let Some(phase) = trials.first().map(|t| t.phase) else {
            return Ok(());
        };
        let train = match phase {
            Phase::Search => &self.split.search,
            Phase::Train => &self.split.retraining(),
        };
        let validation = &self.split.validation;
        let trained: Vec<Trained<'_>> = trials.iter().map(|t| self.trained(t)).collect();
        let batch = self.settings.batch_size.clamp(1, train.len().max(1));
        let cost = |&trained: &Trained<'_>| {
            state.go_on()?;
            Ok(self.lab.step_cost(trained, batch)?)
        };
        let costs = trained
            .iter()
            .map(cost)
            .collect::<Result<Vec<_>, SearchError>>()?;
        // Of all trials, so that a trial has the same threads when others have ended before.
        let shares: Vec<Share> =
            pool::shares(self.settings.threads, self.lab.memory_budget(), &costs);
        let options = BankOptions {
            seed: self.settings.split.seed,
            threads: shares.iter().map(|s| s.threads).min().unwrap_or(1),
        };
        let bank = FeatureBank::new(self.lab, &trained, train, validation, options)?;
        if let Some(note) = bank.note() {
            self.watcher.warning(&note);
        }
        let mut order = Vec::new();
        for (place, trial) in trials.iter().enumerate() {
            if has_ended(trial) {
                state.pass(trial)?;
                // There is one if the process was killed when the trial's record had been written.
                self.run.remove_checkpoint(&trial.id)?;
            } else {
                order.push((bank.stage_of(place).unwrap_or(0), place));
            }
        }
        order.sort_unstable();
        let abandoned = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let bench = Bench {
            lab: self.lab,
            bank: &bank,
            train,
            validation,
            settings: self.settings,
            run: self.run,
            stop: Stop {
                watcher: self.watcher,
                abandoned: &abandoned,
            },
        };
        let open: Vec<Share> = order.iter().map(|&(_, place)| shares[place]).collect();
        pool::run(&open, &|turn| {
            let (stage, place) = order[turn];
            let trial = &trials[place];
            let unchanged = self.emitter.original.ensure_unchanged();
            let ended = unchanged
                .map_err(SearchError::from)
                .and_then(|()| bench.run(trial, stage, shares[place].threads, state.begin()))
                .and_then(|done| end(trial, done))
                .and_then(|()| Ok(self.run.remove_checkpoint(&trial.id)?));
            ended.map_err(|error| {
                // Before the others are stopped, whose errors are then no news.
                lock(&first_error).get_or_insert(error);
                abandoned.store(true, Ordering::Relaxed);
            })
        })
        .map_err(|()| {
            lock(&first_error)
                .take()
                .unwrap_or(TrainingError::Stopped.into())
        })
    }

    fn trained<'t>(&self, trial: &'t Trial) -> Trained<'t> {
        Trained {
            parameters: &trial.candidate.trainable,
            batch_norm: self.settings.bn,
        }
    }

    /// Writes a winner's model and says what it is worth.
    fn emit(
        &self,
        choice: &Chosen,
        record: &TrialRecord,
        outcome: &TrialOutcome,
        state: &State<'_>,
    ) -> Result<StrategyResult, SearchError> {
        let abandoned = AtomicBool::new(false);
        let mut stop = Stop {
            watcher: self.watcher,
            abandoned: &abandoned,
        };
        // What is measured from here on is what is written: of a float16 model, rounded values.
        let parameters = self.emitter.as_stored(&outcome.parameters)?;
        let held_out = self.held_out(choice.strategy, &parameters, &mut stop)?;
        let held_out_accuracy = held_out.as_ref().map(|h| h.score.accuracy);
        let validation = record.validation.map(|v| v.accuracy);
        let winner = Winner {
            strategy: choice.strategy,
            candidate: &choice.candidate.label,
            parameters: &parameters,
            held_out_accuracy,
            validation_accuracy: validation,
        };
        let samples = match self.split.held_out.as_slice() {
            [] => &self.split.retraining(),
            samples => samples,
        };
        let may_be_kept = || state.go_on();
        let emitted = self
            .emitter
            .emit(self.run, &winner, (self.lab, samples), &may_be_kept);
        if emitted.is_err() {
            // There is no model whose predictions they were. That they may stay is the lesser evil.
            let _ = std::fs::remove_file(self.run.path(&RunDir::predictions(choice.strategy)));
        }
        let (model, sha256) = emitted?;
        Ok(StrategyResult {
            name: choice.strategy,
            candidate: Some(choice.candidate.label.clone()),
            layers: choice.candidate.layers.clone(),
            trial: Some(record.id.clone()),
            validation_accuracy: validation,
            monitored: record.validation.map(|v| self.settings.watched().of(&v)),
            held_out_accuracy,
            held_out,
            trained_parameters: record.trained_parameters,
            searched: choice.searched,
            seconds: choice.seconds + record.seconds,
            model: Some(model),
            sha256: Some(sha256),
            error: None,
            failure: None,
        })
    }

    /// What a winner makes of the held-out samples, which is also written down sample by sample; `None`
    /// without any.
    fn held_out(
        &self,
        strategy: StrategyName,
        parameters: &[(String, Vec<f32>)],
        stop: &mut Stop<'_>,
    ) -> Result<Option<HeldOut>, SearchError> {
        let samples = self.split.held_out.as_slice();
        if samples.is_empty() {
            return Ok(None);
        }
        let predictions = self.lab.predict_watched(parameters, samples, stop)?;
        let name = |row: usize| self.emitter.dataset.name(samples[row]);
        let held_out = outcome::held_out(&predictions, &name)?;
        let classes = self.emitter.card.classes.as_deref().unwrap_or_default();
        let path = self.run.path(&RunDir::predictions(strategy));
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
