//! What a parameter does to the data that it meets.

use std::collections::HashMap;

use crate::graph::operators::Class;
use crate::graph::{Graph, Weight};

/// What a parameter does to the data that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is multiplied with as a matrix or kernel, looked up, or added and not the same for all positions.
    Weight,
    /// It is added, one number per channel.
    Bias,
    /// One number per channel by which what was normalised is multiplied. So is any other scale per channel, as the
    /// layer scale of a residual branch.
    Scale,
    /// What is then added, one number per channel.
    Shift,
}

/// The roles of the parameters of a graph; of one that has several, [`Role::Weight`].
pub(super) fn roles(graph: &Graph, weights: &[Weight<'_>]) -> HashMap<String, Role> {
    let scaled: Vec<&str> = weights
        .iter()
        .filter(|w| w.is_per_channel() && graph.nodes[w.node].is("Mul"))
        .filter_map(|w| graph.nodes[w.node].output(0))
        .collect();
    let mut roles = HashMap::new();
    for weight in weights {
        let node = &graph.nodes[weight.node];
        let per_channel = weight.is_per_channel();
        let is_norm = node.is_a(Class::Norm);
        let in_layer = matches!(node.operator().map(|o| o.class), Some(Class::Layer(_)));
        let adds = node.is("Add") || node.is("Sub");
        let role = match weight.place {
            1 if is_norm => Role::Scale,
            2 if is_norm => Role::Shift,
            2.. if in_layer && per_channel => Role::Bias,
            _ if node.is("Mul") && per_channel => Role::Scale,
            _ if adds && per_channel => match node.present_inputs().any(|i| scaled.contains(&i)) {
                true => Role::Shift,
                false => Role::Bias,
            },
            _ => Role::Weight,
        };
        roles
            .entry(weight.name.to_owned())
            .and_modify(|known| {
                if *known != role {
                    *known = Role::Weight;
                }
            })
            .or_insert(role);
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Node, Value, weights};
    use crate::onnx::Tensor;

    #[test]
    fn biases_scales_and_shifts_are_told_by_where_they_meet_the_data() {
        let mut graph = Graph {
            inputs: vec![Value::batched("x", &[4, 8, 8])],
            outputs: vec![Value::batched("out", &[4, 8, 8])],
            ..Graph::new(17)
        };
        for (name, dims) in [
            ("kernel", &[4usize, 4, 3, 3][..]),
            ("kernel.bias", &[4]),
            ("scale", &[4]),
            ("shift", &[4]),
            ("mean", &[4]),
            ("var", &[4]),
            ("gamma", &[4, 1, 1]),
            ("beta", &[4, 1, 1]),
            ("alone", &[4, 1, 1]),
            ("positions", &[1, 4, 8, 8]),
        ] {
            let values: Vec<f32> = (1..=dims.iter().product()).map(|i| i as f32).collect();
            graph
                .initializers
                .insert(name.to_owned(), Tensor::f32(dims, &values));
        }
        let nodes = [
            ("Conv", &["x", "kernel", "kernel.bias"][..], "conv"),
            (
                "BatchNormalization",
                &["conv", "scale", "shift", "mean", "var"],
                "norm",
            ),
            ("Mul", &["norm", "gamma"], "scaled"),
            ("Add", &["scaled", "beta"], "shifted"),
            ("Relu", &["shifted"], "relu"),
            ("Add", &["relu", "alone"], "biased"),
            ("Add", &["biased", "positions"], "out"),
        ];
        for (op, inputs, output) in nodes {
            let mut node = Node::new(output, op, inputs, &[output]);
            if op == "Conv" {
                node = node.with("pads", vec![1i64; 4]);
            }
            graph.nodes.push(node);
        }
        let roles = roles(&graph, &weights(&graph));
        for (name, role) in [
            ("kernel", Some(Role::Weight)),
            ("kernel.bias", Some(Role::Bias)),
            ("scale", Some(Role::Scale)),
            ("shift", Some(Role::Shift)),
            ("mean", None),
            ("gamma", Some(Role::Scale)),
            ("beta", Some(Role::Shift)),
            ("alone", Some(Role::Bias)),
            ("positions", Some(Role::Weight)),
        ] {
            assert_eq!(roles.get(name).copied(), role, "{name}");
        }
    }
}
