//! The frozen values that a trial's step reads: cached, or the model's input itself.

use std::collections::HashMap;

use crate::data::FeatureStore;
use crate::runtime::Buffer;

use super::TrainingError;
use super::lab::{Lab, LabOptions};
use super::program::Port;

/// What a trial's steps read in place of the frozen layers; made by [`Lab::features`]. Trials that
/// train the same parameters may share it, also between threads.
pub struct Features(Source);

/// Where a step's features come from.
enum Source {
    /// The model's input: made from the samples at each step.
    Input,
    /// Outputs of the frozen prefix, computed once.
    Cached {
        store: FeatureStore,
        /// Row of each sample in the store.
        rows: HashMap<usize, usize>,
    },
}

impl Features {
    /// The model's own input.
    pub(super) fn input() -> Self {
        Features(Source::Input)
    }

    /// An empty cache for these values of these samples.
    pub(super) fn store(
        ports: &[Port],
        samples: &[usize],
        options: &LabOptions,
    ) -> Result<Self, TrainingError> {
        let lengths: Vec<usize> = ports.iter().map(|p| p.dims[1..].iter().product()).collect();
        let rows: HashMap<usize, usize> =
            samples.iter().enumerate().map(|(r, &s)| (s, r)).collect();
        let store = FeatureStore::new(
            samples.len(),
            &lengths,
            options.memory_budget,
            &options.spill_dir,
        )?;
        Ok(Features(Source::Cached { store, rows }))
    }

    /// Keeps the prefix's outputs for `samples`.
    pub(super) fn write(
        &mut self,
        samples: &[usize],
        outputs: &[Buffer],
    ) -> Result<(), TrainingError> {
        let Source::Cached { store, rows } = &mut self.0 else {
            return Ok(());
        };
        for (value, buffer) in outputs.iter().enumerate() {
            let data = buffer.as_f32()?;
            let length = data.len() / samples.len().max(1);
            for (sample, row) in samples.iter().zip(data.chunks(length.max(1))) {
                if let Some(&at) = rows.get(sample) {
                    store.write(value, at, row)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the features of `samples` into a program's feature buffers.
    pub(super) fn gather(
        &self,
        lab: &Lab<'_>,
        samples: &[usize],
        buffers: &[Buffer],
    ) -> Result<(), TrainingError> {
        match &self.0 {
            Source::Input => match buffers {
                [input] => lab.write_input(samples, input),
                _ => Ok(()),
            },
            Source::Cached { store, rows } => {
                let rows: Vec<usize> = samples
                    .iter()
                    .filter_map(|s| rows.get(s).copied())
                    .collect();
                for (value, buffer) in buffers.iter().enumerate() {
                    store.gather(value, &rows, &mut buffer.as_f32_mut()?)?;
                }
                Ok(())
            }
        }
    }
}
