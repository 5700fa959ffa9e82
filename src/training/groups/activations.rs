//! What filters make of samples.

use crate::graph::Builder;
use crate::onnx::DataType;
use crate::training::features::{Features, Pass, Versions};
use crate::training::program::{Prepared, evaluation_program};
use crate::training::{Lab, Observer, TrainingError};

use super::layers::Layer;

impl Lab<'_> {
    /// The mean activation of each filter of `layers` over the positions of a sample, of the network as it stands: a row
    /// for every sample, layer after layer. `prepared` is for one sample, so that all elements of a value are of that.
    ///
    /// # Errors
    /// When the observer asks to stop, or the runtime fails.
    pub(super) fn activations(
        &self,
        mut prepared: Prepared,
        layers: &[Layer],
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<f32>>, TrainingError> {
        let classes = prepared.classes;
        let means = means(&mut prepared, layers)?;
        prepared.read(&means)?;
        let program = evaluation_program(&prepared, &[], self.operators())?;
        let mut bound = self.bind_program(program, "activations", &[])?;
        let input = Features::input(Versions::default());
        let mut rows = Vec::with_capacity(samples.len());
        for (done, sample) in samples.iter().enumerate() {
            input.gather(self, &[*sample], &bound.inputs.features, Pass::Plain)?;
            bound.session.run_bound(&mut bound.binding)?;
            rows.push(bound.logits.as_f32()?[classes..].to_vec());
            observer.features(done + 1, samples.len())?;
        }
        Ok(rows)
    }
}

/// Appends the means of the layers' activations over all axes but that of channels, and gives their names: `[1, channels]`
/// each.
fn means(prepared: &mut Prepared, layers: &[Layer]) -> Result<Vec<String>, TrainingError> {
    let mut names = Vec::new();
    for layer in layers {
        let rank = prepared.shapes.dims(&layer.activations)?.len() as i64;
        let axes: Vec<i64> = (0..rank)
            .filter(|&axis| axis != layer.axis as i64)
            .collect();
        let mut builder = Builder::new(&mut prepared.graph);
        let (axes, row) = (builder.ints(&axes), builder.ints(&[1, -1]));
        let flat = vec![("keepdims", 0.into())];
        let hint = |part: &str| format!("{}/{part}", layer.activations);
        let read = [layer.activations.as_str(), axes.as_str()];
        let mean = builder.op(&hint("mean"), "ReduceMean", &read, flat);
        let row = builder.op(&hint("row"), "Reshape", &[&mean, &row], vec![]);
        let dims = [1, layer.channels];
        prepared.shapes.insert(&row, DataType::Float, &dims);
        names.push(row);
    }
    Ok(names)
}

/// Values with a mean of 0 and a length of 1, as one vector; all 0 where they are the same but for rounding.
pub(super) fn standardised(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let values: Vec<f64> = values.map(f64::from).collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let length = |off: f64| values.iter().map(|v| (v - off).powi(2)).sum::<f64>().sqrt();
    let spread = length(mean);
    let scale = match spread > 1e-6 * length(0.0) {
        true => spread.recip(),
        false => 0.0,
    };
    let standard = values.iter().map(|v| ((v - mean) * scale) as f32);
    standard.collect()
}
