//! Finding a trial's learning rate by trying some.

use crate::choice::Choice;
use crate::data::Split;
use crate::training::checkpoint::{Progress, State};
use crate::training::inputs::StepPlace;
use crate::training::rate::Trying;
use crate::training::sessions::Sessions;
use crate::training::{Cosine, Moments, Observer, Place, Schedule, TrainingError, TriedRate};

use super::saver::Saver;
use super::{Trial, snapshot};

/// The rate rises in one part of them in this many.
const RISE: usize = 4;
/// One in this many training samples tells what a rate has come to, where none validate.
const APART: usize = 4;

impl<'a> Trial<'a> {
    /// Whether the learning rate is to be found.
    pub(super) fn seeks_rate(&self) -> bool {
        let is_auto = self.spec.optimizer.learning_rate == Choice::Auto;
        is_auto && self.spec.epochs > 0 && self.state.progress.rate.is_none()
    }

    pub(super) fn trying(&self) -> Trying {
        let steps = self.spec.length().saturating_mul(self.per_epoch());
        Trying::of(self.spec.optimizer.kind, steps, self.spec.is_deep)
    }

    /// The rate that was found.
    pub(super) fn found_rate(&self) -> Option<f32> {
        self.trying().best(&self.state.progress.tried)
    }

    /// Tries the next rate, or takes the best where enough are tried. The trial is then where it was.
    pub(super) fn try_rate(
        &mut self,
        observer: &mut dyn Observer,
        saver: &mut Option<Saver<'a>>,
    ) -> Result<(), TrainingError> {
        let tried = &self.state.progress.tried;
        let trying = self.trying();
        let Some(rate) = trying.next(tried) else {
            self.state.progress.rate = trying.best(tried);
            let rate = self.rate(0);
            let epochs = &mut self.state.progress.epochs;
            if let Some(start) = epochs.first_mut() {
                // It was scored before a training that came to nothing.
                start.learning_rate = rate;
                observer.resumed(0, epochs)?;
            }
            return Ok(());
        };
        self.settle(true)?;
        let first = snapshot(&self.buffers)?;
        let average = self.average.take();
        let fresh = State {
            progress: Progress::new(self.spec),
            moments: vec![Moments::default(); self.spec.trainable.len()],
            best: Vec::new(),
        };
        let state = std::mem::replace(&mut self.state, fresh);
        self.written();
        let choosers = self.spec.rewrite.choosers();
        let held = self.spec.trainable.iter().zip(&first).enumerate();
        let held = held.filter(|(_, (name, _))| choosers.contains(name));
        let held: Vec<(usize, &[f32])> = held.map(|(i, (_, of))| (i, of.as_slice())).collect();
        let loss = self.loss_after_steps(rate, &held, observer);
        self.state = state;
        if average.is_some() {
            // They are bound to what was scored, and it is the average from here on.
            self.evaluations = Sessions::default();
            self.average = average;
        }
        for (buffer, values) in self.buffers.iter().zip(&first) {
            buffer.as_f32_mut()?.copy_from_slice(values);
        }
        self.written();
        let loss = loss?;
        self.state.progress.tried.push(TriedRate { rate, loss });
        match saver {
            Some(saver) if saver.is_due() => saver.save(self, observer),
            _ => Ok(()),
        }
    }

    /// What the loss of the samples that judge is after some steps with a rate; infinite where they diverge. `held` are
    /// parameters, by their place, that stay at these values: what chooses for each sample would hide the harm that a rate
    /// does by choosing what is frozen.
    fn loss_after_steps(
        &mut self,
        rate: f32,
        held: &[(usize, &[f32])],
        observer: &mut dyn Observer,
    ) -> Result<f64, TrainingError> {
        let (train, judges) = self.parts();
        let batch = self.spec.batch_size.min(train.len()).max(1);
        let total = self.trying().steps;
        let schedule = Schedule::Cosine(Cosine::default());
        for epoch in 1.. {
            let order = self.spec.order(&train, self.lab.dataset.labels(), epoch);
            self.state.progress.epoch = epoch;
            for rows in order.chunks_exact(batch) {
                let done = self.state.progress.step;
                if done == total {
                    break;
                }
                observer.trying_rate(rate, done, total)?;
                let place = Place {
                    done,
                    total,
                    warmup: total / RISE,
                };
                let step = StepPlace {
                    epoch,
                    step: done + 1,
                    rows: rows.to_vec(),
                };
                match self.step(&step, None, schedule.rate(rate, place)) {
                    Err(TrainingError::Diverged { .. }) => return Ok(f64::INFINITY),
                    step => step?,
                };
                for (place, values) in held {
                    self.by.hold(&self.buffers, (*place, values))?;
                }
            }
            if self.state.progress.step == total {
                break;
            }
        }
        let loss = self.predict(&judges, observer)?.score().calibrated_loss;
        Ok(match loss.is_finite() {
            true => loss,
            false => f64::INFINITY,
        })
    }

    /// The samples of the steps, and those that judge.
    fn parts(&self) -> (Vec<usize>, Vec<usize>) {
        let labels = self.lab.dataset.labels();
        if !self.validation.is_empty() {
            let judges = Split::spread(self.validation, labels, Trying::JUDGES);
            return (self.train.to_vec(), judges);
        }
        let count = (self.train.len() / APART).min(Trying::JUDGES);
        let judges = Split::spread(self.train, labels, count);
        let others = self.train.iter().filter(|sample| !judges.contains(sample));
        match others.copied().collect::<Vec<_>>() {
            none if none.is_empty() => (self.train.to_vec(), self.train.to_vec()),
            others => (others, judges),
        }
    }
}
