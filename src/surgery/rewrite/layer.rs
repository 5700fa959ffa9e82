//! The layer that a weight belongs to.

use crate::graph::{Attribute, Graph, Node, captured_names};
use crate::onnx::{DataType, Tensor};

use super::super::SurgeryError;

/// A convolution or dense layer that alone reads its weight.
pub(super) struct Layer<'g> {
    pub node: &'g Node,
    pub weight: &'g Tensor,
    /// The float type in which it reads the weight.
    pub dtype: DataType,
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
        let stored = known(graph, weight)?;
        Layer::reading(graph, weight, (stored, stored.dtype), operators)
    }

    /// As [`Layer::of`], also where a `Cast` stands between the tensor and the layer, as of weights that are stored in
    /// float16 and read in float32.
    ///
    /// # Errors
    /// As [`Layer::of`].
    pub fn of_stored(
        graph: &'g Graph,
        weight: &str,
        operators: &[&str],
    ) -> Result<Self, SurgeryError> {
        let stored = known(graph, weight)?;
        let Some((value, dtype)) = cast(graph, weight) else {
            return Layer::reading(graph, weight, (stored, stored.dtype), operators);
        };
        if captured(graph).any(|name| name == weight) {
            return refuse(weight, "a graph inside of a node reads it");
        }
        Layer::reading(graph, value, (stored, dtype), operators)
    }

    /// The layer whose weight is the value `read`, which is the tensor `weight` in this type.
    fn reading(
        graph: &'g Graph,
        read: &str,
        (weight, dtype): (&'g Tensor, DataType),
        operators: &[&str],
    ) -> Result<Self, SurgeryError> {
        let Some(node) = only_reader(graph, read) else {
            return refuse(read, "not exactly one node reads it");
        };
        let places = node.inputs.iter().filter(|i| *i == read).count();
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            return refuse(read, format!("node {node} is malformed"));
        };
        if places != 1 || node.input(1) != Some(read) || !operators.iter().any(|o| node.is(o)) {
            let expected = operators.join(", ");
            return refuse(
                read,
                format!("node {node} does not read it as the weight of {expected}"),
            );
        }
        if graph.outputs.iter().any(|o| o.name == output) {
            return refuse(read, format!("node {node} makes the model's output"));
        }
        if captured(graph).any(|name| [read, output].contains(&name)) {
            return refuse(
                read,
                format!("a graph inside of a node reads it, or what node {node} makes"),
            );
        }
        Ok(Layer {
            node,
            weight,
            dtype,
            input,
            output,
        })
    }
}

fn known<'g>(graph: &'g Graph, weight: &str) -> Result<&'g Tensor, SurgeryError> {
    match tensor(graph, weight) {
        Some(tensor) => Ok(tensor),
        None => refuse(weight, "the model has no float tensor of this name"),
    }
}

fn only_reader<'g>(graph: &'g Graph, value: &str) -> Option<&'g Node> {
    let reads = |node: &&Node| node.present_inputs().any(|i| i == value);
    let mut readers = graph.nodes.iter().filter(reads);
    match (readers.next(), readers.next()) {
        (Some(node), None) => Some(node),
        _ => None,
    }
}

/// The value that a `Cast` to a float type makes of `weight`, and that type, where nothing else reads the weight.
fn cast<'g>(graph: &'g Graph, weight: &str) -> Option<(&'g str, DataType)> {
    let node = only_reader(graph, weight).filter(|node| node.is("Cast"))?;
    let number = i32::try_from(node.int("to", 0).ok()?).ok()?;
    let dtype = DataType::from_number(number).filter(|dtype| dtype.is_float())?;
    let value = node.output(0)?;
    let is_output = graph.outputs.iter().any(|o| o.name == value);
    (!is_output).then_some((value, dtype))
}

/// The values that graphs inside of nodes read from around them.
fn captured(graph: &Graph) -> impl Iterator<Item = &str> {
    let mut inside = Vec::new();
    for inner in graph.nodes.iter().flat_map(Node::subgraphs) {
        captured_names(inner, &mut inside, 0);
    }
    inside.into_iter()
}
