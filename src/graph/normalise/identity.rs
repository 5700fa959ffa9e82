//! Identity nodes go, and Dropout with them, whose inference form is the identity. A Dropout that drops
//! at inference, too, because its `training_mode` is set, is refused: its model answers at random.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::graph::{Graph, GraphError, Node};
use crate::onnx::Tensor;

/// Graphs with control flow are left alone: their subgraphs read values by name.
pub(super) fn remove(graph: &mut Graph) -> Result<(), GraphError> {
    if graph.nodes.iter().any(|n| n.subgraphs().next().is_some()) {
        return Ok(());
    }
    graph.sort()?;
    let declared: HashSet<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
    let fixed: HashSet<String> = graph
        .initializers
        .keys()
        .chain(graph.inputs.iter().map(|i| &i.name))
        .chain(&declared)
        .cloned()
        .collect();
    let read: HashSet<String> = graph
        .nodes
        .iter()
        .flat_map(|n| n.present_inputs())
        .chain(declared.iter().map(String::as_str))
        .map(str::to_owned)
        .collect();
    // Values by the name they go under from here on.
    let mut renamed: HashMap<String, String> = HashMap::new();
    // Values that take over the name of a graph output, which their Identity defined.
    let mut promoted: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        for input in &mut node.inputs {
            if let Some(name) = renamed.get(input) {
                input.clone_from(name);
            }
        }
        if !node.elements().is_copy() {
            kept.push(node);
            continue;
        }
        let Some(from) = node.input(0).map(str::to_owned) else {
            return Err(node.error("input 0 is missing"));
        };
        if node.is("Dropout") && drops(&node, &graph.initializers) {
            return Err(GraphError::TrainingMode {
                node: node.to_string(),
                why: "its input training_mode is not false".to_owned(),
            });
        }
        if let Some(mask) = node.output(1).filter(|m| read.contains(*m)) {
            return Err(node.error(format!("its mask `{mask}` is used")));
        }
        let Some(to) = node.output(0).map(str::to_owned) else {
            continue;
        };
        if !declared.contains(&to) {
            renamed.insert(to, from);
        } else if fixed.contains(&from) || promoted.contains_key(&from) {
            // Both names must stay: one node has to join them.
            node.op_type = "Identity".to_owned();
            node.attributes.clear();
            node.inputs.truncate(1);
            node.outputs.truncate(1);
            kept.push(node);
        } else {
            promoted.insert(from, to);
        }
    }
    for name in kept
        .iter_mut()
        .flat_map(|n| n.inputs.iter_mut().chain(&mut n.outputs))
    {
        if let Some(promoted) = promoted.get(name) {
            name.clone_from(promoted);
        }
    }
    graph.nodes = kept;
    Ok(())
}

/// Whether a Dropout drops at inference: since opset 12 it does where an input says so, of a share of 0.5
/// if no other is given.
/// Source: <https://onnx.ai/onnx/operators/onnx__Dropout.html>.
fn drops(node: &Node, initializers: &IndexMap<String, Tensor>) -> bool {
    let number = |index: usize| initializers.get(node.input(index)?);
    let trains = match node.input(2) {
        None => false,
        Some(_) => number(2).and_then(Tensor::to_i64).as_deref() != Some(&[0]),
    };
    trains && number(1).and_then(Tensor::to_f32).as_deref() != Some(&[0.0])
}
