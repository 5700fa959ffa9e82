//! The value of a classifier that the cross-entropy is taken of.

use crate::graph::{Attribute, Dim, Graph, Node};
use crate::onnx::DataType;

use super::SurgeryError;

/// The value the cross-entropy of a classifier is taken of, [N, classes].
///
/// That is the input of the `Softmax` or `LogSoftmax` over the last axis that makes the first
/// output; without one it is the first output itself. Between the two may stand `Identity`, a `Cast`
/// to a float type, and a `Flatten`, `Squeeze` or `Reshape` if the softmax is of two dimensions
/// already.
///
/// # Errors
/// When there is no output, or the output is made from a softmax over another axis or of another
/// rank.
pub fn logits(graph: &Graph) -> Result<String, SurgeryError> {
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    let producers = graph.producers();
    let producer = |value: &str| producers.get(value).map(|&i| &graph.nodes[i]);
    let mut value = output.name.as_str();
    let mut reshaped = false;
    while let Some(node) = producer(value) {
        let Some(input) = node.input(0) else { break };
        if node.is("Identity") || is_float_cast(node)? {
            value = input;
        } else if ["Flatten", "Squeeze", "Reshape"].iter().any(|o| node.is(o)) {
            reshaped = true;
            value = input;
        } else if node.is("Softmax") || node.is("LogSoftmax") {
            let declared = output.dims.as_deref().filter(|_| !reshaped);
            let two = has_two_dimensions(graph, input, declared);
            let default = if graph.opset < 13 { 1 } else { -1 };
            let fits = match node.int("axis", default)? {
                // Of unknown rank: a classifier's output is [N, classes] unless it says otherwise.
                1 | -1 if two != Some(false) && !reshaped => true,
                1 | -1 => two == Some(true),
                _ => false,
            };
            return if fits {
                Ok(input.to_owned())
            } else {
                Err(SurgeryError::Logits {
                    output: output.name.clone(),
                    node: node.to_string(),
                })
            };
        } else {
            break;
        }
    }
    Ok(output.name.clone())
}

fn is_float_cast(node: &Node) -> Result<bool, SurgeryError> {
    let to = || -> Result<_, SurgeryError> {
        Ok(i32::try_from(node.int("to", 0)?)
            .ok()
            .and_then(DataType::from_number))
    };
    Ok(node.is("Cast") && to()?.is_some_and(DataType::is_float))
}

/// Whether `value` is [N, C]; `None` if that cannot be told.
fn has_two_dimensions(graph: &Graph, value: &str, declared: Option<&[Dim]>) -> Option<bool> {
    if let Some(dims) = declared {
        return Some(dims.len() == 2);
    }
    let producers = graph.producers();
    let mut value = value;
    for _ in 0..=graph.nodes.len() {
        let node = &graph.nodes[*producers.get(value)?];
        if node.is("Gemm") || node.is("Flatten") {
            return Some(true);
        }
        if node.is("Reshape") {
            let shape = node.input(1)?;
            let fixed = match graph.initializers.get(shape) {
                Some(tensor) => tensor,
                None => match graph.nodes[*producers.get(shape)?]
                    .attributes
                    .get("value")?
                {
                    Attribute::Tensor(tensor) => tensor,
                    _ => return None,
                },
            };
            return Some(fixed.len() == 2);
        }
        if ["Conv", "GlobalAveragePool", "MaxPool", "AveragePool"]
            .iter()
            .any(|o| node.is(o))
        {
            return Some(false);
        }
        // An addition of a bias, an activation or an alias keeps the rank of what it works on.
        let keeps = [
            "Identity", "Cast", "Relu", "Clip", "Dropout", "Add", "MatMul",
        ];
        if !keeps.iter().any(|o| node.is(o)) {
            return None;
        }
        value = node
            .present_inputs()
            .find(|i| !graph.initializers.contains_key(*i))?;
    }
    None
}
