//! Carrying out a plan.

use std::time::Instant;

use crate::data::Split;
use crate::strategy::Candidate;
use crate::strategy::Strategy;
use crate::training::{EpochMetrics, Lab, Observer, TrainingError, TrialOutcome, TrialSpec};

use super::emit::{Emitter, Winner};
use super::plan::{Phase, Plan, StrategyPlan, trial_id};
use super::ranking::best;
use super::read::StepLoss;
use super::results::{Results, StrategyResult, TrialRecord};
use super::rundir::{MetricsFile, RunDir};
use super::watch::{TrialStart, Watcher};
use super::{SearchError, Settings};

pub(super) struct Runner<'a> {
    pub lab: &'a Lab<'a>,
    pub split: &'a Split,
    pub settings: &'a Settings,
    pub run: &'a RunDir,
    pub emitter: Emitter<'a>,
    pub watcher: &'a dyn Watcher,
    /// Trials begun.
    pub begun: usize,
    /// Trials of the plan.
    pub total: usize,
}

impl Runner<'_> {
    /// Runs strategy after strategy; `results.json` is up to date after each.
    pub fn run(&mut self, plan: &Plan) -> Result<Results, SearchError> {
        let mut results = Results::default();
        let mut first_error = None;
        for strategy in &plan.strategies {
            let start = Instant::now();
            match self.strategy(strategy) {
                Ok(result) => results.strategies.push(result),
                Err(SearchError::Training(TrainingError::Stopped)) => {
                    results.interrupted = true;
                    break;
                }
                Err(error) if error.ends_the_run() => return Err(error),
                Err(error) => {
                    results
                        .strategies
                        .push(failed(strategy.strategy, start, &error));
                    first_error.get_or_insert(error);
                }
            }
            self.run.write_results(&results)?;
            if let Some(result) = results.strategies.last() {
                self.watcher.strategy_end(result);
            }
        }
        self.run.write_results(&results)?;
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

    fn strategy(&mut self, plan: &StrategyPlan) -> Result<StrategyResult, SearchError> {
        let start = Instant::now();
        let candidate = match plan.candidates.as_slice() {
            [only] => only,
            candidates => self.search(plan.strategy, candidates)?,
        };
        let Trial { record, outcome } = self.trial(plan.strategy, candidate, Phase::Train)?;
        let outcome = outcome?;
        // What is measured from here on is what is written: of a float16 model, rounded values.
        let parameters = self.emitter.as_stored(&outcome.parameters)?;
        let held_out = match self.split.held_out.as_slice() {
            [] => None,
            samples => Some(self.lab.predict(&parameters, samples)?.score().accuracy),
        };
        let validation = record.validation.map(|v| v.accuracy);
        let winner = Winner {
            strategy: plan.strategy,
            candidate: &candidate.label,
            parameters: &parameters,
            accuracy: held_out.or(validation),
        };
        let samples = match self.split.held_out.as_slice() {
            [] => &self.split.train,
            samples => samples,
        };
        let model = self.emitter.emit(self.run, &winner, self.lab, samples)?;
        Ok(StrategyResult {
            name: plan.strategy,
            candidate: Some(candidate.label.clone()),
            validation_accuracy: validation,
            held_out_accuracy: held_out,
            layers: candidate.layers.clone(),
            trial: Some(record.id),
            held_out: None,
            sha256: None,
            trained_parameters: record.trained_parameters,
            seconds: start.elapsed().as_secs_f64(),
            model: Some(model),
            error: None,
        })
    }

    /// Tries every candidate and returns the best.
    fn search<'c>(
        &mut self,
        strategy: Strategy,
        candidates: &'c [Candidate],
    ) -> Result<&'c Candidate, SearchError> {
        let mut records = Vec::with_capacity(candidates.len());
        let mut first_error = None;
        for candidate in candidates {
            let Trial { record, outcome } = self.trial(strategy, candidate, Phase::Search)?;
            records.push(record);
            if let Err(error) = outcome {
                first_error.get_or_insert(error);
            }
        }
        match (best(&records), first_error) {
            (Some(i), _) => Ok(&candidates[i]),
            (None, Some(error)) => Err(error),
            (None, None) => Err(TrainingError::NoSamples.into()),
        }
    }

    /// Runs one trial and keeps its record. An error ends the run; the trial's own is in its outcome.
    fn trial(
        &mut self,
        strategy: Strategy,
        candidate: &Candidate,
        phase: Phase,
    ) -> Result<Trial, SearchError> {
        let (samples, epochs) = match phase {
            Phase::Search => (&self.split.search, self.settings.search_epochs),
            Phase::Train => (&self.split.train, self.settings.epochs),
        };
        let id = trial_id(candidate, phase);
        self.begun += 1;
        self.watcher.trial(&TrialStart {
            id: &id,
            number: self.begun,
            total: self.total,
            epochs,
        });
        let start = Instant::now();
        let spec = TrialSpec {
            trainable: candidate.trainable.clone(),
            batch_norm: self.settings.batch_norm,
            epochs,
            batch_size: self.settings.batch_size,
            optimizer: self.settings.optimizer,
            plateau: self.settings.plateau,
            early_stopping: self.settings.early_stopping,
            class_weights: self.settings.class_weights,
            seed: self.settings.split.seed,
            shuffle: self.settings.split.shuffle,
        };
        let mut recorder = Recorder {
            metrics: self.run.metrics(&id)?,
            log_steps: self.settings.log_steps,
            watcher: self.watcher,
            epochs: 0,
        };
        let outcome = self
            .lab
            .run(&spec, samples, &self.split.validation, &mut recorder)
            .map_err(SearchError::from);
        recorder.metrics.flush()?;
        let outcome = match outcome {
            Err(error) if error.ends_the_run() => return Err(error),
            outcome => outcome,
        };
        let done = outcome.as_ref().ok();
        let record = TrialRecord {
            id,
            strategy,
            phase,
            candidate: candidate.label.clone(),
            layers: candidate.layers.clone(),
            trained_parameters: done.map(|o| o.trained_parameters),
            validation: done.and_then(TrialOutcome::validation),
            best_epoch: done.map_or(0, |o| o.best_epoch),
            epochs: recorder.epochs,
            seconds: start.elapsed().as_secs_f64(),
            same_as: None,
            error: outcome.as_ref().err().map(ToString::to_string),
        };
        self.run.append_trial(&record)?;
        self.watcher.trial_end(&record);
        Ok(Trial { record, outcome })
    }
}

/// A trial that has ended.
struct Trial {
    record: TrialRecord,
    outcome: Result<TrialOutcome, SearchError>,
}

fn failed(strategy: Strategy, start: Instant, error: &SearchError) -> StrategyResult {
    StrategyResult {
        name: strategy,
        candidate: None,
        layers: Vec::new(),
        trial: None,
        held_out: None,
        sha256: None,
        validation_accuracy: None,
        held_out_accuracy: None,
        trained_parameters: None,
        seconds: start.elapsed().as_secs_f64(),
        model: None,
        error: Some(error.to_string()),
    }
}

/// Writes a trial's metrics, passes its progress on, and stops it when asked to.
struct Recorder<'a> {
    metrics: MetricsFile,
    log_steps: bool,
    watcher: &'a dyn Watcher,
    epochs: usize,
}

impl Recorder<'_> {
    fn go_on(&self) -> Result<(), TrainingError> {
        match self.watcher.stopped() {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

impl Observer for Recorder<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.watcher.features(done, total);
        self.go_on()
    }

    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        if self.log_steps {
            self.metrics.line(&StepLoss { step, loss })?;
        }
        self.watcher.step(step, total, loss);
        self.go_on()
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.epochs = metrics.epoch;
        self.metrics.line(metrics)?;
        self.metrics.flush()?;
        self.watcher.epoch(metrics);
        Ok(())
    }
}
