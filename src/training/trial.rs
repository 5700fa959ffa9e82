//! The loop of one trial: epochs of steps, each epoch scored.

mod anew;
mod moves;
mod rate;
mod saver;
mod scoring;
mod step;

use std::time::Instant;

use crate::autodiff::Targets;
use crate::classifier::Predictions;
use crate::runtime::Buffer;

use super::average::Average;
use super::checkpoint::{self, Identity, Progress, State, Values};
use super::engine::StepJob;
use super::features::Pass;
use super::inputs::StepPlace;
use super::sessions::{Bound, Sessions};
use super::{
    Checkpointing, Features, Lab, Moments, Observer, TrainingError, TrialOutcome, TrialSpec,
};

use moves::Moves;
pub(super) use moves::update;
use saver::Saver;
use step::By;

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
    by: By,
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
        if spec.optimizer_in_graph && spec.group_filters.is_some() {
            return Err(TrainingError::Mismatch(
                "filters that move together are moved on the host, and the optimizer is to be in the graph".to_owned(),
            ));
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
        let targets = Targets {
            class_weights: weights.of_samples(lab.dataset, train, prepared.classes),
            smoothing: spec.label_smoothing,
        };
        let by = By::of(StepJob::new(lab, spec, &targets))?;
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
            targets,
            has_penalty: !prepared.penalties.is_empty(),
            average: average.transpose()?,
            buffers,
            moves,
            names,
            by,
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
            self.written();
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
            let place = |ahead: usize, rows: &&[usize]| StepPlace {
                epoch,
                step: self.state.progress.step + ahead,
                rows: rows.to_vec(),
            };
            let next = batches.get(number + 1).map(|rows| place(2, rows));
            let loss = self.step(&place(1, rows), next.as_ref(), learning_rate)?;
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

    fn outcome(mut self) -> Result<TrialOutcome, TrainingError> {
        self.settle(false)?;
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
