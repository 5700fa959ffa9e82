//! Which initializers of a network can be trained.

use std::collections::HashSet;

use crate::graph::{Graph, Node};
use crate::onnx::Model;

use super::TrainingError;
use super::program::Prepared;

/// Names of the trainable initializers of a classifier, in the order in which the forward pass
/// reads them: float tensors that multiply, filter or shift activations. Running statistics,
/// bounds and scalars that an exporter wrote as constants are not among them.
///
/// # Errors
/// When the model cannot be brought to normal form at these input dimensions.
pub fn trainable_parameters(model: &Model, sample: &[usize]) -> Result<Vec<String>, TrainingError> {
    let prepared = Prepared::new(model, 1, sample)?;
    let declared: HashSet<&str> = model
        .graph()
        .initializer
        .iter()
        .filter_map(|t| t.name.as_deref())
        .collect();
    let constants: HashSet<&str> = model
        .graph()
        .node
        .iter()
        .filter(|n| n.op_type.as_deref() == Some("Constant"))
        .flat_map(|n| n.output.iter().map(String::as_str))
        .collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for node in &prepared.graph.nodes {
        for name in weights(&prepared.graph, node, &declared, &constants) {
            if seen.insert(name) {
                found.push(name.to_owned());
            }
        }
    }
    Ok(found)
}

/// The trainable initializers that one node reads.
fn weights<'g>(
    graph: &'g Graph,
    node: &'g Node,
    declared: &HashSet<&str>,
    constants: &HashSet<&str>,
) -> Vec<&'g str> {
    let roles: &[usize] = match node.op_type.as_str() {
        "BatchNormalization" => &[1, 2],
        "Clip" | "Pad" | "Resize" | "Pow" | "Dropout" | "OneHot" | "Where" => &[],
        _ => &[0, 1, 2],
    };
    roles
        .iter()
        .filter_map(|&i| node.input(i))
        .filter(|name| {
            let is_weight = |dims: &[usize]| {
                // A number in a Constant node is a number; a vector there may be a weight.
                // What follows from shapes alone is neither.
                !dims.is_empty()
                    && (declared.contains(name)
                        || constants.contains(name) && dims.iter().product::<usize>() > 1)
            };
            graph
                .initializers
                .get(*name)
                .is_some_and(|t| t.dtype.is_float() && is_weight(&t.dims))
        })
        .collect()
}
