//! The head with which the trials of a phase begin, where it is found beforehand.

use std::fs::File;
use std::time::Duration;

use crate::run::{Phase, RunError, Settings};
use crate::surgery::HeadKind;
use crate::training::{
    Checkpointing, EpochMetrics, Lab, Monitor, Observer, Optimizer, OptimizerKind, Schedule,
    SolvedHead, Solving, TrainingError, TrialSpec,
};

use super::SearchError;
use super::round::Site;
use super::watch::{HeadStep, Watcher, go_on};

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
        let spec = head_spec(self.settings, lab);
        let validation: &[usize] = match self.settings.head {
            // It does not show in what is solved.
            HeadKind::Linear => &[],
            _ => &self.split.validation,
        };
        let of = lab.head_identity(&spec, [train, validation])?;
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
        self.watcher.head(phase, &HeadStep::Done(head.figures));
        Ok(Some(head))
    }

    /// Waits until no other process is at the head of a phase; while the result is held, none is.
    fn turn(&self, phase: Phase) -> Result<File, SearchError> {
        loop {
            match self.run.lock_heads() {
                Err(RunError::InUse { .. }) => {
                    go_on(self.watcher)?;
                    self.watcher.head(phase, &HeadStep::Waiting);
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

/// How the head is trained alone. Of one that is solved only the class weights count.
pub(super) fn head_spec(settings: &Settings, lab: &Lab<'_>) -> TrialSpec {
    let Settings {
        class_weights,
        batch_size,
        split,
        threads,
        ..
    } = settings;
    TrialSpec {
        trainable: lab.head_parameters().to_vec(),
        epochs: EPOCHS,
        batch_size: *batch_size,
        optimizer: Optimizer {
            learning_rate: RATE,
            ..Optimizer::new(OptimizerKind::Adam)
        },
        monitor: Monitor::Loss,
        schedule: Schedule::default(),
        early_stopping: Some(PATIENCE),
        class_weights: *class_weights,
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
    fn tell(&self, step: HeadStep) -> Result<(), TrainingError> {
        self.watcher.head(self.phase, &step);
        go_on(self.watcher)
    }
}

impl Observer for HeadObserver<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.tell(HeadStep::Features { done, total })
    }

    fn solving(&mut self, step: &Solving) -> Result<(), TrainingError> {
        self.tell(HeadStep::Solving(*step))
    }

    fn step(&mut self, done: usize, total: usize, _: f32) -> Result<(), TrainingError> {
        self.tell(HeadStep::Training { done, total })
    }

    fn scored(&mut self, _: usize, _: usize) -> Result<(), TrainingError> {
        go_on(self.watcher)
    }

    fn epoch(&mut self, _: &EpochMetrics) -> Result<(), TrainingError> {
        go_on(self.watcher)
    }
}
