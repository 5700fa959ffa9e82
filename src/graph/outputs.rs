//! Which of a model's outputs is its class scores.

use std::collections::HashMap;

use crate::onnx::DataType;
use crate::onnx::messages::GraphProto;

use super::operators::{Class, Elements};
use super::{Dim, Graph, GraphError, Node, Value};

/// Puts the class scores first among the outputs of a sorted graph, as [`Graph::from_model`] says;
/// `asked`: the value that is asked for.
pub(super) fn lead(
    graph: &mut Graph,
    proto: &GraphProto,
    asked: Option<&str>,
) -> Result<(), GraphError> {
    let declared = proto.output.iter().filter_map(|o| o.name.as_deref());
    let scores = match asked {
        Some(value) => wanted(graph, value, declared)?,
        None => match found(graph, declared) {
            Some(value) => value,
            None => return refuse_all(graph, proto),
        },
    };
    graph.outputs.retain(|output| output.name != scores.name);
    graph.outputs.insert(0, scores);
    Ok(())
}

/// Nothing is found where no output follows from an input by floats. The outputs stay as they are, but for
/// a model that has none which is a tensor.
fn refuse_all(graph: &Graph, proto: &GraphProto) -> Result<(), GraphError> {
    match (graph.outputs.first(), proto.output.first()) {
        (None, Some(first)) => Err(super::value_from_proto(first)
            .err()
            .map_or(GraphError::Unsupported("no output".into()), Into::into)),
        _ => Ok(()),
    }
}

fn wanted<'p>(
    graph: &Graph,
    value: &str,
    declared: impl Iterator<Item = &'p str>,
) -> Result<Value, GraphError> {
    if let Some(output) = graph.outputs.iter().find(|o| o.name == value) {
        return Ok(output.clone());
    }
    match graph.producers().contains_key(value) {
        true => Ok(inner(value)),
        false => Err(GraphError::NoScores {
            value: value.to_owned(),
            outputs: declared
                .map(|o| format!("`{o}`"))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// A value that is no output of the file.
fn inner(name: &str) -> Value {
    Value {
        name: name.to_owned(),
        dtype: DataType::Float,
        dims: None,
    }
}

fn found<'p>(graph: &Graph, declared: impl Iterator<Item = &'p str>) -> Option<Value> {
    let producers = graph.producers();
    let depths = depths(graph);
    let mut best: Option<((bool, usize), Value)> = None;
    for name in declared {
        let source = behind(graph, &producers, name).unwrap_or(name);
        let known = graph.outputs.iter().find(|o| o.name == source).cloned();
        let value = match known {
            Some(value) => value,
            None if source != name => inner(source),
            None => continue,
        };
        let Some(&depth) = depths.get(source) else {
            continue;
        };
        let rank = (is_row(&value), depth);
        if value.dtype.is_float() && best.as_ref().is_none_or(|(most, _)| rank > *most) {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| value)
}

/// The scores of which an output is the largest, their places, or a table.
fn behind<'g>(graph: &'g Graph, producers: &HashMap<&str, usize>, output: &str) -> Option<&'g str> {
    let mut node = &graph.nodes[*producers.get(output)?];
    while picks(node).is_none() {
        let moves = matches!(node.elements(), Elements::Reshaped | Elements::Converted);
        if !moves && !node.elements().is_copy() {
            return None;
        }
        node = &graph.nodes[*producers.get(node.input(0)?)?];
    }
    picks(node)
}

fn picks(node: &Node) -> Option<&str> {
    let table = node.domain == "ai.onnx.ml" && node.op_type == "ZipMap";
    let largest = node.is("TopK") || node.is("ArgMax");
    node.input(0).filter(|_| table || largest)
}

/// Whether a value may have a number per class and nothing else: [N, C], or that with dimensions of 1.
fn is_row(value: &Value) -> bool {
    value
        .dims
        .as_deref()
        .is_none_or(|dims| dims.len() >= 2 && dims[2..].iter().all(|d| *d == Dim::Known(1)))
}

/// How many layers lead to each value that follows from an input.
fn depths(graph: &Graph) -> HashMap<&str, usize> {
    let inputs = graph.inputs.iter().map(|i| (i.name.as_str(), 0));
    let mut depths: HashMap<&str, usize> = inputs.collect();
    for node in graph.nodes.iter().filter(|n| !n.gives_sizes()) {
        let before = super::order::names_read(node).into_iter();
        let Some(before) = before.filter_map(|v| depths.get(v)).max() else {
            continue;
        };
        let is_layer = node
            .operator()
            .is_some_and(|o| matches!(o.class, Class::Layer(_)));
        let depth = before + usize::from(is_layer);
        depths.extend(node.present_outputs().map(|o| (o, depth)));
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of nodes that read one value and make one: name, operator, input.
    fn scores(
        nodes: &[(&str, &str, &str)],
        outputs: &[(&str, &[usize])],
        asked: Option<&str>,
    ) -> Result<Vec<String>, GraphError> {
        let node = |&(name, op, input): &(&str, &str, &str)| Node::new(name, op, &[input], &[name]);
        let value = |&(name, dims): &(&str, &[usize])| Value::batched(name, dims);
        let mut graph = Graph {
            nodes: nodes.iter().map(node).collect(),
            inputs: vec![Value::batched("x", &[3, 8, 8])],
            outputs: outputs.iter().map(value).collect(),
            ..Graph::new(17)
        };
        let proto = graph.to_model(usize::MAX).0.graph.unwrap();
        lead(&mut graph, &proto, asked)?;
        Ok(graph.outputs.into_iter().map(|o| o.name).collect())
    }

    #[test]
    fn the_scores_are_the_row_that_the_most_layers_lead_to() {
        let trunk = [
            ("a", "Conv", "x"),
            ("aux", "Gemm", "a"),
            ("b", "Conv", "a"),
            ("c", "Conv", "b"),
            ("y", "Gemm", "c"),
            ("p", "Softmax", "y"),
        ];
        let of = |outputs: &[(&str, &[usize])], asked| scores(&trunk, outputs, asked).unwrap();
        assert_eq!(of(&[("aux", &[3]), ("y", &[3])], None), ["y", "aux"]);
        assert_eq!(of(&[("y", &[3]), ("aux", &[3])], None), ["y", "aux"]);
        assert_eq!(
            of(&[("y", &[3]), ("p", &[3])], None),
            ["y", "p"],
            "the first of equals"
        );
        assert_eq!(
            of(&[("c", &[8, 2, 2]), ("aux", &[3])], None),
            ["aux", "c"],
            "no map"
        );
        assert_eq!(
            of(&[("c", &[8, 2, 2]), ("y", &[3, 1, 1])], None),
            ["y", "c"]
        );
        assert_eq!(of(&[("c", &[8, 2, 2])], None), ["c"]);
        assert_eq!(of(&[("aux", &[3]), ("y", &[3])], Some("aux")), ["aux", "y"]);
        assert_eq!(
            of(&[("aux", &[3]), ("p", &[3])], Some("y")),
            ["y", "aux", "p"]
        );
        let error = scores(&trunk, &[("aux", &[3]), ("y", &[3])], Some("z")).unwrap_err();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(
            text.contains("`z`") && text.contains("`aux`, `y`"),
            "{text}"
        );
    }

    #[test]
    fn behind_what_picks_of_the_scores_these_are_what_it_reads() {
        for pick in ["TopK", "ArgMax"] {
            let nodes = [
                ("y", "Gemm", "x"),
                ("p", "Softmax", "y"),
                ("best", pick, "p"),
                ("flat", "Squeeze", "best"),
            ];
            let of = |outputs: &[(&str, &[usize])]| scores(&nodes, outputs, None).unwrap();
            assert_eq!(of(&[("flat", &[])]), ["p", "flat"], "{pick}");
            assert_eq!(of(&[("best", &[1]), ("p", &[3])]), ["p", "best"], "{pick}");
        }
    }
}
