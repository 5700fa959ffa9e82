//! What the gates of a winner make of samples.

use crate::run::Gates;
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{AdaFilter, FilterGate, Merged};
use crate::training::Observer;

use super::SearchError;
use super::runner::Runner;

/// The gates of a network on the validation samples, or without any on the held-out ones.
pub(super) struct Read {
    /// What is told of them; `None` where they are constants of the network, or there are no samples.
    pub gates: Option<Gates>,
    /// Of each layer and filter, whether its gate is always open, always closed, or depends on the sample.
    constant: Vec<Vec<Option<bool>>>,
}

impl Runner<'_> {
    /// The samples on which gates are read.
    pub(super) fn gated_samples(&self) -> &[usize] {
        let split = self.site.split;
        match split.validation.as_slice() {
            [] => &split.held_out,
            samples => samples,
        }
    }

    /// Which filters the network takes for which samples; `None` of a network without gates.
    pub(super) fn gates(
        &self,
        Merged { rewrite, values }: &Merged,
        layers: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Option<Read>, SearchError> {
        let Rewrite::AdaFilter(adafilter) = rewrite else {
            return Ok(None);
        };
        let known = AdaFilter::gateable(&self.emitter.grafted.model)?;
        let of = |weight: &String| known.iter().find(|g| g.weight == *weight);
        let filters = |weight: &String| of(weight).map_or(0, |g| g.channels);
        let filters: Vec<usize> = adafilter.weights.iter().map(filters).collect();
        let all = |gate: Option<bool>| filters.iter().map(|&f| vec![gate; f]).collect();
        let samples = self.gated_samples();
        let constant = match adafilter.gate {
            FilterGate::Ones => Some(Some(true)),
            FilterGate::Zeros => Some(Some(false)),
            FilterGate::Learned | FilterGate::Random => samples.is_empty().then_some(None),
        };
        if let Some(gate) = constant {
            return Ok(Some(Read {
                gates: None,
                constant: all(gate),
            }));
        }
        let names = adafilter.weights.iter().map(|w| AdaFilter::gates_of(w));
        let names: Vec<String> = names.collect();
        let width: usize = filters.iter().sum();
        let mut rows = Vec::new();
        let mut each = |_: &[usize], all: &[f32]| {
            rows.extend(all.chunks(width.max(1)).map(<[f32]>::to_vec));
        };
        let lab = self.site.lab;
        lab.read((rewrite, &names), values, samples, &mut each, observer)?;
        let dataset = self.emitter.dataset;
        let labels: Vec<i64> = samples.iter().map(|&s| lab.labels()[s]).collect();
        let names: Vec<String> = samples.iter().map(|&s| dataset.name(s)).collect();
        let classes = dataset.classes().len();
        let named: Vec<(String, usize)> = layers.iter().cloned().zip(filters.clone()).collect();
        let mut at = 0..width;
        let mut of_layer = |filters: &usize| {
            let own = at.by_ref().take(*filters);
            own.map(|gate| same(&rows, gate)).collect()
        };
        Ok(Some(Read {
            gates: Some(Gates::of(&named, &rows, (&labels, classes), &names)),
            constant: filters.iter().map(&mut of_layer).collect(),
        }))
    }

    /// The network without the gates that `read` found to be constant, which it then says.
    pub(super) fn baked(&self, merged: &Merged, read: &mut Read) -> Result<Merged, SearchError> {
        let Merged { rewrite, values } = merged;
        let baked = rewrite.bake(self.emitter.grafted, values, &read.constant)?;
        let left = match &baked.rewrite {
            Rewrite::AdaFilter(AdaFilter { dependent, .. }) => {
                dependent.iter().flatten().map(Vec::len).sum()
            }
            _ => 0,
        };
        if let Some(gates) = &mut read.gates {
            gates.left = Some(left);
        }
        Ok(baked)
    }
}

/// Whether a gate is open in all rows, or closed in all; `None` where they differ.
fn same(rows: &[Vec<f32>], gate: usize) -> Option<bool> {
    let first = rows.first()?.get(gate)?;
    let all = rows.iter().all(|row| row.get(gate) == Some(first));
    all.then_some(*first > 0.5)
}
