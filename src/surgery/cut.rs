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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_prefix_and_its_suffix_compute_what_the_whole_does() {
        let whole = classifier();
        let map = value("map", &[0, 4, 8, 8]);
        let prefix = extract(&whole, &whole.inputs, std::slice::from_ref(&map)).unwrap();
        let suffix = extract(&whole, &[map], &whole.outputs[..1]).unwrap();
        assert_eq!(prefix.nodes.len() + suffix.nodes.len(), 7);
        assert!(suffix.initializers.keys().eq(["fc.weight", "fc.bias"]));
        let x = numbers(2 * 3 * 64, 5);
        let middle = run(&proto(&prefix), &[(&[2, 3, 8, 8], &x)]);
        let split = run(&proto(&suffix), &[(&[2, 4, 8, 8], &middle[0])]);
        let direct = run(&proto(&whole), &[(&[2, 3, 8, 8], &x)]);
        assert_close(&split[0], &direct[0]);
    }

    #[test]
    fn initializers_may_become_inputs() {
        let whole = classifier();
        let weight = Value::fixed("fc.bias", crate::onnx::DataType::Float, &[3]);
        let inputs = [value("flat", &[0, 4]), weight];
        let part = extract(&whole, &inputs, &whole.outputs[..1]).unwrap();
        assert!(part.initializers.keys().eq(["fc.weight"]));
        assert_eq!(part.inputs, inputs);
    }

    #[test]
    fn a_node_that_is_cut_at_one_output_still_makes_the_others() {
        let mut whole = classifier();
        whole.nodes[2] = crate::graph::Node::new("split", "Split", &["bn"], &["map", "rest"])
            .with("axis", 1)
            .with("num_outputs", 2);
        whole.outputs.push(value("rest", &[0, 2, 8, 8]));
        let inputs = [whole.inputs[0].clone(), value("map", &[0, 2, 8, 8])];
        let part = extract(&whole, &inputs, &whole.outputs).unwrap();
        let split = part.nodes.iter().find(|n| n.is("Split")).unwrap();
        assert_eq!(split.outputs, ["map/cut", "rest"]);
    }

    #[test]
    fn what_cannot_be_computed_is_named() {
        let whole = classifier();
        let fail = |inputs: &[Value], outputs: &[Value]| {
            extract(&whole, inputs, outputs).unwrap_err().to_string()
        };
        let flat = value("flat", &[0, 4]);
        let error = fail(&[flat], &whole.outputs);
        assert!(error.contains("`x`") && error.contains("`conv`"), "{error}");
        assert!(fail(&[value("nowhere", &[0])], &whole.outputs).contains("`nowhere`"));
        assert!(fail(&whole.inputs, &[value("nothing", &[0])]).contains("`nothing`"));
    }
}
