//! Which values depend on which.

use std::collections::HashSet;

use super::operators::Gives;
use super::{Graph, Node};
use crate::onnx::DataType;

/// The values that depend on `sources`, these included, through values of any type. Shapes and sizes depend
/// on nothing: they are known before the graph runs.
pub fn following<'g>(
    graph: &'g Graph,
    sources: impl IntoIterator<Item = &'g str>,
) -> HashSet<&'g str> {
    let mut found: HashSet<&str> = sources.into_iter().collect();
    for node in &graph.nodes {
        if !node.gives_sizes() && node.present_inputs().any(|v| found.contains(v)) {
            found.extend(node.present_outputs());
        }
    }
    found
}

/// The values that `outputs` depend on by floats alone, these included: no gradient passes a comparison,
/// an index or a rounding to integers.
pub fn reaching<'g>(graph: &'g Graph, outputs: &[&'g str]) -> HashSet<&'g str> {
    let mut found: HashSet<&str> = outputs.iter().copied().collect();
    for node in graph.nodes.iter().rev() {
        if !gives_no_floats(node) && node.present_outputs().any(|o| found.contains(o)) {
            found.extend(node.present_inputs());
        }
    }
    found
}

/// Whether an operator's outputs are no floats, so that no gradient passes it.
pub(super) fn gives_no_floats(node: &Node) -> bool {
    let to = || i32::try_from(node.int("to", 1).ok()?).ok();
    match node.operator().map(|o| o.gives) {
        Some(Gives::Integers | Gives::Sizes) => true,
        Some(Gives::TypeOfTo) => !to()
            .and_then(DataType::from_number)
            .is_some_and(DataType::is_float),
        Some(Gives::Floats) | None => false,
    }
}
