//! Taking a part out of a graph.

use std::collections::HashSet;

use crate::graph::{Graph, GraphError, Value};

use super::SurgeryError;

/// The part of `graph` that computes `outputs` from `inputs`.
///
/// Inputs may be any values of the graph: inputs, values in the middle, and initializers, which
/// then are fed instead of stored. Inputs that the part does not read stay declared. The other
/// outputs of a node of which one output becomes an input are still computed by it.
///
/// # Errors
/// [`SurgeryError::Unreachable`] names a value that is not computable from `inputs`, or is not in
/// the graph.
pub fn extract(graph: &Graph, inputs: &[Value], outputs: &[Value]) -> Result<Graph, SurgeryError> {
    let fed: HashSet<&str> = inputs.iter().map(|v| v.name.as_str()).collect();
    let mut known: HashSet<&str> = graph
        .nodes
        .iter()
        .flat_map(|n| n.present_outputs())
        .chain(graph.inputs.iter().map(|v| v.name.as_str()))
        .chain(graph.initializers.keys().map(String::as_str))
        .collect();
    for (values, reader) in [(inputs, "the cut"), (outputs, "the outputs of the cut")] {
        if let Some(value) = values.iter().find(|v| !known.contains(v.name.as_str())) {
            return Err(SurgeryError::Unreachable {
                value: value.name.clone(),
                reader: reader.to_owned(),
            });
        }
    }

    let mut nodes = Vec::with_capacity(graph.nodes.len());
    let mut spare: Vec<String> = Vec::new();
    for node in &graph.nodes {
        if node.present_outputs().all(|o| fed.contains(o)) {
            continue;
        }
        let mut node = node.clone();
        for output in &mut node.outputs {
            if fed.contains(output.as_str()) {
                let mut name = format!("{output}/cut");
                while known.contains(name.as_str()) || spare.contains(&name) {
                    name.push('_');
                }
                spare.push(name.clone());
                *output = name;
            }
        }
        nodes.push(node);
    }
    known.clear();

    let mut part = Graph {
        opset: graph.opset,
        domains: graph.domains.clone(),
        nodes,
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        initializers: graph
            .initializers
            .iter()
            .filter(|(name, _)| !fed.contains(name.as_str()))
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect(),
    };
    part.prune();
    part.sort().map_err(|e| match e {
        GraphError::Undefined { node, value } => SurgeryError::Unreachable {
            value,
            reader: format!("node {node}"),
        },
        e => e.into(),
    })?;
    Ok(part)
}
