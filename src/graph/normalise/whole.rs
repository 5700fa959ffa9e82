//! Inputs of whole numbers as inputs of floats that are whole.

use std::collections::HashSet;

use super::super::operators::Elements;
use super::super::{Attribute, Graph, GraphError, Node};
use crate::onnx::DataType;

/// Makes inputs of bytes or 32-bit integers floats of the same values, where each comes to a `Cast` to float as it is, in
/// whatever order and form: pixels, say, that the network scales itself. The graph is sorted.
///
/// # Errors
/// The node that computes with the whole numbers themselves; the graph is then unchanged.
pub fn whole_as_floats(graph: &mut Graph) -> Result<(), GraphError> {
    let is_whole = |dtype| matches!(dtype, DataType::Uint8 | DataType::Int32);
    let whole = graph.inputs.iter().filter(|v| is_whole(v.dtype));
    let mut whole: HashSet<String> = whole.map(|v| v.name.clone()).collect();
    if whole.is_empty() {
        return Ok(());
    }
    let mut casts = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if !node.present_inputs().any(|name| whole.contains(name)) || node.is("Shape") {
            continue;
        }
        let passes = Elements::Picked == node.elements() || node.elements().is_rearrangement();
        let is_first = node.input(0).is_some_and(|name| whole.contains(name));
        if !(passes && is_first) {
            return Err(node.error(
                "it computes with the whole numbers of the model's input, through which gradients are not known to \
                 flow: they may be moved and cast to float",
            ));
        }
        match target(node)? {
            None => whole.extend(node.present_outputs().map(str::to_owned)),
            Some(dtype) if dtype.is_float() => {}
            Some(DataType::Int32 | DataType::Int64) => {
                casts.push(index);
                whole.extend(node.present_outputs().map(str::to_owned));
            }
            Some(dtype) => {
                return Err(node.error(format!("it makes {dtype:?} of the model's input")));
            }
        }
    }
    for index in casts {
        let to = Attribute::Int(DataType::Float as i64);
        graph.nodes[index].attributes.insert("to".to_owned(), to);
    }
    for input in &mut graph.inputs {
        if whole.contains(&input.name) {
            input.dtype = DataType::Float;
        }
    }
    Ok(())
}

/// The type that a `Cast` makes; `None` of another node.
fn target(node: &Node) -> Result<Option<DataType>, GraphError> {
    if node.elements() != Elements::Converted {
        return Ok(None);
    }
    let to = i32::try_from(node.int("to", 0)?).ok();
    Ok(to.and_then(DataType::from_number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Value;

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph {
            inputs: vec![Value {
                dtype: DataType::Uint8,
                ..Value::batched("x", &[4, 4, 3])
            }],
            outputs: vec![Value::batched("y", &[3, 4, 4])],
            nodes,
            ..Graph::new(21)
        }
    }

    fn turn(from: &str, to: &str) -> Node {
        Node::new(to, "Transpose", &[from], &[to]).with("perm", vec![0i64, 3, 1, 2])
    }

    fn cast(from: &str, to: &str, dtype: DataType) -> Node {
        Node::new(to, "Cast", &[from], &[to]).with("to", dtype as i64)
    }

    #[test]
    fn bytes_that_come_to_a_cast_as_they_are_are_floats() {
        for nodes in [
            vec![cast("x", "c", DataType::Float), turn("c", "y")],
            vec![turn("x", "t"), cast("t", "y", DataType::Float)],
            vec![
                cast("x", "i", DataType::Int32),
                turn("i", "t"),
                cast("t", "y", DataType::Float),
            ],
        ] {
            let mut graph = graph(nodes);
            whole_as_floats(&mut graph).unwrap();
            assert_eq!(graph.inputs[0].dtype, DataType::Float);
            let casts = graph.nodes.iter().filter(|n| n.is("Cast"));
            for node in casts {
                assert_eq!(node.int("to", 0).unwrap(), DataType::Float as i64);
            }
        }
    }

    #[test]
    fn a_node_that_computes_with_bytes_is_named() {
        let nodes = vec![Node::new("twice", "Add", &["x", "x"], &["y"])];
        let mut graph = graph(nodes);
        let error = whole_as_floats(&mut graph).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
        assert_eq!(graph.inputs[0].dtype, DataType::Uint8);
    }
}
