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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The classifier with `nodes` after its Gemm `fc`, the last of which makes the output.
    fn ending(nodes: Vec<Node>, opset: i64, dims: &[usize]) -> Graph {
        let mut graph = classifier();
        graph.opset = opset;
        graph.nodes.truncate(7);
        let output = nodes.last().map_or("fc", |n| &n.outputs[0]).to_owned();
        graph.nodes.extend(nodes);
        graph.outputs = vec![value(&output, dims)];
        graph
    }

    fn node(name: &str, op: &str, input: &str) -> Node {
        Node::new(name, op, &[input], &[name])
    }

    #[test]
    fn an_output_without_softmax_is_the_logits() {
        let graph = ending(vec![], 17, &[0, 3]);
        assert_eq!(logits(&graph).unwrap(), "fc");
        let graph = ending(vec![node("s", "Sigmoid", "fc")], 17, &[0, 3]);
        assert_eq!(logits(&graph).unwrap(), "s");
    }

    #[test]
    fn a_softmax_over_the_last_axis_is_looked_through() {
        for (softmax, opset) in [
            (node("p", "Softmax", "fc"), 17),
            (node("p", "LogSoftmax", "fc").with("axis", 1), 17),
            (node("p", "Softmax", "fc"), 9),
        ] {
            let alias = node("q", "Identity", "p");
            let cast = node("r", "Cast", "q").with("to", 1);
            let flat = node("s", "Flatten", "r");
            let graph = ending(vec![softmax, alias, cast, flat], opset, &[0, 3]);
            assert_eq!(logits(&graph).unwrap(), "fc");
        }
    }

    #[test]
    fn a_softmax_over_another_axis_is_refused() {
        let graph = ending(
            vec![node("p", "Softmax", "fc").with("axis", 0)],
            17,
            &[0, 3],
        );
        assert!(
            logits(&graph)
                .unwrap_err()
                .to_string()
                .contains("`p` (Softmax)")
        );
        let wide = node("p", "Softmax", "map").with("axis", 1);
        assert!(logits(&ending(vec![wide.clone()], 17, &[0, 4, 8, 8])).is_err());
        let pooled = node("p", "Softmax", "pool").with("axis", 1);
        let flat = node("q", "Flatten", "p");
        assert!(logits(&ending(vec![pooled, flat], 17, &[0, 4])).is_err());
    }
}
