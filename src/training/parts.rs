//! Parts of a network, run and trained on kept values, towards kept values.
//!
//! Each value lies in a [`FeatureStore`] of its own, a row for each sample. A part is a
//! [`Prepared`] for a fixed batch, as [`Prepared::part`] makes it.

use crate::autodiff::Operators;
use crate::classifier::Squares;
use crate::data::{FeatureStore, epoch_order};
use crate::runtime::{Buffer, Device, Runtime};

use super::parameters::parameter_buffers;
use super::program::{Port, Prepared, whole_evaluation_program, whole_program};
use super::sessions::{Bound, SessionMaker, usable};
use super::trial::update;
use super::{
    Cosine, Divergence, Moments, Optimizer, OptimizerKind, Place, Schedule, TrainingError, Update,
};

/// Learning rates that may be tried, each for what it multiplies: the root of the mean square of a parameter's values.
const LADDER: [f32; 7] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1];
/// Where on the ladder it begins.
const BEGIN: usize = 3;
/// Steps by which a rate is tried, at most.
const TRIED_STEPS: usize = 16;
/// What a rate multiplies for a parameter that is zero all over.
const SIZE_OF_ZEROS: f32 = 0.1;

/// Hears that so many steps of so many are done, and may end the work by an error.
pub(crate) type GoOn<'g> = dyn FnMut(usize, usize) -> Result<(), TrainingError> + 'g;

/// Runs and trains parts of networks on one device.
pub(crate) struct Parts<'a> {
    sessions: SessionMaker<'a>,
    operators: Operators,
    threads: usize,
}

/// What a part is trained by.
pub(crate) struct Lesson<'a> {
    /// Names of the initializers that are trained.
    pub trainable: &'a [String],
    /// Of each, which values stay as they are; `None` where all may change.
    pub fixed: &'a [Option<Vec<bool>>],
    /// What goes into the part.
    pub inputs: &'a FeatureStore,
    /// What is to come out.
    pub targets: &'a FeatureStore,
    /// Rows to train on.
    pub train: &'a [usize],
    /// Rows that tell which epoch, and which learning rate, is the best.
    pub held: &'a [usize],
    /// Passes over the rows to train on.
    pub epochs: usize,
    /// The learning rate that it begins with, of which each parameter has that times the size of its values; `None` where it
    /// is to be found.
    pub rate: Option<f32>,
    /// Seed of the order of rows.
    pub seed: u64,
}

/// What a part has learned.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    /// Values of the trained parameters after the best epoch.
    pub values: Vec<Vec<f32>>,
    /// That epoch, from 1; 0 where none was better than what stood before.
    pub epoch: usize,
    /// The rate that training began with.
    pub rate: f32,
    /// The [relative error](relative_error) of the held rows before the first step and after the best epoch.
    pub errors: [f64; 2],
}

impl<'a> Parts<'a> {
    /// On a device, with `threads` threads (0 for all cores); `operators` are those of the processor.
    pub fn new(runtime: &'a Runtime, device: Device, operators: Operators, threads: usize) -> Self {
        Parts {
            sessions: SessionMaker::new(runtime, device, operators),
            operators: usable(operators, device),
            threads,
        }
    }

    /// Runs `part` on some rows of `from`, and keeps what comes out in `to`, in their order.
    ///
    /// # Errors
    /// When `go_on` says so, or the runtime fails.
    pub fn run(
        &self,
        part: &Prepared,
        (from, rows): (&FeatureStore, &[usize]),
        to: &mut FeatureStore,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), TrainingError> {
        let mut run = self
            .sessions
            .bind_prefix(&part.graph, &part.input, self.threads)?;
        let Some(output) = run.outputs.first().cloned() else {
            return Err(TrainingError::Mismatch("the part has no output".to_owned()));
        };
        let batch = run.input.dims().first().copied().unwrap_or(1).max(1);
        let mut done = 0;
        for chunk in rows.chunks(batch) {
            gather(from, chunk, &run.input)?;
            run.session.run_bound(&mut run.binding)?;
            let values = output.as_f32()?;
            let width = values.len() / batch;
            for (row, values) in (done..).zip(values.chunks(width.max(1)).take(chunk.len())) {
                to.write(0, row, values)?;
            }
            done += chunk.len();
            go_on(done, rows.len())?;
        }
        Ok(())
    }

    /// Trains a part by Adam on the mean squared error, with a rate that falls along a cosine. The last rows of an epoch that
    /// fill no batch are left out of it.
    ///
    /// # Errors
    /// When there are too few rows, a parameter has no gradient, training diverges with any rate, `go_on` says so, or the
    /// runtime fails.
    pub fn train(
        &self,
        part: &Prepared,
        lesson: &Lesson<'_>,
        go_on: &mut GoOn<'_>,
    ) -> Result<Learned, TrainingError> {
        let mut pupil = Pupil::new(self, part, lesson)?;
        let first = pupil.error()?;
        let steps = pupil.per_epoch * lesson.epochs;
        if first == 0.0 || !first.is_finite() {
            return Ok(Learned {
                values: pupil.start,
                epoch: 0,
                rate: 0.0,
                errors: [first, first],
            });
        }
        let rate = match lesson.rate {
            Some(rate) => rate,
            None => pupil.find_rate(go_on)?,
        };
        let mut best = Learned {
            values: pupil.start.clone(),
            epoch: 0,
            rate,
            errors: [first, first],
        };
        pupil.begin_anew()?;
        for epoch in 1..=lesson.epochs {
            for order in pupil.batches(epoch) {
                let done = pupil.done;
                match pupil.step(&order, rate, steps) {
                    // What was best so far is.
                    Err(TrainingError::Diverged { .. }) => return Ok(best),
                    ended => ended?,
                }
                go_on(done + 1, steps)?;
            }
            let error = pupil.error()?;
            if error < best.errors[1] {
                best.errors[1] = error;
                best.epoch = epoch;
                best.values = snapshot(&pupil.parameters)?;
            }
        }
        Ok(best)
    }
}

/// A part that is being trained.
struct Pupil<'l> {
    lesson: &'l Lesson<'l>,
    step: Bound,
    evaluation: Bound,
    parameters: Vec<Buffer>,
    /// Their first values.
    start: Vec<Vec<f32>>,
    /// What the rate of each is multiplied by.
    sizes: Vec<f32>,
    moments: Vec<Moments>,
    optimizer: Optimizer,
    batch: usize,
    per_epoch: usize,
    done: usize,
    /// What the gradient is multiplied by, so that it is that of an error in units of the targets.
    scale: f32,
    threads: usize,
}

impl<'l> Pupil<'l> {
    fn new(
        parts: &Parts<'_>,
        part: &Prepared,
        lesson: &'l Lesson<'l>,
    ) -> Result<Self, TrainingError> {
        let batch = part.shapes.dims(&part.input)?.first().copied().unwrap_or(1);
        if lesson.train.len() < batch || lesson.held.is_empty() {
            return Err(TrainingError::NoSamples);
        }
        let parameters = parameter_buffers(part, lesson.trainable)?;
        let program = whole_program(part, lesson.trainable, parts.operators)?;
        let threads = parts.threads;
        let bind = |program, label| parts.sessions.bind(program, label, &parameters, threads);
        let step = bind(program, "training step")?;
        let program = whole_evaluation_program(part, lesson.trainable, parts.operators)?;
        let evaluation = bind(program, "evaluation")?;
        let start = snapshot(&parameters)?;
        Ok(Pupil {
            lesson,
            step,
            evaluation,
            sizes: start.iter().map(|values| size(values)).collect(),
            start,
            moments: vec![Moments::default(); parameters.len()],
            parameters,
            optimizer: Optimizer {
                weight_decay: 0.0,
                ..Optimizer::new(OptimizerKind::Adam)
            },
            batch,
            per_epoch: lesson.train.len() / batch,
            done: 0,
            scale: (1.0 / mean_square(lesson.targets, lesson.train)?.max(f64::MIN_POSITIVE)) as f32,
            threads,
        })
    }

    /// The rows of the full batches of an epoch.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let Lesson { train, seed, .. } = *self.lesson;
        let order = epoch_order(train, seed, epoch as u64, true);
        let batches = order.chunks_exact(self.batch);
        batches.map(<[usize]>::to_vec).collect()
    }

    /// Puts the first values back.
    fn begin_anew(&mut self) -> Result<(), TrainingError> {
        for (buffer, values) in self.parameters.iter().zip(&self.start) {
            buffer.as_f32_mut()?.copy_from_slice(values);
        }
        self.moments.fill(Moments::default());
        self.done = 0;
        Ok(())
    }

    /// The rate after which the error of the held rows is the least, of some that are tried for a few steps.
    fn find_rate(&mut self, go_on: &mut GoOn<'_>) -> Result<f32, TrainingError> {
        let batches: Vec<Vec<usize>> = (1..=self.lesson.epochs)
            .flat_map(|epoch| self.batches(epoch))
            .take(TRIED_STEPS)
            .collect();
        let mut errors = [None; LADDER.len()];
        let mut at = BEGIN;
        loop {
            if errors[at].is_none() {
                errors[at] = Some(self.tried(LADDER[at], &batches, go_on)?);
            }
            let known = |place: usize| errors.get(place).copied().flatten();
            let best = errors
                .iter()
                .flatten()
                .copied()
                .fold(f64::INFINITY, f64::min);
            let top = errors
                .iter()
                .position(|e| *e == Some(best))
                .unwrap_or(BEGIN);
            let next = [top + 1, top.wrapping_sub(1)];
            match next
                .into_iter()
                .find(|&n| n < LADDER.len() && known(n).is_none())
            {
                Some(next) => at = next,
                None => return Ok(LADDER[top]),
            }
        }
    }

    /// The error of the held rows after some steps with this rate.
    fn tried(
        &mut self,
        rate: f32,
        batches: &[Vec<usize>],
        go_on: &mut GoOn<'_>,
    ) -> Result<f64, TrainingError> {
        self.begin_anew()?;
        for rows in batches {
            match self.step(rows, rate, batches.len()) {
                Err(TrainingError::Diverged { .. }) => return Ok(f64::INFINITY),
                ended => ended?,
            }
            go_on(0, 0)?;
        }
        let error = self.error()?;
        Ok(if error.is_nan() { f64::INFINITY } else { error })
    }

    /// One step of `total`.
    fn step(&mut self, rows: &[usize], rate: f32, total: usize) -> Result<(), TrainingError> {
        let bound = &mut self.step;
        if let [input] = bound.inputs.features.as_slice() {
            gather(self.lesson.inputs, rows, input)?;
        }
        if let Some(targets) = &bound.inputs.targets {
            gather(self.lesson.targets, rows, targets)?;
        }
        bound.session.run_bound(&mut bound.binding)?;
        let loss = bound.loss()?;
        if !loss.is_finite() {
            return Err(TrainingError::Diverged {
                step: self.done + 1,
                epoch: self.done / self.per_epoch.max(1) + 1,
                what: Divergence::Loss(loss),
            });
        }
        let place = Place {
            done: self.done,
            total,
            warmup: 0,
        };
        self.done += 1;
        update(
            &self.optimizer,
            Update {
                step: self.done as u64,
                learning_rate: Schedule::Cosine(Cosine::default()).rate(rate, place),
                scale: self.scale,
                towards: None,
            },
            (&self.sizes, &[]),
            &self.parameters,
            &bound.gradients,
            &mut self.moments,
            self.threads,
        )?;
        for ((buffer, start), fixed) in self
            .parameters
            .iter()
            .zip(&self.start)
            .zip(self.lesson.fixed)
        {
            if let Some(fixed) = fixed {
                let mut values = buffer.as_f32_mut()?;
                let all = values.iter_mut().zip(start).zip(fixed);
                all.filter(|(_, fixed)| **fixed)
                    .for_each(|((value, start), _)| *value = *start);
            }
        }
        Ok(())
    }

    /// The [relative error](relative_error) of the held rows with the parameters as they stand.
    fn error(&mut self) -> Result<f64, TrainingError> {
        let bound = &mut self.evaluation;
        let Port { dims, .. } = &bound.program.logits;
        let width = dims.iter().skip(1).product::<usize>();
        let mut squares = Squares::default();
        let mut target = vec![0.0; width];
        for rows in self.lesson.held.chunks(self.batch) {
            if let [input] = bound.inputs.features.as_slice() {
                gather(self.lesson.inputs, rows, input)?;
            }
            bound.session.run_bound(&mut bound.binding)?;
            let values = bound.logits.as_f32()?;
            for (&row, values) in rows.iter().zip(values.chunks(width.max(1))) {
                self.lesson.targets.gather(0, &[row], &mut target)?;
                squares.add(values, &target);
            }
        }
        Ok(squares.relative_error())
    }
}

/// Reads rows into the first rows of a buffer.
fn gather(store: &FeatureStore, rows: &[usize], buffer: &Buffer) -> Result<(), TrainingError> {
    let mut values = buffer.as_f32_mut()?;
    let width = store.row_lens().first().copied().unwrap_or(0);
    let count = values.len().min(rows.len() * width);
    Ok(store.gather(0, rows, &mut values[..count])?)
}

fn snapshot(buffers: &[Buffer]) -> Result<Vec<Vec<f32>>, TrainingError> {
    let values = buffers.iter().map(|buffer| Ok(buffer.as_f32()?.to_vec()));
    values.collect()
}

/// The root of the mean square of values.
fn size(values: &[f32]) -> f32 {
    let sum: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let size = (sum / values.len().max(1) as f64).sqrt() as f32;
    if size > 0.0 { size } else { SIZE_OF_ZEROS }
}

fn mean_square(store: &FeatureStore, rows: &[usize]) -> Result<f64, TrainingError> {
    let width = store.row_lens().first().copied().unwrap_or(0);
    let mut row = vec![0.0; width];
    let mut sum = 0.0;
    for &at in rows {
        store.gather(0, &[at], &mut row)?;
        sum += row
            .iter()
            .map(|&v| f64::from(v) * f64::from(v))
            .sum::<f64>();
    }
    Ok(sum / (rows.len() * width).max(1) as f64)
}

/// How far rows of `values` are from those of `wanted`: the root of the sum of squared differences over that of the squares of
/// what is wanted, of all elements of all rows. Where nothing but 0 is wanted it is the root of the first sum.
///
/// # Errors
/// When one of the stores has no such row.
pub(crate) fn relative_error(
    values: &FeatureStore,
    wanted: &FeatureStore,
    rows: &[usize],
) -> Result<f64, TrainingError> {
    let width = values.row_lens().first().copied().unwrap_or(0);
    let [mut own, mut other] = [vec![0.0; width], vec![0.0; width]];
    let mut squares = Squares::default();
    for &row in rows {
        values.gather(0, &[row], &mut own)?;
        wanted.gather(0, &[row], &mut other)?;
        squares.add(&own, &other);
    }
    Ok(squares.relative_error())
}
