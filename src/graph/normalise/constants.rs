//! Constant nodes become initializers under the name of their output, so that a weight which a
//! writer put into a Constant node is found by that name; scales that are joined of such constants become
//! one.

use crate::graph::{Attribute, Builder, Graph, GraphError, Node};
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

/// Joins the scales of a `Resize` that PyTorch's older exporter writes as a `Concat` of two constants.
/// Float constants are not folded elsewhere, as they might be weights; these cannot.
pub(super) fn join_scales(graph: &mut Graph) {
    let producers = graph.producers();
    let mut joined = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let place = match node.op_type.as_str() {
            _ if !node.domain.is_empty() => continue,
            "Resize" => 2,
            "Upsample" => 1,
            _ => continue,
        };
        let scales = node.input(place).and_then(|name| producers.get(name));
        if let Some(tensor) = scales.and_then(|&at| joint(graph, &graph.nodes[at])) {
            joined.push((index, place, tensor));
        }
    }
    let mut builder = Builder::new(graph);
    for (index, place, tensor) in joined {
        let name = builder.constant(tensor);
        builder.graph_mut().nodes[index].inputs[place] = name;
    }
}

/// The vector that a `Concat` of float initializers makes.
fn joint(graph: &Graph, concat: &Node) -> Option<Tensor> {
    let inputs = concat.inputs.iter().filter(|_| concat.is("Concat"));
    let parts: Vec<&Tensor> = inputs
        .map(|name| graph.initializers.get(name))
        .collect::<Option<_>>()?;
    let dtype = parts.first()?.dtype;
    let fits = |t: &&Tensor| t.dims.len() == 1 && t.dtype == dtype && dtype.is_float();
    let data: Vec<u8> = parts.iter().flat_map(|t| t.data.iter().copied()).collect();
    parts.iter().all(fits).then(|| Tensor {
        dtype,
        dims: vec![data.len() / dtype.size()],
        data: data.into(),
    })
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
