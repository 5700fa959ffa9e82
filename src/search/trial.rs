//! Running one trial of a plan, with its metrics, its checkpoint and its record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::training::{
    Checkpointing, EpochMetrics, FeatureBank, Lab, Observer, TrainingError, TrialOutcome, TrialSpec,
};

use super::plan::Phase;
use super::read::StepLoss;
use super::results::TrialRecord;
use super::rundir::{MetricsFile, RunDir};
use super::trials::Trial;
use super::watch::{TrialStart, Watcher};
use super::{SearchError, Settings};

/// What the trials of a phase have in common.
pub(super) struct Bench<'a> {
    pub lab: &'a Lab<'a>,
    pub bank: &'a FeatureBank<'a>,
    pub train: &'a [usize],
    pub validation: &'a [usize],
    pub settings: &'a Settings,
    pub run: &'a RunDir,
    pub watcher: &'a dyn Watcher,
    /// Set when another trial has ended the run.
    pub abandoned: &'a AtomicBool,
}

/// A trial that has ended by itself, well or badly.
pub(super) struct Done {
    pub record: TrialRecord,
    pub outcome: Result<TrialOutcome, SearchError>,
}

impl Bench<'_> {
    /// Runs a trial, from its checkpoint if it has one. An error ends the run; the trial's own is
    /// in its outcome.
    pub fn run(
        &self,
        trial: &Trial,
        stage: usize,
        threads: usize,
        place: (usize, usize),
    ) -> Result<Done, SearchError> {
        let start = Instant::now();
        let spec = self.spec(trial, threads);
        self.watcher.trial(&TrialStart {
            id: &trial.id,
            number: place.0,
            total: place.1,
            epochs: spec.epochs,
        });
        let mut recorder = Recorder {
            trial: &trial.id,
            metrics: self.run.metrics(&trial.id)?,
            log_steps: self.settings.log_steps,
            watcher: self.watcher,
            abandoned: self.abandoned,
        };
        let outcome = self
            .train(trial, stage, &spec, &mut recorder)
            .map_err(SearchError::from);
        recorder.metrics.flush()?;
        let outcome = match outcome {
            Err(error) if error.ends_the_run() => return Err(error),
            outcome => outcome,
        };
        let done = outcome.as_ref().ok();
        let record = TrialRecord {
            id: trial.id.clone(),
            strategy: trial.strategy,
            phase: trial.phase,
            candidate: trial.candidate.label.clone(),
            layers: trial.candidate.layers.clone(),
            trained_parameters: done.map(|o| o.trained_parameters),
            validation: done.and_then(TrialOutcome::validation),
            best_epoch: done.map_or(0, |o| o.best_epoch),
            epochs: done.map_or(0, |o| o.epochs.len()),
            seconds: start.elapsed().as_secs_f64(),
            same_as: None,
            error: outcome.as_ref().err().map(ToString::to_string),
        };
        Ok(Done { record, outcome })
    }

    fn train(
        &self,
        trial: &Trial,
        stage: usize,
        spec: &TrialSpec,
        recorder: &mut Recorder<'_>,
    ) -> Result<TrialOutcome, TrainingError> {
        let features = self.bank.features(stage, recorder)?;
        let checkpoint = Checkpointing {
            path: self.run.checkpoint(&trial.id),
            every: Duration::from_secs_f64(self.settings.checkpoint_seconds),
        };
        self.lab.run(
            spec,
            self.train,
            self.validation,
            &features,
            Some(&checkpoint),
            recorder,
        )
    }

    fn spec(&self, trial: &Trial, threads: usize) -> TrialSpec {
        let settings = self.settings;
        TrialSpec {
            trainable: trial.candidate.trainable.clone(),
            batch_norm: settings.batch_norm,
            epochs: match trial.phase {
                Phase::Search => settings.search_epochs,
                Phase::Train => settings.epochs,
            },
            batch_size: settings.batch_size,
            optimizer: settings.optimizer,
            monitor: settings.monitor,
            plateau: settings.plateau,
            early_stopping: settings.early_stopping,
            class_weights: settings.class_weights,
            seed: settings.split.seed,
            shuffle: settings.split.shuffle,
            threads,
        }
    }
}

/// Writes a trial's metrics, passes its progress on, and stops it when asked to.
struct Recorder<'a> {
    trial: &'a str,
    metrics: MetricsFile,
    log_steps: bool,
    watcher: &'a dyn Watcher,
    abandoned: &'a AtomicBool,
}

impl Recorder<'_> {
    fn go_on(&mut self) -> Result<(), TrainingError> {
        if self.watcher.stopped() || self.abandoned.load(Ordering::Relaxed) {
            return Err(TrainingError::Stopped);
        }
        Ok(())
    }
}

impl Observer for Recorder<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.watcher.features(self.trial, done, total);
        self.go_on()
    }

    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        self.metrics.rewind(step, epochs)?;
        Ok(())
    }

    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        if self.log_steps {
            self.metrics.line(&StepLoss { step, loss })?;
        }
        self.watcher.step(self.trial, step, total, loss);
        self.go_on()
    }

    fn scored(&mut self, _: usize, _: usize) -> Result<(), TrainingError> {
        self.go_on()
    }

    fn saving(&mut self) -> Result<(), TrainingError> {
        Ok(self.metrics.flush()?)
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.metrics.line(metrics)?;
        self.metrics.flush()?;
        self.watcher.epoch(self.trial, metrics);
        Ok(())
    }
}
