//! Who hears of a run's progress.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::{Phase, StrategyResult, TrialRecord};
use crate::training::{EpochMetrics, HeadFigures, Observer, Solving, TrainingError};

/// A trial that begins.
#[derive(Clone, Debug)]
pub struct TrialStart<'a> {
    /// The trial's identity.
    pub id: &'a str,
    /// Its place in the run, from 1.
    pub number: usize,
    /// Trials of the run.
    pub total: usize,
    /// Epochs it will train, at most.
    pub epochs: usize,
}

/// What is done for the head with which the trials of a phase begin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HeadStep {
    /// `done` of `total` samples have passed through the frozen layers.
    Features {
        /// Of these,
        done: usize,
        /// so many.
        total: usize,
    },
    /// A linear head is being solved.
    Solving(Solving),
    /// Another head is being trained: step `done` of `total`, which early stopping may not reach.
    Training {
        /// Of these,
        done: usize,
        /// so many.
        total: usize,
    },
    /// Another process is at it.
    Waiting,
    /// It is there.
    Done(HeadFigures),
}

/// Hears of a run's progress; may stop it. Trials run side by side, so any method may be called
/// from any thread; `trial` is the identity of the trial that is spoken of.
pub trait Watcher: Sync {
    /// `done` of `total` images are decoded.
    fn decoding(&self, done: usize, total: usize) {
        let _ = (done, total);
    }
    /// What is run on what, in a line.
    fn begin(&self, text: &str) {
        let _ = text;
    }
    /// Something the user should know.
    fn warning(&self, text: &str) {
        let _ = text;
    }
    /// Model `number` (from 1) of `total` of a study begins.
    fn model(&self, name: &str, number: usize, total: usize) {
        let _ = (name, number, total);
    }
    /// Repetition `number` (from 1) of `total` begins, with this seed.
    fn repetition(&self, number: usize, total: usize, seed: u64) {
        let _ = (number, total, seed);
    }
    /// `finished` trials of an earlier process are taken over.
    fn resumed(&self, finished: usize) {
        let _ = finished;
    }
    /// The head with which the trials of a phase begin is being found.
    fn head(&self, phase: Phase, step: &HeadStep) {
        let _ = (phase, step);
    }
    /// A trial begins.
    fn trial(&self, start: &TrialStart<'_>) {
        let _ = start;
    }
    /// `done` of `total` samples have passed through the frozen layers.
    fn features(&self, trial: &str, done: usize, total: usize) {
        let _ = (trial, done, total);
    }
    /// Step `step` of `total` had this loss.
    fn step(&self, trial: &str, step: usize, total: usize, loss: f32) {
        let _ = (trial, step, total, loss);
    }
    /// An epoch has ended.
    fn epoch(&self, trial: &str, metrics: &EpochMetrics) {
        let _ = (trial, metrics);
    }
    /// A trial has ended.
    fn trial_end(&self, trial: &TrialRecord) {
        let _ = trial;
    }
    /// A strategy has ended.
    fn strategy_end(&self, result: &StrategyResult) {
        let _ = result;
    }
    /// Whether to stop at the next step.
    fn stopped(&self) -> bool {
        false
    }
}

/// A watcher that does not listen.
impl Watcher for () {}

/// Fails once `watcher` has asked for a stop; asked between any two steps, batches, candidates.
pub(super) fn go_on(watcher: &dyn Watcher) -> Result<(), TrainingError> {
    match watcher.stopped() {
        true => Err(TrainingError::Stopped),
        false => Ok(()),
    }
}

/// What stops the work on a trial.
#[derive(Clone, Copy)]
pub(super) struct Stop<'a> {
    pub watcher: &'a dyn Watcher,
    /// Set when another trial has ended the run.
    pub abandoned: &'a AtomicBool,
}

impl Stop<'_> {
    /// Fails once the watcher has asked for a stop, or another trial has ended the run.
    pub fn go_on(&self) -> Result<(), TrainingError> {
        match self.abandoned.load(Ordering::Relaxed) {
            true => Err(TrainingError::Stopped),
            false => go_on(self.watcher),
        }
    }
}

impl Observer for Stop<'_> {
    fn scored(&mut self, _: usize, _: usize) -> Result<(), TrainingError> {
        self.go_on()
    }
}
