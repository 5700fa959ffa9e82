//! Groups of filters that move together: one gradient, the mean of a group, for all filters of it.
//!
//! The filters of a layer are put into K groups by what they make of the training samples: `layers.rs` finds the layers and
//! the value that holds a filter's activations, `activations.rs` reads the mean of each filter's activations over the
//! positions of a sample, and `k_means.rs` divides the filters by these, standardised over the samples, so that the squared
//! distance of two filters is 2 − 2r for a correlation r. As a filter, all that is behind one output channel counts: its
//! weight, and its bias, scale and shift where they train.
//!
//! Few samples say little of each filter by itself, more of a group. The filter-group method for k-shot learning, known here
//! from a summary ("neurons with alike activations form a group"), searches its groups by reinforcement learning, which is
//! left out.

mod activations;
mod k_means;
mod layers;

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::data::Split;
use crate::hex;
use crate::random::{Purpose, stream};
use crate::surgery::Rewrite;

use super::gradient::GradientBuffers;
use super::{Lab, Observer, TrainingError};

use activations::standardised;
use k_means::k_means;
use layers::{Layer, layers};

/// Samples that are looked at, at most.
const SAMPLES: usize = 512;

/// How the elements of a tensor belong to groups of its layer's output channels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grouped {
    /// The group of each channel, from 0.
    group_of: Arc<[usize]>,
    /// Number of channels of each group.
    sizes: Arc<[usize]>,
    /// Elements of one channel that lie together; channels follow each other, over and over.
    inner: usize,
}

impl Grouped {
    /// Of a tensor with channels of these groups and `inner` elements of each together.
    pub fn new(group_of: &[usize], inner: usize) -> Self {
        let mut sizes = vec![0; group_of.iter().max().map_or(0, |most| most + 1)];
        group_of.iter().for_each(|&group| sizes[group] += 1);
        Grouped {
            group_of: group_of.into(),
            sizes: sizes.into(),
            inner,
        }
    }

    fn with_inner(&self, inner: usize) -> Self {
        Grouped {
            inner,
            ..self.clone()
        }
    }

    /// Puts in place of each element the mean of those at its place in the channels of its group.
    pub fn average(&self, values: &mut [f32]) {
        let (channels, inner) = (self.group_of.len(), self.inner);
        let mut sums = vec![0.0; self.sizes.len() * inner];
        let place = |group: usize| group * inner..(group + 1) * inner;
        for values in values.chunks_exact_mut((channels * inner).max(1)) {
            sums.fill(0.0);
            for (own, &group) in values.chunks_exact(inner).zip(&*self.group_of) {
                let sum = &mut sums[place(group)];
                sum.iter_mut().zip(own).for_each(|(sum, v)| *sum += v);
            }
            for (group, &size) in self.sizes.iter().enumerate() {
                let share = 1.0 / size as f32;
                sums[place(group)].iter_mut().for_each(|sum| *sum *= share);
            }
            for (own, &group) in values.chunks_exact_mut(inner).zip(&*self.group_of) {
                own.copy_from_slice(&sums[place(group)]);
            }
        }
    }

    /// Averages a gradient of the last run. Of two factors it is enough to average that which the channels lie in.
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn average_gradient(&self, gradient: &GradientBuffers) -> Result<(), TrainingError> {
        match gradient {
            GradientBuffers::Whole(buffer) => self.average(&mut buffer.as_f32_mut()?),
            GradientBuffers::Factors([a, dy]) => {
                let factor = if self.inner == 1 { dy } else { a };
                self.with_inner(1).average(&mut factor.as_f32_mut()?);
            }
        }
        Ok(())
    }
}

/// The groups of a network's filters.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FilterGroups {
    /// By the names of tensors of the network without any rewrite.
    of: HashMap<String, Grouped>,
}

impl FilterGroups {
    /// How a tensor is divided; `None` of one that is not.
    pub fn of(&self, tensor: &str) -> Option<&Grouped> {
        self.of.get(tensor)
    }

    /// The filters of `layers` in `count` groups each, by what `activations` tell of them: one row for every sample, layer
    /// after layer. A layer of no more filters than that is left alone.
    fn by_activations(layers: &[Layer], activations: &[Vec<f32>], count: usize, seed: u64) -> Self {
        let mut of = HashMap::new();
        let mut first = 0;
        for layer in layers {
            let own = first..first + layer.channels;
            first = own.end;
            if layer.channels <= count {
                continue;
            }
            let filter = |at: usize| standardised(activations.iter().map(|row| row[at]));
            let filters: Vec<Vec<f32>> = own.map(filter).collect();
            let mut rng = stream(Purpose::FilterGroups, seed, &[layer.weight().as_bytes()]);
            let grouped = Grouped::new(&k_means(&filters, count, &mut rng), 1);
            for (tensor, inner) in &layer.tensors {
                of.insert(tensor.clone(), grouped.with_inner(*inner));
            }
        }
        FilterGroups { of }
    }
}

/// Digest of how parameters are divided, to tell whether a trial is still the same; empty where none is.
pub(super) fn digest(names: &[String], groups: &[Option<Grouped>]) -> String {
    let mut hash = Sha256::new();
    let mut is_empty = true;
    for (name, grouped) in names.iter().zip(groups) {
        let Some(grouped) = grouped else { continue };
        is_empty = false;
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        let numbers = std::iter::once(&grouped.inner).chain(&*grouped.group_of);
        numbers.for_each(|&n| hash.update((n as u64).to_le_bytes()));
    }
    match is_empty {
        true => String::new(),
        false => hex::encode(hash.finalize()),
    }
}

/// What decides the groups of a lab's network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub count: usize,
    pub seed: u64,
    /// The training samples.
    pub samples: Vec<usize>,
}

impl Lab<'_> {
    /// How each of these tensors of the network without a rewrite is divided, as `asked`; `None` of a `None` and of what is
    /// not divided. The groups of all layers are found when they are first asked for, and kept.
    ///
    /// # Errors
    /// When the observer asks to stop, or the runtime fails.
    pub(super) fn groups(
        &self,
        asked: Asked,
        origins: &[Option<String>],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Option<Grouped>>, TrainingError> {
        let prepared = self.prepare(&Rewrite::None, 1)?;
        let layers = layers(&prepared, &self.network.head_parameters)?;
        let is_trained = |tensor: &String| origins.iter().flatten().any(|name| name == tensor);
        let mut tensors = layers.iter().flat_map(|layer| &layer.tensors);
        if !tensors.any(|(tensor, _)| is_trained(tensor)) {
            return Ok(vec![None; origins.len()]);
        }
        // Whoever waits would need them, too.
        let mut known = self.groups.lock().unwrap_or_else(|e| e.into_inner());
        let found = match known.iter().find(|(of, _)| *of == asked) {
            Some((_, groups)) => Arc::clone(groups),
            None => {
                let samples = Split::spread(&asked.samples, self.labels(), SAMPLES);
                let activations = self.activations(prepared, &layers, &samples, observer)?;
                let groups =
                    FilterGroups::by_activations(&layers, &activations, asked.count, asked.seed);
                let groups = Arc::new(groups);
                known.push((asked, Arc::clone(&groups)));
                groups
            }
        };
        let of = |origin: &Option<String>| origin.as_ref().and_then(|name| found.of(name)).cloned();
        Ok(origins.iter().map(of).collect())
    }
}

#[cfg(test)]
mod tests;
