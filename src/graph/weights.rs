//! Which constants of a graph are weights.

use std::collections::{HashMap, HashSet};

use super::{Attribute, Graph, Node};
use crate::onnx::Tensor;

/// The weights of a graph, one entry per reading node and input: the index of the node and the
/// name of the initializer, or of the output of a `Constant` node, in the order of the nodes. Who reads it
/// through `Identity` nodes, which exporters write for equal weights, is the reader; they are none.
///
/// Weights are float tensors that multiply, filter or shift activations. Running statistics (also where
/// they serve as something else, too), bounds and other settings of an operator are none, nor are scalars
/// and numbers in `Constant` nodes, which exporters write for themselves.
pub fn weights(graph: &Graph) -> Vec<(usize, &str)> {
    let mut constants: HashSet<&str> = HashSet::new();
    let is_weight = |t: &Tensor| t.dtype.is_float() && !t.dims.is_empty();
    constants.extend(
        graph
            .initializers
            .iter()
            .filter(|(_, t)| is_weight(t))
            .map(|(name, _)| name.as_str()),
    );
    for node in &graph.nodes {
        let holds_weights = match (
            node.attributes.get("value"),
            node.attributes.get("value_floats"),
        ) {
            (Some(Attribute::Tensor(tensor)), _) => is_weight(tensor) && tensor.len() > 1,
            (_, Some(Attribute::Floats(values))) => values.len() > 1,
            _ => false,
        };
        if holds_weights && node.is("Constant") {
            constants.extend(node.present_outputs());
        }
    }
    let mut found = Vec::new();
    let mut statistics: HashSet<&str> = HashSet::new();
    let mut aliases: HashMap<&str, &str> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let at = |&place: &usize| {
            let name = node.input(place)?;
            Some(aliases.get(name).copied().unwrap_or(name))
        };
        if node.is("BatchNormalization") && !standardises(node) {
            statistics.extend([3, 4].iter().filter_map(at));
        }
        let mut names = places(node)
            .iter()
            .filter_map(at)
            .filter(|name| constants.contains(name));
        if !node.is("Identity") {
            found.extend(names.map(|name| (index, name)));
        } else if let (Some(name), Some(output)) = (names.next(), node.output(0)) {
            aliases.insert(output, name);
        }
    }
    found.retain(|(_, name)| !statistics.contains(name));
    found
}

/// The inputs of an operator at which a constant is a weight.
fn places(node: &Node) -> &'static [usize] {
    match node.op_type.as_str() {
        _ if !node.domain.is_empty() => &[],
        "BatchNormalization" if !standardises(node) => &[1, 2],
        "Clip" | "Pad" | "Resize" | "Pow" | "Dropout" | "OneHot" | "Where" | "Max" | "Min" => &[],
        _ => &[0, 1, 2],
    }
}

/// Whether a BatchNormalization takes the statistics of what it reads.
fn standardises(node: &Node) -> bool {
    node.int("training_mode", 0).is_ok_and(|mode| mode != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Dim, Value};
    use crate::onnx::DataType;

    #[test]
    fn statistics_settings_and_numbers_are_no_weights() {
        let node =
            |op: &str, inputs: &[&str], output: &str| Node::new(output, op, inputs, &[output]);
        let of = |dims: &[usize]| Tensor::f32(dims, &vec![1.0; dims.iter().product()]);
        let constant = |name: &str, dims: &[usize]| {
            Node::new(name, "Constant", &[], &[name]).with("value", of(dims))
        };
        let names = [
            "w", "scale", "bias", "mean", "var", "one", "gain", "low", "both",
        ];
        let dims: [&[usize]; 9] = [&[2, 2, 1, 1], &[2], &[2], &[2], &[2], &[1], &[], &[], &[2]];
        let graph = Graph {
            opset: 17,
            domains: vec![],
            nodes: vec![
                constant("number", &[1]),
                constant("shift", &[2, 1, 1]),
                node("Conv", &["x", "w"], "a"),
                node(
                    "BatchNormalization",
                    &["a", "scale", "bias", "mean", "var"],
                    "b",
                ),
                node("Clip", &["b", "low"], "c"),
                node("Mul", &["c", "gain"], "d"),
                node("Mul", &["d", "number"], "e"),
                node("Add", &["shift", "e"], "f"),
                node("Mul", &["f", "one"], "g"),
                node("Identity", &["mean"], "mean2"),
                node("Identity", &["scale"], "scale2"),
                node("Identity", &["scale2"], "scale3"),
                node(
                    "BatchNormalization",
                    &["g", "scale3", "bias", "mean2", "var"],
                    "h",
                ),
                // Fresh scales and variances are equal, and written once.
                node(
                    "BatchNormalization",
                    &["h", "both", "bias", "mean2", "both"],
                    "y",
                ),
            ],
            inputs: vec![Value {
                name: "x".to_owned(),
                dtype: DataType::Float,
                dims: Some(vec![Dim::Symbolic("N".to_owned())]),
            }],
            outputs: vec![],
            initializers: names
                .iter()
                .zip(dims)
                .map(|(name, dims)| ((*name).to_owned(), of(dims)))
                .collect(),
        };
        let expected = [
            (2, "w"),
            (3, "scale"),
            (3, "bias"),
            (7, "shift"),
            (8, "one"),
            (12, "scale"),
            (12, "bias"),
            (13, "bias"),
        ];
        assert_eq!(weights(&graph), expected);
    }
}
