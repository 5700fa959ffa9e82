//! The inputs of operators at which constants are weights, and those at which weights pass.

use crate::graph::Node;
use crate::graph::operators::{Carries, Parameters};

/// The inputs of an operator at which a constant is a weight: those of layers, normalisations and
/// tables, and those of operators that mix what they read.
pub(super) fn places(node: &Node, opset: i64) -> Vec<usize> {
    if node.is("BatchNormalization") && takes_batch_statistics(node, opset) {
        return vec![0, 1, 2];
    }
    match node.operator().map(|o| o.parameters) {
        Some(Parameters::Own(inputs) | Parameters::Mixed(inputs)) => inputs.of(node),
        Some(Parameters::None) | None => Vec::new(),
    }
}

/// Whether the operator has no weights of its own but mixes what it reads, so that not each constant among
/// it is a weight.
pub(super) fn mixes(node: &Node) -> bool {
    let parameters = node.operator().map(|o| o.parameters);
    matches!(parameters, Some(Parameters::Mixed(_)))
}

/// The inputs of an operator that reads no data from which weights come to its outputs: those of
/// [`places`], and those of which it makes what is still that weight.
pub(super) fn carried(node: &Node, opset: i64) -> Vec<usize> {
    let mut found = places(node, opset);
    match node.operator().map(|o| o.carries) {
        Some(Carries::First) if !found.contains(&0) => found.insert(0, 0),
        Some(Carries::Every) => found.extend(0..node.inputs.len()),
        _ => {}
    }
    found
}

/// Whether a BatchNormalization of an opset takes the statistics of what it reads: its attribute says so,
/// or, before opset 14, that it has more outputs than one.
/// Source: <https://onnx.ai/onnx/operators/text_diff_BatchNormalization_9_14.html>.
pub(in crate::graph) fn takes_batch_statistics(node: &Node, opset: i64) -> bool {
    match opset {
        14.. => node.int("training_mode", 0).is_ok_and(|mode| mode != 0),
        _ => node.present_outputs().count() > 1,
    }
}
