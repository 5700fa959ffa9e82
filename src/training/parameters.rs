//! Which initializers of a network can be trained, and buffers of them.

use indexmap::IndexSet;

use crate::autodiff::AutodiffError;
use crate::graph::{Graph, reaching, weights};
use crate::onnx::Model;
use crate::runtime::Buffer;

use super::TrainingError;
use super::program::Prepared;

/// The [`weights`] of a classifier, in the order in which the forward pass reads them, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Those that the loss depends on.
    pub trainable: Vec<String>,
    /// Those that it does not depend on: of another output, or behind indices and comparisons.
    pub idle: Vec<String>,
}

impl Parameters {
    /// Those of `model` for samples of dimensions `sample`.
    ///
    /// # Errors
    /// When the model cannot be brought to normal form at these input dimensions.
    pub fn of(model: &Model, sample: &[usize]) -> Result<Self, TrainingError> {
        let graph = Graph::from_model(model)?;
        let prepared = Prepared::new(model, 1, sample)?;
        let reached = reaching(&prepared.graph, &[&prepared.logits]);
        let names: IndexSet<&str> = weights(&graph).iter().map(|w| w.name).collect();
        let (trainable, idle) = names
            .into_iter()
            .map(str::to_owned)
            .partition(|name| reached.contains(name.as_str()));
        Ok(Parameters { trainable, idle })
    }
}

/// Names of the weights that the loss of a classifier depends on, see [`Parameters`].
///
/// # Errors
/// As [`Parameters::of`].
pub fn trainable_parameters(model: &Model, sample: &[usize]) -> Result<Vec<String>, TrainingError> {
    Ok(Parameters::of(model, sample)?.trainable)
}

/// Buffers with the values that the named initializers have in the model.
///
/// # Errors
/// When a name is no float initializer.
pub(super) fn parameter_buffers(
    prepared: &Prepared,
    names: &[String],
) -> Result<Vec<Buffer>, TrainingError> {
    names
        .iter()
        .map(|name| {
            let tensor = prepared.graph.initializers.get(name);
            let (dims, values) = tensor
                .and_then(|t| Some((t.dims.clone(), t.to_f32()?)))
                .ok_or_else(|| AutodiffError::NotAParameter(name.clone()))?;
            Ok(Buffer::from_f32(&dims, &values)?)
        })
        .collect()
}
