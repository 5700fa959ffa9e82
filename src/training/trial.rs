//! The loop of one trial: epochs of steps, each epoch scored.

use std::time::Instant;

use crate::data::epoch_order;
use crate::runtime::Buffer;
use crate::runtime::denormals::FlushToZero;

use super::batch_norm::update_running;
use super::dropout::fill_mask;
use super::features::Pass;
use super::sessions::Sessions;
use super::{
    EpochMetrics, Lab, Moments, Observer, Optimizer, PlateauState, Score, TrainingError,
    TrialOutcome, TrialSpec,
};

impl Lab<'_> {
    /// Runs a trial on the samples `train`, watched on the samples `validation`.
    ///
    /// # Errors
    /// When there is nothing to train on, a gradient is missing, the loss diverges, the observer
    /// asks to stop, or the runtime fails.
    pub fn run(
        &self,
        spec: &TrialSpec,
        train: &[usize],
        validation: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<TrialOutcome, TrainingError> {
        if train.is_empty() || spec.batch_size == 0 {
            return Err(TrainingError::NoSamples);
        }
        let start = Instant::now();
        let used: Vec<usize> = train.iter().chain(validation).copied().collect();
        let batch = spec.batch_size.min(train.len());
        // Told before any work is done.
        for size in [batch, train.len() % batch] {
            if size > 0 {
                self.prepare_for(spec.trained(), size)?
                    .values_per_channel()?;
            }
        }
        let features = self.features(spec.trained(), &used, observer)?;
        let mut names = spec.trainable.clone();
        names.extend(self.prepare_for(spec.trained(), 1)?.running_statistics());
        let buffers = self.initial_parameters(&names)?;
        let (parameters, running) = buffers.split_at(spec.trainable.len());
        let mut moments = vec![Moments::default(); parameters.len()];
        let mut steps = Sessions::default();
        let mut evaluations = Sessions::default();
        let per_epoch = train.len().div_ceil(batch);
        let total = per_epoch * spec.epochs;
        let mut rate = spec.optimizer.learning_rate;
        let mut plateau = PlateauState::default();
        let mut outcome = TrialOutcome {
            parameters: Vec::new(),
            best_epoch: 0,
            epochs: Vec::new(),
            trained_parameters: parameters
                .iter()
                .map(|p| p.dims().iter().product::<usize>())
                .sum(),
            seconds: 0.0,
        };
        let mut best: Option<Score> = None;
        let mut step = 0usize;
        for epoch in 1..=spec.epochs {
            let order = epoch_order(train, spec.seed, epoch as u64, spec.shuffle);
            let mut loss_sum = 0f64;
            for rows in order.chunks(batch) {
                step += 1;
                let bound =
                    steps.get(rows.len(), || self.bind_step(spec, rows.len(), parameters))?;
                features.gather(self, rows, &bound.features, Pass::Train { epoch })?;
                bound.set_labels(self.dataset, rows)?;
                for (mask, buffer) in bound.program.masks.iter().zip(&bound.masks) {
                    fill_mask(
                        &mut buffer.as_f32_mut()?,
                        mask.ratio,
                        spec.seed,
                        step as u64,
                        &mask.name,
                    );
                }
                bound.session.run_bound(&mut bound.binding)?;
                let loss = bound.loss()?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged { step, epoch, loss });
                }
                loss_sum += f64::from(loss) * rows.len() as f64;
                observer.step(step, total, loss)?;
                update(
                    &spec.optimizer,
                    (step as u64, rate),
                    parameters,
                    &bound.gradients,
                    &mut moments,
                )?;
                update_running(&bound.program.norms, running, &bound.statistics)?;
            }
            let score = match validation.is_empty() {
                true => None,
                false => {
                    let bind = |n| self.bind_evaluation(spec.trained(), n, &buffers);
                    Some(
                        self.evaluate(&features, validation, &mut evaluations, bind)?
                            .score(),
                    )
                }
            };
            let metrics = EpochMetrics {
                epoch,
                loss: loss_sum / train.len() as f64,
                validation: score,
                learning_rate: rate,
                seconds: start.elapsed().as_secs_f64(),
            };
            outcome.epochs.push(metrics);
            let better = match (best, score) {
                (Some(old), Some(new)) => {
                    new.accuracy > old.accuracy
                        || (new.accuracy == old.accuracy && new.loss < old.loss)
                }
                _ => true,
            };
            if better {
                best = score;
                outcome.best_epoch = epoch;
                outcome.parameters = snapshot(&names, &buffers)?;
            }
            if let (Some(schedule), Some(score)) = (&spec.plateau, score) {
                rate = plateau.next(schedule, score.accuracy, rate);
            }
            observer.epoch(&metrics)?;
        }
        if spec.epochs == 0 {
            outcome.parameters = snapshot(&names, &buffers)?;
        }
        outcome.seconds = start.elapsed().as_secs_f64();
        Ok(outcome)
    }
}

/// One step of the optimizer on all parameters; `step` counts from 1.
pub(super) fn update(
    optimizer: &Optimizer,
    (step, rate): (u64, f32),
    parameters: &[Buffer],
    gradients: &[Buffer],
    moments: &mut [Moments],
) -> Result<(), TrainingError> {
    let _flush = FlushToZero::new();
    for ((parameter, gradient), state) in parameters.iter().zip(gradients).zip(moments) {
        let mut values = parameter.as_f32_mut()?;
        optimizer.update(step, rate, &mut values, &gradient.as_f32()?, state);
    }
    Ok(())
}

fn snapshot(
    names: &[String],
    buffers: &[Buffer],
) -> Result<Vec<(String, Vec<f32>)>, TrainingError> {
    names
        .iter()
        .zip(buffers)
        .map(|(name, buffer)| Ok((name.clone(), buffer.as_f32()?.to_vec())))
        .collect()
}
