//! When the checkpoints of a trial are written.

use std::time::{Duration, Instant};

use crate::training::checkpoint::{self, Identity};
use crate::training::{Checkpointing, Observer, TrainingError};

use super::Trial;

/// Writes a trial's checkpoints.
pub(super) struct Saver<'a> {
    to: &'a Checkpointing,
    identity: Identity,
    written: Instant,
    /// How long that took.
    took: Duration,
}

/// Of its time, a trial spends no more than one part in this many on checkpoints that nobody asked for.
const SHARE: u32 = 20;

impl<'a> Saver<'a> {
    /// Of a trial that began at `start`, of which nothing is written yet.
    pub fn new(to: &'a Checkpointing, identity: Identity, start: Instant) -> Self {
        Saver {
            to,
            identity,
            written: start,
            took: Duration::ZERO,
        }
    }

    /// Whether it is time for another one.
    pub fn is_due(&self) -> bool {
        let every = self.to.every;
        let rest = if every.is_zero() {
            every
        } else {
            self.took * SHARE
        };
        self.written.elapsed() >= every.max(rest)
    }

    /// Writes the state that the trial is in.
    pub fn save(
        &mut self,
        trial: &mut Trial<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        observer.saving()?;
        let start = Instant::now();
        trial.settle(true)?;
        trial.state.progress.seconds = trial.seconds();
        checkpoint::write(&self.to.path, &self.identity, &trial.state, trial.values())?;
        self.written = Instant::now();
        self.took = start.elapsed();
        Ok(())
    }
}
