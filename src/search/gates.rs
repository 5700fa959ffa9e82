//! What the gates of a winner make of samples.

use crate::run::{Gated, Gates};
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{AdaFilter, SpotTune};
use crate::training::Observer;

use super::SearchError;
use super::runner::Runner;

/// Gates of a network, in the order in which some of its values have them.
struct Chosen {
    of: Gated,
    values: Vec<String>,
    /// Name and number of gates of each layer or block.
    named: Vec<(String, usize)>,
}

impl Runner<'_> {
    /// Which filters or blocks the network takes for the validation samples, or without any for the held-out ones; `None`
    /// of a network without gates that depend on the sample.
    pub(super) fn gates(
        &self,
        rewrite: &Rewrite,
        parameters: &[(String, Vec<f32>)],
        layers: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Option<Gates>, SearchError> {
        let (lab, split) = (self.site.lab, self.site.split);
        let samples = match split.validation.as_slice() {
            [] => split.held_out.as_slice(),
            samples => samples,
        };
        let Some(Chosen { of, values, named }) = self.chosen(rewrite, layers)? else {
            return Ok(None);
        };
        if samples.is_empty() {
            return Ok(None);
        }
        let width: usize = named.iter().map(|(_, gates)| gates).sum();
        let mut rows = Vec::new();
        let mut each = |_: &[usize], all: &[f32]| {
            rows.extend(all.chunks(width.max(1)).map(<[f32]>::to_vec));
        };
        lab.read((rewrite, &values), parameters, samples, &mut each, observer)?;
        let dataset = self.emitter.dataset;
        let labels: Vec<i64> = samples.iter().map(|&s| lab.labels()[s]).collect();
        let names: Vec<String> = samples.iter().map(|&s| dataset.name(s)).collect();
        let classes = dataset.classes().len();
        let gates = Gates::of(of, &named, &rows, (&labels, classes), &names);
        Ok(Some(gates))
    }

    fn chosen(&self, rewrite: &Rewrite, layers: &[String]) -> Result<Option<Chosen>, SearchError> {
        Ok(match rewrite {
            Rewrite::AdaFilter(adafilter) if !adafilter.gate_parameters().is_empty() => {
                let known = AdaFilter::gateable(&self.emitter.grafted.model)?;
                let filters = |weight: &String| {
                    let found = known.iter().find(|g| g.weight == *weight);
                    found.map_or(0, |g| g.channels)
                };
                let weights = &adafilter.weights;
                Some(Chosen {
                    of: Gated::Filters,
                    values: weights.iter().map(|w| AdaFilter::gates_of(w)).collect(),
                    named: layers
                        .iter()
                        .cloned()
                        .zip(weights.iter().map(filters))
                        .collect(),
                })
            }
            Rewrite::SpotTune(spottune) => Some(Chosen {
                of: Gated::Blocks,
                values: spottune
                    .blocks
                    .iter()
                    .map(|b| SpotTune::choices_of(&b.to))
                    .collect(),
                named: spottune
                    .blocks
                    .iter()
                    .map(|b| (b.name.clone(), 1))
                    .collect(),
            }),
            _ => None,
        })
    }
}
