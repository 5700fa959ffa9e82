//! What the gates of a winner make of samples.

use crate::run::{Gated, Gates};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{AdaFilter, FilterGate, Merged, SpotTune};
use crate::training::Observer;

use super::SearchError;
use super::runner::Runner;

/// Gates of a network.
struct Chosen {
    of: Gated,
    /// The values that have them, in order; none where they are constants of the network.
    values: Vec<String>,
    /// Name and number of gates of each layer or block.
    named: Vec<(String, usize)>,
    /// Whether they are open, where they are constants.
    constant: Option<bool>,
}

/// The gates of a network on the validation samples, or without any on the held-out ones.
pub(super) struct Read {
    /// What is told of them; `None` where they are constants of the network, or there are no samples.
    pub gates: Option<Gates>,
    /// Of each layer and gate, whether it is always open, always closed, or depends on the sample.
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

    /// Which filters or blocks the network takes for which samples; `None` of a network without gates.
    pub(super) fn gates(
        &self,
        Merged { rewrite, values }: &Merged,
        layers: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Option<Read>, SearchError> {
        let Some(chosen) = self.chosen(rewrite, layers)? else {
            return Ok(None);
        };
        let samples = self.gated_samples();
        if chosen.values.is_empty() || samples.is_empty() {
            let all = chosen.named.iter();
            let all = all.map(|(_, gates)| vec![chosen.constant; *gates]);
            return Ok(Some(Read {
                gates: None,
                constant: all.collect(),
            }));
        }
        let width: usize = chosen.named.iter().map(|(_, gates)| gates).sum();
        let mut rows = Vec::new();
        let mut each = |_: &[usize], all: &[f32]| {
            rows.extend(all.chunks(width.max(1)).map(<[f32]>::to_vec));
        };
        let (lab, read) = (self.site.lab, (rewrite, &*chosen.values));
        lab.read(read, values, samples, &mut each, observer)?;
        let dataset = self.emitter.dataset;
        let labels: Vec<i64> = samples.iter().map(|&s| lab.labels()[s]).collect();
        let names: Vec<String> = samples.iter().map(|&s| dataset.name(s)).collect();
        let labels = (&*labels, dataset.classes().len());
        let mut at = 0..width;
        let constant = chosen.named.iter().map(|(_, gates)| {
            let own = at.by_ref().take(*gates);
            own.map(|gate| same(&rows, gate)).collect()
        });
        Ok(Some(Read {
            constant: constant.collect(),
            gates: Some(Gates::of(chosen.of, &chosen.named, &rows, labels, &names)),
        }))
    }

    fn chosen(&self, rewrite: &Rewrite, layers: &[String]) -> Result<Option<Chosen>, SearchError> {
        Ok(match rewrite {
            Rewrite::AdaFilter(adafilter) => {
                let known = AdaFilter::gateable(&self.emitter.grafted.model)?;
                let filters = |weight: &String| {
                    let found = known.iter().find(|g| g.weight == *weight);
                    found.map_or(0, |g| g.channels)
                };
                let weights = &adafilter.weights;
                let filters = weights.iter().map(filters);
                let constant = match adafilter.gate {
                    FilterGate::Ones => Some(true),
                    FilterGate::Zeros => Some(false),
                    FilterGate::Learned | FilterGate::Random => None,
                };
                let depend = weights.iter().filter(|_| constant.is_none());
                Some(Chosen {
                    of: Gated::Filters,
                    values: depend.map(|w| AdaFilter::gates_of(w)).collect(),
                    named: layers.iter().cloned().zip(filters).collect(),
                    constant,
                })
            }
            Rewrite::SpotTune(spottune) => {
                let blocks = spottune.blocks.iter();
                Some(Chosen {
                    of: Gated::Blocks,
                    values: blocks
                        .clone()
                        .map(|b| SpotTune::choices_of(&b.to))
                        .collect(),
                    named: blocks.map(|b| (b.name.clone(), 1)).collect(),
                    constant: None,
                })
            }
            _ => None,
        })
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
