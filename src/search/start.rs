//! The head with which the trials of a phase begin, where it is found beforehand.

use std::fs::File;
use std::time::Duration;

use crate::choice::Choice;
use crate::run::{Phase, RunError, Settings};
use crate::surgery::HeadKind;
use crate::training::{
    Checkpointing, EpochMetrics, Lab, Monitor, Observer, Optimizer, OptimizerKind, Plateau,
    Schedule, SolvedHead, Solving, TrainingError, TrialSpec,
};

use super::SearchError;
use super::round::Site;
use super::watch::{Doing, Watcher, go_on, head_of};

/// How a head of several layers is trained alone: until the validation loss has not fallen for so many epochs, so
/// many at most.
const EPOCHS: usize = 200;
const PATIENCE: usize = 10;
/// The rate of Adam, PyTorch's and Keras' default; it falls when no epoch is better.
const RATE: f32 = 1e-3;
/// How long to wait before looking again whether another process has the head.
const PAUSE: Duration = Duration::from_millis(50);

impl Site<'_> {
    /// The head with which all trials of a phase begin, which are trained on the samples `train`; `None` where it
    /// begins as it stands in the grafted model.
    ///
    /// It is found once in a run, by whoever needs it first, and kept in the run's folder.
    pub fn head(&self, phase: Phase, train: &[usize]) -> Result<Option<SolvedHead>, SearchError> {
        let Site { lab, run, .. } = *self;
        if !self.settings.solves_head() {
            return Ok(None);
        }
        let (spec, validation, of) = self.head_of(train)?;
        if let Some(head) = run.read_head(phase, &of)? {
            // There is one if the process was killed when the head had been written.
            run.remove_head_checkpoint(phase)?;
            return Ok(Some(head));
        }
        let _lock = self.turn(phase)?;
        // Another process may have been faster.
        if let Some(head) = run.read_head(phase, &of)? {
            return Ok(Some(head));
        }
        if run.has_head(phase) {
            self.watcher.warning(&format!(
                "{} is damaged, or of another head: it is found again",
                run.head(phase).display()
            ));
        }
        if self.settings.head != HeadKind::Linear && validation.is_empty() {
            self.watcher.warning(&format!(
                "without a validation part nothing tells when the head gets no better: it is trained alone for \
                 --epochs, {}",
                spec.epochs
            ));
        }
        let mut observer = HeadObserver {
            watcher: self.watcher,
            phase,
        };
        let head = match self.settings.head {
            HeadKind::Linear => lab.solve_head(train, spec.class_weights, &mut observer)?,
            _ => self.train_head(phase, &spec, [train, validation], &mut observer)?,
        };
        go_on(self.watcher)?;
        run.write_head(phase, &of, &head)?;
        self.watcher.head(phase, &head.figures);
        Ok(Some(head))
    }

    /// Keeps the head of a phase that was found, for the same samples, before there was a folder; unless one is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_head(
        &self,
        phase: Phase,
        train: &[usize],
        head: &SolvedHead,
    ) -> Result<(), SearchError> {
        let _lock = self.turn(phase)?;
        if self.run.has_head(phase) {
            return Ok(());
        }
        let (.., of) = self.head_of(train)?;
        self.run.write_head(phase, &of, head)?;
        self.watcher.head(phase, &head.figures);
        Ok(())
    }

    /// How a head is found for these samples, what it is watched on, and its identity.
    fn head_of(&self, train: &[usize]) -> Result<(TrialSpec, &[usize], String), SearchError> {
        let validation: &[usize] = match self.settings.head {
            // It does not show in what is solved.
            HeadKind::Linear => &[],
            _ => &self.split.validation,
        };
        let spec = head_spec(self.settings, self.lab, validation);
        let of = self.lab.head_identity(&spec, [train, validation])?;
        Ok((spec, validation, of))
    }

    /// Waits until no other process is at the head of a phase; while the result is held, none is.
    fn turn(&self, phase: Phase) -> Result<File, SearchError> {
        loop {
            match self.run.lock_heads() {
                Err(RunError::InUse { .. }) => {
                    go_on(self.watcher)?;
                    self.watcher.doing(head_of(phase), Doing::Waiting, 0, 0);
                    std::thread::sleep(PAUSE);
                }
                held => return Ok(held?),
            }
        }
    }

    fn train_head(
        &self,
        phase: Phase,
        spec: &TrialSpec,
        parts: [&[usize]; 2],
        observer: &mut HeadObserver<'_>,
    ) -> Result<SolvedHead, SearchError> {
        let Site { lab, run, .. } = *self;
        let checkpoint = Checkpointing {
            path: run.head_checkpoint(phase),
            every: Duration::from_secs_f64(self.settings.checkpoint_every),
            at_end: false,
        };
        let trained = match lab.train_head(spec, parts, Some(&checkpoint), observer) {
            Err(TrainingError::Checkpoint {
                path,
                reason,
                is_damaged: true,
            }) => {
                self.watcher.warning(&format!(
                    "{} is not used, and the head is trained anew: {reason}",
                    path.display()
                ));
                run.remove_head_checkpoint(phase)?;
                lab.train_head(spec, parts, Some(&checkpoint), observer)
            }
            trained => trained,
        };
        Ok(trained?)
    }
}

/// How the head is trained alone: until it gets no better on the samples `validation`; without any, when nothing would
/// tell, for the epochs of a winner. Of one that is solved only the class weights count.
pub(super) fn head_spec(settings: &Settings, lab: &Lab<'_>, validation: &[usize]) -> TrialSpec {
    let Settings {
        batch_size,
        split,
        threads,
        ..
    } = settings;
    let (epochs, early_stopping) = match validation {
        [] => (settings.most_epochs(), None),
        _ => (EPOCHS, Some(PATIENCE)),
    };
    TrialSpec {
        trainable: lab.head_parameters().to_vec(),
        epochs,
        batch_size: *batch_size,
        optimizer: Optimizer {
            learning_rate: Choice::Given(RATE),
            ..Optimizer::new(OptimizerKind::Adam)
        },
        monitor: Monitor::Loss,
        schedule: Schedule::Plateau(Plateau::default()),
        early_stopping,
        class_weights: settings.head_weights(),
        seed: split.seed,
        shuffle: split.shuffle,
        threads: *threads,
        ..TrialSpec::default()
    }
}

/// Passes on how far the head of a phase is, and stops it when asked to.
pub(super) struct HeadObserver<'a> {
    pub watcher: &'a dyn Watcher,
    pub phase: Phase,
}

impl HeadObserver<'_> {
    fn tell(&self, what: Doing, done: usize, total: usize) -> Result<(), TrainingError> {
        self.watcher.doing(head_of(self.phase), what, done, total);
        go_on(self.watcher)
    }
}

impl Observer for HeadObserver<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.tell(Doing::Features, done, total)
    }

    fn solving(&mut self, step: &Solving) -> Result<(), TrainingError> {
        match *step {
            Solving::Comparing { fold, folds, .. } => self.tell(Doing::Solving, fold, folds),
            _ => self.tell(Doing::Solving, 0, 0),
        }
    }

    fn step(&mut self, done: usize, total: usize, _: f32) -> Result<(), TrainingError> {
        self.tell(Doing::Training, done, total)
    }

    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.tell(Doing::Validation, done, total)
    }

    fn epoch(&mut self, _: &EpochMetrics) -> Result<(), TrainingError> {
        go_on(self.watcher)
    }
}
