//! Who hears of a run's progress.

use crate::training::EpochMetrics;

use super::results::{StrategyResult, TrialRecord};

/// A trial that begins.
#[derive(Clone, Debug)]
pub struct TrialStart<'a> {
    /// The trial's identity.
    pub id: &'a str,
    /// Its place in the run, from 1.
    pub number: usize,
    /// Trials of the run.
    pub total: usize,
    /// Epochs it will train.
    pub epochs: usize,
}

/// Hears of a run's progress; may stop it.
pub trait Watcher: Sync {
    /// `done` of `total` images are decoded. Called from several threads.
    fn decoding(&self, done: usize, total: usize) {
        let _ = (done, total);
    }
    /// Something the user should know.
    fn warning(&self, text: &str) {
        let _ = text;
    }
    /// A trial begins.
    fn trial(&self, start: &TrialStart<'_>) {
        let _ = start;
    }
    /// `done` of `total` samples have passed through the frozen layers.
    fn features(&self, done: usize, total: usize) {
        let _ = (done, total);
    }
    /// Step `step` of `total` had this loss.
    fn step(&self, step: usize, total: usize, loss: f32) {
        let _ = (step, total, loss);
    }
    /// An epoch has ended.
    fn epoch(&self, metrics: &EpochMetrics) {
        let _ = metrics;
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
