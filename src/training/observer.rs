//! Who watches a trial, and may stop it.

use super::{EpochMetrics, Solving, TrainingError};

/// Hears of a trial's progress. Any method may end the trial by an error.
pub trait Observer {
    /// `done` of `total` samples have passed through the frozen prefix.
    ///
    /// # Errors
    /// To end the trial.
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (done, total);
        Ok(())
    }

    /// A linear head is being solved. Called between any two passes over the samples, or more often.
    ///
    /// # Errors
    /// To end that.
    fn solving(&mut self, step: &Solving) -> Result<(), TrainingError> {
        let _ = step;
        Ok(())
    }

    /// To find a learning rate, `done` of `total` steps are done with `rate`.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn trying_rate(&mut self, rate: f32, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (rate, done, total);
        Ok(())
    }

    /// Training with `rate` came to nothing, and begins anew with a lower one.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn begins_anew(&mut self, rate: f32) -> Result<(), TrainingError> {
        let _ = rate;
        Ok(())
    }

    /// A checkpoint was loaded, or training begins anew: `step` steps are done, and these epochs. Called before the next
    /// step; what was heard of later steps and epochs is void, and they will be heard of again.
    ///
    /// # Errors
    /// To end the trial.
    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        let _ = (step, epochs);
        Ok(())
    }

    /// A checkpoint was loaded, and the sessions that led to it took so many seconds together. Called
    /// once, before [`Observer::resumed`].
    fn earlier(&mut self, seconds: f64) {
        let _ = seconds;
    }

    /// Step `step` (from 1) is done; it had this loss, without penalties, before its update. `total` is the number of
    /// steps of all epochs, which early stopping may not reach.
    ///
    /// # Errors
    /// To end the trial. With [`TrainingError::Stopped`] a checkpoint is written first, if there is
    /// one.
    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        let _ = (step, total, loss);
        Ok(())
    }

    /// The steps of an epoch are done (of epoch 0: there are none), and `done` of `total` validation samples are scored.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (done, total);
        Ok(())
    }

    /// A checkpoint is about to be written, from which all that was heard of is not heard of again.
    ///
    /// # Errors
    /// To end the trial.
    fn saving(&mut self) -> Result<(), TrainingError> {
        Ok(())
    }

    /// An epoch has ended.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        let _ = metrics;
        Ok(())
    }
}

/// An observer that does not listen.
impl Observer for () {}
