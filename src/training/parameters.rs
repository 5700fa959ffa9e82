//! Which initializers of a network can be trained, and buffers of them.

use std::collections::HashSet;

use crate::autodiff::AutodiffError;
use crate::graph::{Graph, weights};
use crate::onnx::Model;
use crate::runtime::Buffer;

use super::TrainingError;
use super::program::Prepared;

/// Names of the [`weights`] of a classifier that its output depends on, in the order in which the
/// forward pass reads them.
///
/// # Errors
/// When the model cannot be brought to normal form at these input dimensions.
pub fn trainable_parameters(model: &Model, sample: &[usize]) -> Result<Vec<String>, TrainingError> {
    let graph = Graph::from_model(model)?;
    let prepared = Prepared::new(model, 1, sample)?;
    // What serves shapes alone is gone from the normal form.
    let mut left: HashSet<&str> = prepared
        .graph
        .nodes
        .iter()
        .flat_map(|n| n.present_inputs())
        .collect();
    Ok(weights(&graph)
        .into_iter()
        .filter(|(_, name)| left.remove(name))
        .map(|(_, name)| name.to_owned())
        .collect())
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
