//! What a trial's parameters are worth, before the first step and after each epoch.

use crate::classifier::{Predictions, Score};
use crate::training::checkpoint::Progress;
use crate::training::{Divergence, EpochMetrics, Observer, Schedule, TrainingError};

use super::{Trial, snapshot};

impl Trial<'_> {
    /// Whether epoch 0 is asked for and still to come.
    pub(super) fn is_to_be_scored(&self) -> bool {
        let Progress { step, epochs, .. } = &self.state.progress;
        let possible = self.spec.score_start && !self.validation.is_empty();
        possible && *step == 0 && epochs.is_empty()
    }

    /// Scores the parameters as they stand before the first step.
    pub(super) fn score_start(&mut self, observer: &mut dyn Observer) -> Result<(), TrainingError> {
        let predictions = self.score(observer)?;
        let validation = predictions.as_ref().map(Predictions::score);
        self.check_finite(validation, 0)?;
        let metrics = EpochMetrics {
            epoch: 0,
            loss: None,
            penalty: None,
            validation,
            learning_rate: self.rate(0),
            seconds: self.seconds(),
        };
        self.state.best = snapshot(self.judged())?;
        self.best = predictions;
        self.state.progress.epochs.push(metrics);
        observer.epoch(&metrics)
    }

    /// Scores the epoch and makes ready for the next.
    pub(super) fn end_epoch(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<EpochMetrics, TrainingError> {
        self.settle(false)?;
        let predictions = self.score(observer)?;
        let validation = predictions.as_ref().map(Predictions::score);
        self.check_finite(validation, self.state.progress.epoch)?;
        let seconds = self.seconds();
        let learning_rate = self.rate(self.state.progress.step.saturating_sub(1));
        let progress = &mut self.state.progress;
        let metrics = EpochMetrics {
            epoch: progress.epoch,
            loss: Some(progress.loss_sum / self.train.len() as f64),
            penalty: self
                .has_penalty
                .then(|| progress.penalty_sum / self.train.len() as f64),
            validation,
            learning_rate,
            seconds,
        };
        let better = match (progress.best(), validation) {
            (Some(old), Some(new)) => self.spec.monitor.compare(&new, &old).is_gt(),
            _ => true,
        };
        if better {
            progress.best_epoch = progress.epoch;
            self.best = predictions;
            self.state.best =
                snapshot(self.average.as_ref().map_or(&self.buffers, |a| &a.buffers))?;
        }
        if let (Schedule::Plateau(plateau), Some(_)) = (&self.spec.schedule, validation) {
            let next = |rate| progress.plateau.next(plateau, better, rate);
            progress.rate = progress.rate.map(next);
        }
        progress.epochs.push(metrics);
        progress.epoch += 1;
        progress.done = 0;
        progress.loss_sum = 0.0;
        progress.penalty_sum = 0.0;
        Ok(metrics)
    }

    fn score(&mut self, observer: &mut dyn Observer) -> Result<Option<Predictions>, TrainingError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.predict(self.validation, observer)?))
    }

    /// What is made of `samples` now.
    pub(super) fn predict(
        &mut self,
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Predictions, TrainingError> {
        self.settle(false)?;
        let (lab, spec) = (self.lab, self.spec);
        // Not through a method, since sessions are changed.
        let average = self.average.as_ref();
        let buffers = average.map_or(&self.buffers, |average| &average.buffers);
        let bind = |n| lab.bind_evaluation(spec.trained(), n, buffers, spec.threads);
        let sessions = &mut self.evaluations;
        lab.evaluate(self.features, samples, sessions, bind, observer)
    }

    /// Refuses an epoch after which a parameter or the validation loss is not finite. (A finite loss
    /// does not tell: an activation may swallow what is not a number.)
    fn check_finite(&self, validation: Option<Score>, epoch: usize) -> Result<(), TrainingError> {
        let diverged = |what| {
            Err(TrainingError::Diverged {
                step: self.state.progress.step,
                epoch,
                what,
            })
        };
        if let Some(score) = validation
            && !score.loss.is_finite()
        {
            return diverged(Divergence::Validation(score.loss));
        }
        for (name, buffer) in self.names.iter().zip(self.judged()) {
            if !buffer.as_f32()?.iter().all(|v| v.is_finite()) {
                return diverged(Divergence::Parameter(name.clone()));
            }
        }
        Ok(())
    }
}
