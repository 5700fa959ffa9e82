//! Constants in a graph.

use crate::graph::{Value, value_to_proto};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::onnx::{Tensor, is_external, set_at_hand};
use crate::surgery::Part;

use super::super::TransformError;
use super::{Pass, Place, is_output};

/// Makes initializers of Constant nodes, but for outputs and before IR 4, where each has to be an input; whether there was
/// one.
pub(super) fn hoist(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
) -> Result<bool, TransformError> {
    if pass.ir < 4 {
        return Ok(false);
    }
    let mut stay = Vec::with_capacity(graph.node.len());
    let mut changed = false;
    for node in std::mem::take(&mut graph.node) {
        let tensor = match node.output.first().is_some_and(|o| is_output(graph, o)) {
            true => None,
            false => pass.constant(&node)?,
        };
        let Some(mut tensor) = tensor else {
            stay.push(node);
            continue;
        };
        if tensor.doc_string.as_deref().unwrap_or_default().is_empty() {
            tensor.doc_string = node.doc_string.clone().filter(|text| !text.is_empty());
        }
        tensor
            .metadata_props
            .extend(node.metadata_props.iter().cloned());
        pass.touch_node(place, &node);
        put(pass, graph, place, tensor, false);
        pass.counts.hoisted += 1;
        changed = true;
    }
    graph.node = stay;
    Ok(changed)
}

/// Adds a constant, behind the nodes so far or among the initializers.
pub(super) fn put(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    tensor: TensorProto,
    as_node: bool,
) {
    let name = tensor.name().to_owned();
    if as_node {
        pass.touch(place, Part::Node, &name);
        graph.node.push(constant(tensor));
    } else {
        pass.touch(place, Part::Tensor, &name);
        graph.initializer.push(tensor);
        pass.forget(graph, place, &name);
    }
}

/// A node that holds a tensor.
fn constant(tensor: TensorProto) -> NodeProto {
    NodeProto {
        output: vec![tensor.name().to_owned()],
        op_type: Some("Constant".to_owned()),
        attribute: vec![AttributeProto {
            name: Some("value".to_owned()),
            r#type: Some(4),
            t: Some(TensorProto {
                name: None,
                ..tensor
            }),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

/// Gives an initializer other values, where they lie. Before IR 4 an input stands for it, which then says what it is.
pub(super) fn set(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    name: &str,
    tensor: &Tensor,
) {
    let found = graph.initializer.iter_mut().find(|t| t.name() == name);
    if let Some(proto) = found {
        let mut new = TensorProto {
            doc_string: proto.doc_string.clone(),
            metadata_props: proto.metadata_props.clone(),
            ..tensor.to_proto(name)
        };
        if is_external(proto) {
            new.external_data = proto.external_data.clone();
            set_at_hand(&mut new, tensor.data.clone());
        }
        *proto = new;
        pass.touch(place, Part::Tensor, name);
        if pass.ir < 4 {
            let declared = value_to_proto(&Value::fixed(name, tensor.dtype, &tensor.dims));
            for input in graph.input.iter_mut().filter(|v| v.name() == name) {
                input.r#type.clone_from(&declared.r#type);
                pass.touch(place, Part::Input, name);
            }
        }
    }
}
