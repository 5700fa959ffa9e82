//! What no gradient can be made for is refused by name.

use crate::graph::operators::Class;
use crate::graph::{Graph, GraphError, Node};

/// Refuses graphs that cannot be fine-tuned at all: control flow, quantised operators, sequences,
/// and operators of other domains than ONNX's own.
///
/// # Errors
/// The first such node, by name.
pub fn refuse_untrainable(graph: &Graph) -> Result<(), GraphError> {
    let moves_numbers = |node: &Node| node.is("QuantizeLinear") || node.is("DequantizeLinear");
    let computes_with_them = |node: &Node| {
        !node.domain.is_empty() || node.is_a(Class::Quantised) && !moves_numbers(node)
    };
    for node in &graph.nodes {
        let reason = if !node.domain.is_empty() {
            let domain = &node.domain;
            match domain.starts_with("com.microsoft") || domain.starts_with("com.ms.") {
                true => format!(
                    "operators of the domain `{domain}` are not supported, which onnxruntime's optimiser and \
                     quantiser write: use the file before they made this one of it"
                ),
                false => format!("operators of the domain `{domain}` are not supported"),
            }
        } else if node.is_a(Class::ControlFlow) || node.subgraphs().next().is_some() {
            match node.is("If") {
                true => "control flow is not supported: its condition is not known before the model runs, or its \
                         branches hold weights",
                false => "control flow is not supported",
            }
            .to_owned()
        } else if node.is_a(Class::Quantised) {
            let in_pairs = moves_numbers(node) && !graph.nodes.iter().any(computes_with_them);
            match in_pairs {
                true => "quantised models cannot be fine-tuned; use the float model, or train this one's \
                         dequantised weights in float (tune --dequantise)",
                false => "quantised models cannot be fine-tuned; use the float model of which it was made",
            }
            .to_owned()
        } else if node.is_a(Class::Sequence) {
            "sequences and optionals are not supported".to_owned()
        } else {
            continue;
        };
        return Err(node.error(reason));
    }
    Ok(())
}
