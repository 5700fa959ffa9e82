//! What onnxruntime is given of a model.

use std::collections::{HashMap, HashSet};

use crate::graph::{Dim, Graph, GraphError, infer_shapes, normalise};
use crate::onnx::messages::{ModelProto, TensorProto, TypeValue, ValueInfoProto};
use crate::onnx::{DataType, Model, is_external};
use crate::runtime::RuntimeError;

use super::ClassifierError;

/// Why a model is refused: where our own reading of the graph finds something wrong, too, it names the
/// node, which onnxruntime does not where that has no name.
pub(super) fn cause(graph: &Graph, refused: RuntimeError) -> ClassifierError {
    if !refused.is_bad_input() {
        return refused.into();
    }
    match malformed(graph) {
        Some(GraphError::Node { node, reason }) => GraphError::Node {
            node,
            reason: format!("{reason} ({refused})"),
        }
        .into(),
        _ => refused.into(),
    }
}

/// What is wrong with the shapes of a graph, for one sample, if that can be told.
fn malformed(graph: &Graph) -> Option<GraphError> {
    let mut normal = graph.clone();
    let mut inputs = HashMap::new();
    for input in &normal.inputs {
        let dims = input.dims.as_ref()?.iter().enumerate();
        let dims = dims.map(|(axis, dim)| match dim {
            Dim::Known(size) => Some(*size),
            Dim::Symbolic(_) => (axis == 0).then_some(1),
        });
        inputs.insert(input.name.clone(), dims.collect::<Option<Vec<_>>>()?);
    }
    normalise(&mut normal)
        .and_then(|()| infer_shapes(&normal, &inputs).map(drop))
        .err()
}

/// The inputs of a model that nothing reads, and its outputs that may be nothing, which cannot be taken from
/// onnxruntime here.
pub(super) fn idle_ports<'m>(model: &'m Model, graph: &Graph) -> HashSet<&'m str> {
    let file = model.graph();
    let initializers = file.initializer.iter().map(TensorProto::name);
    let inputs = graph.inputs.iter().map(|input| input.name.as_str());
    let needed: HashSet<&str> = initializers.chain(inputs).collect();
    let inputs = file.input.iter().filter_map(|i| i.name.as_deref());
    let optional = file.output.iter().filter(|output| {
        let value = output.r#type.as_ref().and_then(|t| t.value.as_ref());
        matches!(value, Some(TypeValue::Optional(_)))
    });
    let idle = inputs.filter(|name| !needed.contains(name));
    idle.chain(optional.filter_map(|o| o.name.as_deref()))
        .collect()
}

/// The messages of a model without some ports, and without initializers that lie elsewhere and that nothing reads.
pub(super) fn without(idle: &HashSet<&str>, model: &Model, graph: &Graph) -> ModelProto {
    let mut proto = model.proto.clone();
    if let Some(inner) = &mut proto.graph {
        let stays = |port: &ValueInfoProto| !idle.contains(port.name());
        inner.input.retain(stays);
        inner.output.retain(stays);
        inner.initializer.retain(|tensor| {
            let name = tensor.name.as_deref().unwrap_or("");
            !is_external(tensor) || graph.initializers.contains_key(name)
        });
    }
    proto
}

/// Whether a model computes in float16 anywhere: it has such a weight, constant or cast.
pub(super) fn has_float16(model: &Model) -> bool {
    let half = Some(DataType::Float16 as i32);
    let graph = model.graph();
    let mut attributes = graph.node.iter().flat_map(|n| &n.attribute);
    graph.initializer.iter().any(|t| t.data_type == half)
        || attributes.any(|a| {
            a.t.as_ref().is_some_and(|t| t.data_type == half)
                || a.name.as_deref() == Some("to") && a.i == half.map(i64::from)
        })
}
