//! The Dropout nodes that a model has itself.

use std::collections::HashMap;

use crate::graph::{Attribute, Graph, GraphError, Node, following, reaching, weights};

use super::Dropout;
use super::logits::has_two_dimensions;

/// The model's own dropout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnDropout {
    /// What training can apply, on values [N, width].
    pub applied: Vec<Dropout>,
    /// Names of the nodes that it cannot, or that lie before the head.
    pub idle: Vec<String>,
}

/// The Dropout nodes on the way to the first output that drop something in training: those behind the value `features` on a
/// vector per sample that nothing else reads, before a dense layer, are applied there; the others are not,
/// and without `features` none is.
///
/// # Errors
/// When an attribute has another type.
pub fn own_dropout(graph: &Graph, features: Option<&str>) -> Result<OwnDropout, GraphError> {
    let behind = following(graph, features);
    let outputs: Vec<&str> = graph
        .outputs
        .iter()
        .take(1)
        .map(|o| o.name.as_str())
        .collect();
    let used = reaching(graph, &outputs);
    let producers = graph.producers();
    let consumers = graph.consumers();
    let weights = weights(graph);
    let mut found = OwnDropout::default();
    let serves = |n: &&Node| n.is("Dropout") && n.output(0).is_some_and(|o| used.contains(o));
    for node in graph.nodes.iter().filter(serves) {
        let ratio = ratio(graph, node, &producers)?;
        if ratio <= 0.0 {
            continue;
        }
        // The value whose readers all read what is dropped.
        let alone = |value: &str| {
            let once = consumers.get(value).is_some_and(|r| r.len() == 1);
            once && graph.outputs.iter().all(|o| o.name != value)
        };
        let source = || {
            let mut value = node.input(0).filter(|v| alone(v))?;
            while let Some(before) = producers.get(value).map(|&at| &graph.nodes[at])
                && before.is("Identity")
            {
                value = before.input(0).filter(|v| alone(v))?;
            }
            let dropped = producers.get(value).map(|&at| &graph.nodes[at]);
            // Of two in a row the normal form keeps one value.
            (!dropped.is_some_and(|n| n.is("Dropout"))).then_some(value)
        };
        let width = || {
            let readers = consumers.get(node.output(0)?)?;
            let mut widths = weights.iter().filter_map(|w| {
                let reader = &graph.nodes[w.node];
                let first = readers.contains(&w.node) && reader.input(0) == node.output(0);
                match (reader.op_type.as_str(), w.place, w.dims.as_slice()) {
                    _ if !first => None,
                    ("Gemm", 1, [rows, columns]) if reader.int("transA", 0).ok()? == 0 => {
                        let transposed = reader.int("transB", 0).ok()? != 0;
                        Some(if transposed { *columns } else { *rows })
                    }
                    ("MatMul", 1, [rows, _]) => {
                        let two = has_two_dimensions(graph, node.input(0)?, None);
                        Some(*rows).filter(|_| two == Some(true))
                    }
                    _ => None,
                }
            });
            widths.next()
        };
        let inside = node.input(0).is_some_and(|v| behind.contains(v)) && ratio < 1.0;
        match source().zip(width()).filter(|_| inside) {
            Some((value, width)) => found.applied.push(Dropout {
                value: value.to_owned(),
                ratio,
                width,
            }),
            None => found.idle.push(node.name.clone()),
        }
    }
    Ok(found)
}

/// The share that a Dropout drops when it runs in training: an attribute before opset 12, then an input.
fn ratio(graph: &Graph, node: &Node, producers: &HashMap<&str, usize>) -> Result<f32, GraphError> {
    const DEFAULT: f32 = 0.5;
    let Some(name) = node.input(1) else {
        return node.float("ratio", DEFAULT);
    };
    let constant = || {
        let tensor = match graph.initializers.get(name) {
            Some(tensor) => tensor,
            None => match graph.nodes[*producers.get(name)?].attributes.get("value")? {
                Attribute::Tensor(tensor) => tensor,
                _ => return None,
            },
        };
        tensor.to_f32()?.first().copied()
    };
    Ok(constant().unwrap_or(DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Value;
    use crate::onnx::Tensor;

    fn node(op: &str, inputs: &[&str], output: &str) -> Node {
        Node::new(output, op, inputs, &[output])
    }

    #[test]
    fn dropout_before_dense_layers_of_the_head_is_applied_and_the_rest_is_named() {
        let mut graph = Graph {
            nodes: vec![
                node("Dropout", &["x"], "on_map"),
                node("Flatten", &["on_map"], "flat"),
                node("Dropout", &["flat", "third"], "a"),
                node("Gemm", &["a", "w1"], "b"),
                node("Relu", &["b"], "c"),
                node("Dropout", &["c"], "d"),
                node("MatMul", &["d", "w2"], "e"),
                node("Dropout", &["e", "zero"], "f"),
                node("Dropout", &["f"], "y"),
            ],
            inputs: vec![Value::batched("x", &[2, 2, 2])],
            outputs: vec![Value::batched("y", &[3])],
            ..Graph::new(17)
        };
        for (name, dims) in [("w1", [8, 4]), ("w2", [4, 3])] {
            let values = vec![1.0; dims[0] * dims[1]];
            let tensor = Tensor::f32(&dims, &values);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        for (name, value) in [("third", 0.25), ("zero", 0.0)] {
            let tensor = Tensor::scalar_f32(value);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let found = own_dropout(&graph, Some("x")).unwrap();
        let applied: Vec<_> = found
            .applied
            .iter()
            .map(|d| (&*d.value, d.ratio, d.width))
            .collect();
        assert_eq!(applied, [("flat", 0.25, 8), ("c", 0.5, 4)]);
        assert_eq!(found.idle, ["on_map", "y"]);
        let before = own_dropout(&graph, None).unwrap();
        assert!(before.applied.is_empty());
        assert_eq!(before.idle.len(), 4);
    }
}
