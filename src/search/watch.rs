//! Who hears of a run's progress.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::Fold;
use crate::run::{Phase, StrategyResult, TrialRecord};
use crate::training::{EpochMetrics, HeadFigures, Observer, TrainingError};

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
    /// What it takes from its first step in this round on, in the unit of [`RoundStart::work`].
    pub work: f64,
    /// The share of that which the frozen layers take before its first step.
    pub frozen: f64,
    /// Steps that it did in earlier rounds.
    pub done: usize,
}

/// Trials begin that are carried out together.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundStart {
    /// What they are for.
    pub phase: Phase,
    /// How many they are.
    pub trials: usize,
    /// Trials of the run that have ended before.
    pub ended: usize,
    /// Trials of the run, as far as is known.
    pub total: usize,
    /// What these take, all together.
    pub work: Work,
    /// What will come after them, in the same unit; `None` where that depends on how they end.
    pub later: Option<f64>,
}

/// How much trials take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Floating-point operations.
    Flops(f64),
    /// Epochs, where the operations are not known.
    Epochs(f64),
}

/// What takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doing {
    /// Model and data are opened, and looked at.
    Opening,
    /// Images are decoded.
    Decoding,
    /// Images are looked at resized in several ways, and mirrored.
    Looking,
    /// Which candidates can be trained, and what that takes, is found out.
    Planning,
    /// Samples pass through frozen layers, whose outputs are kept.
    Features,
    /// The penalty of a linear head is compared with others, or the head is solved with the best.
    Solving,
    /// The gradients of samples are computed, one by one.
    Gradients,
    /// Steps that try a learning rate.
    Rates,
    /// Steps of training.
    Training,
    /// Validation samples are scored.
    Validation,
    /// The samples that rank candidates are scored.
    Ranking,
    /// Held-out samples are scored.
    HeldOut,
    /// Samples are classified by a model as it stands.
    Classifying,
    /// The ranges of a model's values are found, for an int8 one.
    Calibrating,
    /// A model is written, and its file checked.
    Writing,
    /// Another process is at it.
    Waiting,
    /// The report is written.
    Reporting,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Opening => "opening model and data",
            Doing::Decoding => "decoding",
            Doing::Looking => "comparing ways to resize and to augment",
            Doing::Planning => "planning trials",
            Doing::Features => "frozen layers",
            Doing::Solving => "solving",
            Doing::Gradients => "gradients",
            Doing::Rates => "trying learning rates",
            Doing::Training => "training",
            Doing::Validation => "validation",
            Doing::Ranking => "ranking samples",
            Doing::HeldOut => "held-out samples",
            Doing::Classifying => "classifying",
            Doing::Calibrating => "calibrating",
            Doing::Writing => "writing and checking the model",
            Doing::Waiting => "waiting for another process",
            Doing::Reporting => "writing the report",
        })
    }
}

/// Hears of a run's progress; may stop it. Trials run side by side, so any method may be called
/// from any thread; `trial` is the identity of the trial that is spoken of.
pub trait Watcher: Sync {
    /// `done` of `total` of what takes a while are done; a `total` of 0 where nothing is counted. `of` is a trial, a
    /// strategy, what [`head_of`] gives, or empty, of the run. What `of` did before has ended.
    ///
    /// Nothing takes long without being heard of here, or by one of the methods below.
    fn doing(&self, of: &str, what: Doing, done: usize, total: usize) {
        let _ = (of, what, done, total);
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
    /// A repetition of a cross-validation begins, with this fold held out.
    fn fold(&self, fold: Fold) {
        let _ = fold;
    }
    /// `finished` trials of an earlier process are taken over.
    fn resumed(&self, finished: usize) {
        let _ = finished;
    }
    /// The head with which the trials of a phase begin was found.
    fn head(&self, phase: Phase, figures: &HeadFigures) {
        let _ = (phase, figures);
    }
    /// Trials begin that are carried out together.
    fn round(&self, start: &RoundStart) {
        let _ = start;
    }
    /// A trial begins.
    fn trial(&self, start: &TrialStart<'_>) {
        let _ = start;
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

/// What [`Watcher::doing`] is told that the head of a phase is.
pub fn head_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Search => "head of the search",
        Phase::Train => "head of the winners",
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

/// Passes on how many samples are scored, for a strategy or a trial, and stops that when asked to.
pub(super) struct Scored<'a> {
    pub stop: Stop<'a>,
    pub of: &'a str,
    pub what: Doing,
}

impl Observer for Scored<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let Stop { watcher, .. } = self.stop;
        watcher.doing(self.of, Doing::Features, done, total);
        self.stop.go_on()
    }

    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.stop.watcher.doing(self.of, self.what, done, total);
        self.stop.go_on()
    }
}
