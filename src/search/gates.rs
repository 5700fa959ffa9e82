//! What the gates of a winner make of samples.

use crate::run::Gates;
use crate::surgery::Rewrite;
use crate::surgery::rewrite::AdaFilter;
use crate::training::Observer;

use super::SearchError;
use super::runner::Runner;

impl Runner<'_> {
    /// Which filters the network takes for the validation samples, or without any for the held-out ones; `None` of a
    /// network without gates that depend on the sample.
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
        let Rewrite::AdaFilter(adafilter) = rewrite else {
            return Ok(None);
        };
        if adafilter.gate_parameters().is_empty() || samples.is_empty() {
            return Ok(None);
        }
        let known = AdaFilter::gateable(&self.emitter.grafted.model)?;
        let filters = |weight: &String| {
            known
                .iter()
                .find(|g| g.weight == *weight)
                .map_or(0, |g| g.channels)
        };
        let values: Vec<String> = adafilter
            .weights
            .iter()
            .map(|w| AdaFilter::gates_of(w))
            .collect();
        let named = layers
            .iter()
            .cloned()
            .zip(adafilter.weights.iter().map(filters));
        let named: Vec<(String, usize)> = named.collect();
        let width: usize = named.iter().map(|(_, filters)| filters).sum();
        let mut rows = Vec::new();
        let mut each = |_: &[usize], all: &[f32]| {
            rows.extend(all.chunks(width.max(1)).map(<[f32]>::to_vec));
        };
        lab.read((rewrite, &values), parameters, samples, &mut each, observer)?;
        let dataset = self.emitter.dataset;
        let labels: Vec<i64> = samples.iter().map(|&s| lab.labels()[s]).collect();
        let names: Vec<String> = samples.iter().map(|&s| dataset.name(s)).collect();
        let classes = dataset.classes().len();
        Ok(Some(Gates::of(&named, &rows, (&labels, classes), &names)))
    }
}
