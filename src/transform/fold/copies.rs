//! Nodes that hand on what they read.

use crate::graph::messages::defined;
use crate::onnx::Tensor;
use crate::onnx::messages::{GraphProto, NodeProto};
use crate::surgery::{Named, Part, reads};

use super::{Constants, Pass, Place, is_annotated, is_output};

/// Takes away Identity, and Dropout that does not train; whether there was one. What an output is a copy of gets the
/// output's name, where a node makes it that nothing else keeps to its own.
pub(super) fn remove(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    around: &Constants,
) -> bool {
    let mut changed = false;
    let mut at = 0;
    while at < graph.node.len() {
        let node = &graph.node[at];
        let is_copy = is_identity(pass, node) || is_idle(pass, graph, node, place, around);
        if is_copy && one(pass, graph, place, at) {
            changed = true;
        } else {
            at += 1;
        }
    }
    changed
}

fn is_identity(pass: &Pass<'_>, node: &NodeProto) -> bool {
    pass.is(node, "Identity") && node.input.len() == 1 && node.output.len() == 1
}

/// Whether a node is a Dropout that drops nothing, and nothing reads its mask. Before opset 7 an attribute said so; since
/// opset 12 it drops where its third input is true.
/// Source: <https://onnx.ai/onnx/operators/onnx__Dropout.html>.
fn is_idle(
    pass: &Pass<'_>,
    graph: &GraphProto,
    node: &NodeProto,
    place: Place<'_>,
    around: &Constants,
) -> bool {
    if !pass.is(node, "Dropout") || pass.opset < 7 || node.input.is_empty() {
        return false;
    }
    if let Some(mask) = node.output.get(1).filter(|mask| !mask.is_empty()) {
        let is_read = |node: &NodeProto| reads(node).contains(&mask.as_str());
        if is_output(graph, mask) || graph.node.iter().any(is_read) {
            return false;
        }
    }
    match node.input.get(2).filter(|mode| !mode.is_empty()) {
        None => true,
        Some(mode) => {
            let own = pass.constants(graph, place).unwrap_or_default();
            let tensor = own.get(mode).or_else(|| around.get(mode));
            let value = tensor.and_then(|t| pass.tensor(t));
            value.as_ref().and_then(Tensor::to_i64).as_deref() == Some(&[0])
        }
    }
}

/// Takes one away, if its readers can do without.
fn one(pass: &mut Pass<'_>, graph: &mut GraphProto, place: Place<'_>, at: usize) -> bool {
    let node = graph.node[at].clone();
    let (from, to) = (node.input[0].clone(), node.output[0].clone());
    if from.is_empty() || to.is_empty() || is_annotated(graph, &to) {
        return false;
    }
    if !is_output(graph, &to) {
        pass.redirect(graph, place, &to, &from);
    } else {
        let makes = |n: &NodeProto| n.output.contains(&from);
        let Some(maker) = graph.node.iter().position(makes) else {
            return false;
        };
        let stays = is_output(graph, &from)
            || is_annotated(graph, &from)
            || maker > at
            || graph.initializer.iter().any(|t| t.name() == from)
            || !defined(graph).contains(from.as_str());
        if stays {
            return false;
        }
        pass.redirect(graph, place, &from, &to);
        pass.touch_node(place, &graph.node[maker]);
        for output in graph.node[maker].output.iter_mut().filter(|o| **o == from) {
            to.clone_into(output);
        }
        // By its output, it now stands before these.
        for moved in maker..at {
            pass.touch(place, Part::Node, &graph.node[moved].key());
        }
        pass.forget(graph, place, &from);
    }
    pass.touch_node(place, &node);
    graph.node.remove(at);
    if !is_output(graph, &to) {
        pass.forget(graph, place, &to);
    }
    for mask in node.output.iter().skip(1).filter(|mask| !mask.is_empty()) {
        pass.forget(graph, place, mask);
    }
    match node.op_type() {
        "Identity" => pass.counts.identities += 1,
        _ => pass.counts.dropouts += 1,
    }
    true
}
