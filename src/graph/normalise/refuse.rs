//! What no gradient can be made for is refused by name.

use crate::graph::operators::Class;
use crate::graph::{Graph, GraphError};

/// Refuses graphs that cannot be fine-tuned at all: control flow, quantised operators, sequences,
/// and operators of other domains than ONNX's own.
///
/// # Errors
/// The first such node, by name.
pub fn refuse_untrainable(graph: &Graph) -> Result<(), GraphError> {
    for node in &graph.nodes {
        let reason = if !node.domain.is_empty() {
            format!(
                "operators of the domain `{}` are not supported",
                node.domain
            )
        } else if node.is_a(Class::ControlFlow) || node.subgraphs().next().is_some() {
            "control flow is not supported".to_owned()
        } else if node.is_a(Class::Quantised) {
            "quantised models cannot be fine-tuned; use the float model".to_owned()
        } else if node.is_a(Class::Sequence) {
            "sequences and optionals are not supported".to_owned()
        } else {
            continue;
        };
        return Err(node.error(reason));
    }
    Ok(())
}
