//! What no gradient can be made for is refused by name.

use crate::graph::{Graph, GraphError};

/// Refuses graphs that cannot be fine-tuned at all: control flow, quantised operators, sequences,
/// and operators of other domains than ONNX's own.
///
/// # Errors
/// The first such node, by name.
pub fn refuse_untrainable(graph: &Graph) -> Result<(), GraphError> {
    for node in &graph.nodes {
        let op = node.op_type.as_str();
        let reason = if !node.domain.is_empty() {
            format!(
                "operators of the domain `{}` are not supported",
                node.domain
            )
        } else if matches!(op, "If" | "Loop" | "Scan") || node.subgraphs().next().is_some() {
            "control flow is not supported".to_owned()
        } else if op.starts_with("QLinear")
            || op.ends_with("Integer")
            || matches!(
                op,
                "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear"
            )
        {
            "quantised models cannot be fine-tuned; use the float model".to_owned()
        } else if op.contains("Sequence") && op != "ReverseSequence" || op.starts_with("Optional") {
            "sequences and optionals are not supported".to_owned()
        } else {
            continue;
        };
        return Err(node.error(reason));
    }
    Ok(())
}
