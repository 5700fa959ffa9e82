//! Constant nodes become initializers under the name of their output, so that a weight which a
//! writer put into a Constant node is found by that name.

use crate::graph::{Attribute, Graph, GraphError, Node};
use crate::onnx::Tensor;

pub(super) fn hoist(graph: &mut Graph) -> Result<(), GraphError> {
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        if !node.is("Constant") {
            graph.nodes.push(node);
            continue;
        }
        let Some(name) = node.output(0) else {
            continue;
        };
        let tensor = value(&node)?;
        if graph.initializers.insert(name.to_owned(), tensor).is_some() {
            return Err(GraphError::Redefined {
                value: name.to_owned(),
            });
        }
    }
    Ok(())
}

fn value(node: &Node) -> Result<Tensor, GraphError> {
    let mut attributes = node.attributes.iter();
    let (Some((name, value)), None) = (attributes.next(), attributes.next()) else {
        return Err(node.error("it does not hold exactly one value"));
    };
    Ok(match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => tensor.clone(),
        ("value_float", Attribute::Float(value)) => Tensor::scalar_f32(*value),
        ("value_floats", Attribute::Floats(values)) => Tensor::f32(&[values.len()], values),
        ("value_int", Attribute::Int(value)) => Tensor::scalar_i64(*value),
        ("value_ints", Attribute::Ints(values)) => Tensor::i64s(values),
        _ => return Err(node.error(format!("a constant in `{name}` is not supported"))),
    })
}
