//! The layer that a weight belongs to.

use crate::graph::{Attribute, Graph, Node, captured_names};
use crate::onnx::Tensor;

use super::super::SurgeryError;

/// A convolution or dense layer that alone reads its weight.
pub(super) struct Layer<'g> {
    pub node: &'g Node,
    pub weight: &'g Tensor,
    /// What it reads.
    pub input: &'g str,
    /// What it makes.
    pub output: &'g str,
}

/// A refusal to rewrite at `weight`.
pub(super) fn refuse<T>(weight: &str, reason: impl Into<String>) -> Result<T, SurgeryError> {
    Err(SurgeryError::Rewrite {
        value: weight.to_owned(),
        reason: reason.into(),
    })
}

/// The float tensor of an initializer, or of a `Constant` by its output.
pub(super) fn tensor<'g>(graph: &'g Graph, name: &str) -> Option<&'g Tensor> {
    let constant = || {
        let node = graph.nodes.iter().find(|n| n.output(0) == Some(name))?;
        match node.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) if node.is("Constant") => Some(tensor),
            _ => None,
        }
    };
    let tensor = graph.initializers.get(name).or_else(constant);
    tensor.filter(|t| t.dtype.is_float())
}

impl<'g> Layer<'g> {
    /// The layer of `weight`, which has one of these operators.
    ///
    /// # Errors
    /// When there is no such tensor, or something else reads it than one layer, as its weight.
    pub fn of(graph: &'g Graph, weight: &str, operators: &[&str]) -> Result<Self, SurgeryError> {
        let Some(tensor) = tensor(graph, weight) else {
            return refuse(weight, "the model has no float tensor of this name");
        };
        let reads = |node: &&Node| node.present_inputs().any(|i| i == weight);
        let mut readers = graph.nodes.iter().filter(reads);
        let (Some(node), None) = (readers.next(), readers.next()) else {
            return refuse(weight, "not exactly one node reads it");
        };
        let places = node.inputs.iter().filter(|i| *i == weight).count();
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            return refuse(weight, format!("node {node} is malformed"));
        };
        if places != 1 || node.input(1) != Some(weight) || !operators.iter().any(|o| node.is(o)) {
            let expected = operators.join(", ");
            return refuse(
                weight,
                format!("node {node} does not read it as the weight of {expected}"),
            );
        }
        if graph.outputs.iter().any(|o| o.name == output) {
            return refuse(weight, format!("node {node} makes the model's output"));
        }
        let mut inside = Vec::new();
        for inner in graph.nodes.iter().flat_map(Node::subgraphs) {
            captured_names(inner, &mut inside, 0);
        }
        if inside.iter().any(|name| [weight, output].contains(name)) {
            return refuse(
                weight,
                format!("a graph inside of a node reads it, or what node {node} makes"),
            );
        }
        Ok(Layer {
            node,
            weight: tensor,
            input,
            output,
        })
    }
}
