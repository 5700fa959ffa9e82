//! The loop of one trial: epochs of steps, each epoch scored.

mod anew;
mod moves;
mod rate;
mod saver;
mod scoring;

use std::time::Instant;

use crate::autodiff::Targets;
use crate::classifier::Predictions;
use crate::runtime::Buffer;

use super::average::Average;
use super::batch_norm::update_running;
use super::checkpoint::{self, Identity, Progress, State, Values};
use super::dropout::fill_mask;
use super::features::Pass;
use super::noise::fill_noise;
use super::norm::clipping;
use super::sessions::{Bound, Sessions};
use super::{
    Checkpointing, Divergence, Features, Lab, Moments, Observer, TrainingError, TrialOutcome,
    TrialSpec, Update,
};

use moves::Moves;
pub(super) use moves::update;
use saver::Saver;

impl Lab<'_> {
    /// Runs a trial on the samples `train`, watched on the samples `validation`, from their
    /// [`Lab::features`] for what the trial trains.
    ///
    /// With a checkpoint, an interrupted trial goes on where that was written and comes to the same
    /// outcome as an unbroken one, bit by bit (but for seconds); so does one of more epochs than that which
    /// wrote it. The file is left where it is when the trial ends.
    ///
    /// A trial of no epochs gives the parameters as they stand, and with [`TrialSpec::score_start`] what they
    /// are worth.
    ///
    /// # Errors
    /// When there is nothing to train on, a gradient is missing, the training diverges, the observer
    /// asks to stop, the checkpoint is of another trial or cannot be written, or the runtime fails.
    pub fn run(
        &self,
        spec: &TrialSpec,
        train: &[usize],
        validation: &[usize],
        features: &Features,
        checkpoint: Option<&Checkpointing>,
        observer: &mut dyn Observer,
    ) -> Result<TrialOutcome, TrainingError> {
        let mut trial = Trial::new(self, spec, [train, validation], features, observer)?;
        let mut saver = match checkpoint {
            Some(to) => Some(trial.resume(to, observer)?),
            None => None,
        };
        loop {
            let ended = if trial.seeks_rate() {
                trial.try_rate(observer, &mut saver)
            } else if trial.is_to_be_scored() {
                trial.score_start(observer)
            } else if trial.is_to_begin_anew() {
                trial.begin_anew(observer)
            } else if trial.goes_on() {
                trial.epoch(observer, &mut saver)
            } else {
                break;
            };
            let ended = match ended {
                Err(TrainingError::Diverged { .. }) if trial.may_begin_anew() => {
                    trial.begin_anew(observer)
                }
                ended => ended,
            };
            if let (Err(TrainingError::Stopped), Some(saver)) = (&ended, &mut saver) {
                saver.save(&mut trial, observer)?;
            }
            ended?;
        }
        if let (Some(saver), Some(Checkpointing { at_end: true, .. })) = (&mut saver, checkpoint) {
            saver.save(&mut trial, observer)?;
        }
        trial.outcome()
    }
}

/// A trial that is being run.
struct Trial<'a> {
    lab: &'a Lab<'a>,
    spec: &'a TrialSpec,
    train: &'a [usize],
    validation: &'a [usize],
    features: &'a Features,
    targets: Targets,
    /// Whether the network adds to the loss.
    has_penalty: bool,
    /// Of the parameters, and behind them of the running statistics.
    names: Vec<String>,
    buffers: Vec<Buffer>,
    moves: Moves,
    average: Option<Average>,
    steps: Sessions<Bound>,
    evaluations: Sessions<Bound>,
    state: State,
    /// What was made of the validation samples at the best epoch, where that was scored since the trial was
    /// loaded.
    best: Option<Predictions>,
    start: Instant,
    /// Seconds of earlier sessions.
    earlier: f64,
}

impl<'a> Trial<'a> {
    fn new(
        lab: &'a Lab<'a>,
        spec: &'a TrialSpec,
        [train, validation]: [&'a [usize]; 2],
        features: &'a Features,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        if train.is_empty() || spec.batch_size == 0 {
            return Err(TrainingError::NoSamples);
        }
        if !spec.rates.is_empty() && spec.rates.len() != spec.trainable.len() {
            return Err(TrainingError::Mismatch(format!(
                "there are {} learning rates for {} parameters",
                spec.rates.len(),
                spec.trainable.len()
            )));
        }
        let start = Instant::now();
        // Told before any work is done.
        let batch = spec.batch_size.min(train.len());
        for size in [batch, train.len() % batch] {
            if size > 0 {
                lab.prepare_for(spec.trained(), size)?
                    .values_per_channel()?;
            }
        }
        let prepared = lab.prepare_for(spec.trained(), 1)?;
        let weights = spec.class_weights;
        let mut names = spec.trainable.clone();
        names.extend(prepared.running_statistics());
        let buffers = lab.initial_parameters(&spec.rewrite, &names, &spec.start)?;
        let moves = Moves::of(lab, spec, train, &buffers, observer)?;
        let average = spec.ema.map(|decay| Average::new(decay, &buffers));
        Ok(Trial {
            lab,
            spec,
            train,
            validation,
            features,
            targets: Targets {
                class_weights: weights.of_samples(lab.dataset, train, prepared.classes),
                smoothing: spec.label_smoothing,
            },
            has_penalty: !prepared.penalties.is_empty(),
            average: average.transpose()?,
            buffers,
            moves,
            names,
            steps: Sessions::default(),
            evaluations: Sessions::default(),
            state: State {
                progress: Progress::new(spec),
                moments: vec![Moments::default(); spec.trainable.len()],
                best: Vec::new(),
            },
            best: None,
            start,
            earlier: 0.0,
        })
    }

    fn per_epoch(&self) -> usize {
        let batch = self.spec.batch_size.min(self.train.len());
        self.train.len().div_ceil(batch)
    }

    /// The learning rate of the step behind `done` others.
    fn rate(&self, done: usize) -> f32 {
        let place = self.spec.place(done, self.per_epoch());
        let rate = self.state.progress.rate.unwrap_or(0.0);
        self.spec.schedule.rate(rate, place)
    }

    /// What is scored and comes out: the average where there is one.
    fn judged(&self) -> &[Buffer] {
        let average = self.average.as_ref();
        average.map_or(&self.buffers, |average| &average.buffers)
    }

    /// What the trial goes on from, for its checkpoint.
    fn values(&self) -> Values<'_> {
        Values {
            names: &self.names,
            buffers: &self.buffers,
            averages: self.average.as_ref().map(|a| a.buffers.as_slice()),
        }
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.start.elapsed().as_secs_f64()
    }

    fn goes_on(&self) -> bool {
        self.state.progress.epoch <= self.spec.epochs && !self.stops_early()
    }

    /// Whether no epoch of the last few was better than one before.
    fn stops_early(&self) -> bool {
        let progress = &self.state.progress;
        let waited = (progress.epoch - 1).saturating_sub(progress.best_epoch);
        let stops = |patience: usize| waited >= patience.max(1);
        self.spec.early_stopping.is_some_and(stops)
    }

    /// Loads the checkpoint if there is one.
    fn resume(
        &mut self,
        to: &'a Checkpointing,
        observer: &mut dyn Observer,
    ) -> Result<Saver<'a>, TrainingError> {
        let mut identity = Identity::new(
            self.lab,
            self.spec,
            [self.train, self.validation],
            &self.names,
            &self.buffers,
        )?;
        identity.groups = self.moves.digest(&self.names);
        let loaded = checkpoint::load(
            &to.path,
            &identity,
            self.spec,
            self.per_epoch(),
            self.values(),
        )?;
        if let Some(state) = loaded {
            self.earlier = state.progress.seconds;
            observer.earlier(self.earlier);
            observer.resumed(state.progress.step, &state.progress.epochs)?;
            self.state = state;
        }
        Ok(Saver::new(to, identity, self.start))
    }

    /// Runs what is left of the present epoch, and goes on to the next. A checkpoint is written when
    /// it is due.
    fn epoch(
        &mut self,
        observer: &mut dyn Observer,
        saver: &mut Option<Saver<'a>>,
    ) -> Result<(), TrainingError> {
        let Progress { epoch, done, .. } = self.state.progress;
        let total = self.per_epoch().saturating_mul(self.spec.epochs);
        let labels = self.lab.dataset.labels();
        let order = self.spec.order(self.train, labels, epoch);
        let batch = self.spec.batch_size.min(order.len());
        let mut save = |trial: &mut Self, observer: &mut dyn Observer| match saver {
            Some(saver) if saver.is_due() => saver.save(trial, observer),
            _ => Ok(()),
        };
        let pass = Pass::Train { epoch };
        let batches: Vec<&[usize]> = order.chunks(batch).collect();
        for (number, rows) in batches.iter().enumerate().skip(done) {
            if let Some(next) = batches.get(number + 1) {
                self.features.expect(self.lab, next, pass);
            }
            let learning_rate = self.rate(self.state.progress.step);
            let loss = self.step(rows, learning_rate)?;
            observer.step(self.state.progress.step, total, loss)?;
            save(self, observer)?;
        }
        let metrics = self.end_epoch(observer)?;
        observer.epoch(&metrics)?;
        if self.goes_on() {
            save(self, observer)?;
        }
        Ok(())
    }

    /// One step; gives the loss before its update.
    fn step(&mut self, rows: &[usize], learning_rate: f32) -> Result<f32, TrainingError> {
        let (parameters, running) = self.buffers.split_at(self.spec.trainable.len());
        let State {
            progress, moments, ..
        } = &mut self.state;
        let step = progress.step + 1;
        let (lab, spec) = (self.lab, self.spec);
        let targets = &self.targets;
        let bind = || lab.bind_step(spec, targets, rows.len(), parameters);
        let bound = self.steps.get(rows.len(), bind)?;
        let pass = Pass::Train {
            epoch: progress.epoch,
        };
        let mixing = spec.mixing(step as u64, rows.len(), lab.sample())?;
        let how = (pass, mixing.as_ref());
        self.features
            .gather_mixed(lab, rows, &bound.features, how)?;
        bound.set_labels(lab.dataset, rows)?;
        if let Some(mixing) = &mixing {
            bound.set_mixed(lab.dataset, rows, mixing)?;
        }
        for (mask, buffer) in bound.program.masks.iter().zip(&bound.masks) {
            let mut values = buffer.as_f32_mut()?;
            fill_mask(&mut values, mask.ratio, spec.seed, step as u64, &mask.name);
        }
        for (noise, buffer) in bound.program.noise.iter().zip(&bound.noise) {
            let mut values = buffer.as_f32_mut()?;
            fill_noise(&mut values, noise, spec.seed, step as u64, rows);
        }
        bound.session.run_bound(&mut bound.binding)?;
        let loss = bound.loss()?;
        let penalty = bound.penalty()?.unwrap_or_default();
        if !(loss + penalty).is_finite() {
            return Err(TrainingError::Diverged {
                step,
                epoch: progress.epoch,
                what: Divergence::Loss(loss + penalty),
            });
        }
        self.moves.average(&bound.gradients)?;
        let scale = match spec.clip_norm {
            Some(limit) => clipping(&bound.gradients, limit, spec.threads)?,
            None => 1.0,
        };
        update(
            &spec.optimizer,
            Update {
                step: step as u64,
                learning_rate,
                scale,
                towards: None,
            },
            (&spec.rates, &self.moves.decays),
            parameters,
            &bound.gradients,
            moments,
            spec.threads,
        )?;
        update_running(&bound.program.norms, running, &bound.statistics)?;
        if let Some(average) = &self.average {
            average.update(progress.step, &self.buffers, spec.threads)?;
        }
        progress.step = step;
        progress.done += 1;
        progress.loss_sum += f64::from(loss) * rows.len() as f64;
        progress.penalty_sum += f64::from(penalty) * rows.len() as f64;
        Ok(loss)
    }

    fn outcome(self) -> Result<TrialOutcome, TrainingError> {
        let found_rate = self.found_rate();
        let seconds = self.seconds();
        let count = |b: &Buffer| b.dims().iter().product::<usize>();
        let added = self.lab.added(&self.spec.rewrite)?;
        let trained = || {
            self.names
                .iter()
                .zip(&self.buffers[..self.spec.trainable.len()])
        };
        let of_rewrite = trained().filter(|(name, _)| added.contains(name));
        let added_parameters = of_rewrite.map(|(_, b)| count(b)).sum();
        let trained_parameters = trained().map(|(_, b)| count(b)).sum();
        let best = match self.state.progress.epochs.is_empty() {
            true => snapshot(self.judged())?,
            false => self.state.best,
        };
        let progress = self.state.progress;
        Ok(TrialOutcome {
            trained_parameters,
            added_parameters,
            parameters: self.names.into_iter().zip(best).collect(),
            best_epoch: progress.best_epoch,
            validated: self.best,
            epochs: progress.epochs,
            found_rate,
            tried_rates: progress.tried,
            abandoned_epochs: progress.abandoned,
            seconds,
        })
    }
}

fn snapshot(buffers: &[Buffer]) -> Result<Vec<Vec<f32>>, TrainingError> {
    buffers
        .iter()
        .map(|buffer| Ok(buffer.as_f32()?.to_vec()))
        .collect()
}
