//! Nodes that tract must not see, or cannot build, are shown to it as others.

use std::collections::HashSet;

use tract_onnx::prelude::{Framework, TractResult};

use crate::graph::operators::{Class, Elements};
use crate::graph::{Attribute, Graph, Node};

use super::infer::encode;

/// tract takes the square of a node's inputs to order the graph; more than these it does not see.
const MANY_INPUTS: usize = 1000;
/// The operator name that makes tract treat a node as opaque.
pub(super) const UNKNOWN: &str = "ftsurgery_unknown";

pub(super) fn keeps_shape(node: &Node) -> bool {
    let class = node.is_a(Class::Activation) || node.is_a(Class::Norm);
    class || node.elements() == Elements::Dropped
}

/// Hides what tract must not see: the nodes that define `distrusted` values, those with inner graphs or
/// other rare attributes, which nothing has checked, and those with very many inputs. What keeps the shape is shown as a
/// plain activation.
pub(super) fn hide(graph: &mut Graph, distrusted: &HashSet<String>) {
    for node in &mut graph.nodes {
        let rare = |a: &Attribute| matches!(a, Attribute::Other(_));
        let many = node.inputs.len() > MANY_INPUTS;
        if node.present_outputs().any(|o| distrusted.contains(o))
            || node.attributes.values().any(rare)
            || many
        {
            UNKNOWN.clone_into(&mut node.op_type);
            node.attributes.clear();
            node.inputs.truncate(MANY_INPUTS);
        } else if keeps_shape(node) {
            as_activation(node);
        }
    }
}

/// Shows a node as an operator whose output is like its first input.
pub(super) fn as_activation(node: &mut Node) {
    "Relu".clone_into(&mut node.op_type);
    node.inputs.truncate(1);
    node.outputs.truncate(1);
    node.attributes.clear();
}

/// Renames the operators that tract cannot build, so that the rest can still be analysed (as another
/// one where that has the same shape), and returns the names of the values they define.
pub(super) fn hide_unknown(onnx: &tract_onnx::Onnx, graph: &mut Graph) -> TractResult<Vec<String>> {
    let mut unknown = Vec::new();
    let bytes = encode(graph, &[], &[]);
    let proto = onnx.proto_model_for_read(&mut bytes.as_slice())?;
    let context = tract_onnx::model::ParsingContext {
        onnx_operator_set_version: graph.opset,
        framework: onnx,
        model: &proto,
        parent_graphs: proto.graph.iter().collect(),
        model_dir: None,
        template: Default::default(),
    };
    let nodes = proto.graph.iter().flat_map(|g| &g.node);
    for (node, message) in graph.nodes.iter_mut().zip(nodes) {
        let builder = onnx.op_register.0.get(&node.op_type);
        let known = node.domain.is_empty() && builder.is_some_and(|b| b(&context, message).is_ok());
        if known {
            continue;
        }
        if keeps_shape(node) {
            as_activation(node);
        } else {
            UNKNOWN.clone_into(&mut node.op_type);
            node.attributes.clear();
            unknown.extend(node.present_outputs().map(str::to_owned));
        }
    }
    Ok(unknown)
}
