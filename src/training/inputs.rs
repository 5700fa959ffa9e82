//! What a step reads besides parameters.

use crate::data::Dataset;
use crate::runtime::{Buffer, RuntimeError};
use crate::surgery::rewrite::Noise;

use super::dropout::fill_mask;
use super::features::Pass;
use super::mixing::Mixing;
use super::noise::fill_noise;
use super::program::Program;
use super::{Features, Lab, TrainingError, TrialSpec};

/// Buffers for all inputs of a step, or an evaluation, but what is trained. A clone shares them.
#[derive(Clone)]
pub(super) struct Inputs {
    pub features: Vec<Buffer>,
    pub masks: Vec<Buffer>,
    /// Noise, at rest until it is filled.
    pub noise: Vec<Buffer>,
    pub labels: Option<Buffer>,
    /// In their place, where samples may have several, or what the output is held against.
    pub targets: Option<Buffer>,
    /// Second labels of mixed samples, and the share of the first.
    pub mixed: Option<[Buffer; 2]>,
}

/// Which step of a trial inputs are for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepPlace {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The step, from 1.
    pub step: usize,
    /// The samples.
    pub rows: Vec<usize>,
}

impl Inputs {
    /// Those of `program`.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn of(program: &Program) -> Result<Self, RuntimeError> {
        let zeros = |dims: &[usize]| Buffer::zeros_f32(dims);
        let batch = program.logits.dims.first().copied().unwrap_or(1);
        let features = program.features.iter().map(|p| zeros(&p.dims));
        let masks = program.masks.iter().map(|m| zeros(&[batch, m.width]));
        let rest = |noise: &Noise| {
            let dims: Vec<usize> = std::iter::once(batch).chain(noise.dims.clone()).collect();
            Buffer::from_f32(&dims, &vec![noise.rest; dims.iter().product()])
        };
        let noise = program.noise.iter().map(rest);
        let is_step = program.loss.is_some();
        let mixed = match is_step && program.is_mixed {
            true => Some([Buffer::zeros_i64(&[batch])?, zeros(&[batch, 1])?]),
            false => None,
        };
        let wanted = program.targets.as_ref().filter(|_| is_step);
        let labels = (is_step && wanted.is_none()).then(|| Buffer::zeros_i64(&[batch]));
        let targets = wanted.map(|port| zeros(&port.dims));
        Ok(Inputs {
            features: features.collect::<Result<_, _>>()?,
            masks: masks.collect::<Result<_, _>>()?,
            noise: noise.collect::<Result<_, _>>()?,
            labels: labels.transpose()?,
            targets: targets.transpose()?,
            mixed,
        })
    }

    /// The names of the inputs of `program`, each with its buffer.
    pub fn bound<'a>(&'a self, program: &'a Program) -> Vec<(&'a str, &'a Buffer)> {
        let held = self.labels.iter().chain(&self.targets);
        let buffers = self.features.iter().chain(&self.masks).chain(&self.noise);
        let buffers = buffers.chain(held).chain(self.mixed.iter().flatten());
        program.inputs().into_iter().zip(buffers).collect()
    }

    /// Fills all of it for a step of a trial.
    ///
    /// # Errors
    /// When a buffer is in use or does not fit, or the runtime fails.
    pub fn fill(
        &self,
        program: &Program,
        (lab, spec, features): (&Lab<'_>, &TrialSpec, &Features),
        place: &StepPlace,
    ) -> Result<(), TrainingError> {
        let StepPlace { epoch, step, rows } = place;
        let (pass, step) = (Pass::Train { epoch: *epoch }, *step as u64);
        let mixing = spec.mixing(step, rows.len(), lab.sample())?;
        let how = (pass, mixing.as_ref());
        features.gather_mixed(lab, rows, &self.features, how)?;
        self.set_labels(lab.dataset, rows)?;
        if let Some(mixing) = &mixing {
            self.set_mixed(lab.dataset, rows, mixing)?;
        }
        for (mask, buffer) in program.masks.iter().zip(&self.masks) {
            let mut values = buffer.as_f32_mut()?;
            fill_mask(&mut values, mask.ratio, spec.seed, step, &mask.name);
        }
        for (noise, buffer) in program.noise.iter().zip(&self.noise) {
            let mut values = buffer.as_f32_mut()?;
            fill_noise(&mut values, noise, spec.seed, step, rows);
        }
        Ok(())
    }

    /// Writes the labels of `rows`.
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn set_labels(&self, dataset: &Dataset, rows: &[usize]) -> Result<(), TrainingError> {
        if let Some(buffer) = &self.labels {
            let mut labels = buffer.as_i64_mut()?;
            for (label, &row) in labels.iter_mut().zip(rows) {
                *label = dataset.labels()[row];
            }
        }
        if let (Some(buffer), Some(sets)) = (&self.targets, dataset.sets()) {
            let mut targets = buffer.as_f32_mut()?;
            for (target, &row) in targets.chunks_mut(buffer.dims()[1].max(1)).zip(rows) {
                sets.write(row, target);
            }
        }
        Ok(())
    }

    /// Writes the second labels of `rows` and what the first ones' share is; of samples that may have several, what
    /// both come to.
    fn set_mixed(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        mixing: &Mixing,
    ) -> Result<(), TrainingError> {
        if let Some([labels, shares]) = &self.mixed {
            let mut labels = labels.as_i64_mut()?;
            for (label, &partner) in labels.iter_mut().zip(&mixing.partners) {
                *label = rows.get(partner).map_or(0, |&row| dataset.labels()[row]);
            }
            shares.as_f32_mut()?.fill(mixing.share);
        }
        if let (Some(buffer), Some(sets)) = (&self.targets, dataset.sets()) {
            let mut targets = buffer.as_f32_mut()?;
            let width = buffer.dims()[1].max(1);
            let mut other = vec![0.0; width];
            let both = rows.iter().zip(&mixing.partners);
            for (target, (&row, &partner)) in targets.chunks_mut(width).zip(both) {
                sets.write(row, target);
                sets.write(rows.get(partner).map_or(row, |&row| row), &mut other);
                for (value, other) in target.iter_mut().zip(&other) {
                    *value = mixing.share * *value + (1.0 - mixing.share) * other;
                }
            }
        }
        Ok(())
    }
}
