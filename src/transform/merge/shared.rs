//! What two models have alike: it is there once.

use std::collections::{HashMap, HashSet};

use crate::graph::messages::inner_graphs;
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{Model, is_external};
use crate::surgery::{Named, reads};

use super::super::TransformError;
use super::super::fold::gives_the_same;
use super::State;
use super::connect::{inputs, misfit};

/// Names of values that both have, and that are the same.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Initializers and sparse ones.
    pub tensors: HashSet<String>,
    /// Inputs.
    pub inputs: HashSet<String>,
    /// Nodes, by their keys.
    pub nodes: HashSet<String>,
    /// All their values.
    pub values: HashSet<String>,
}

/// Finds it: initializers of one name, type, dimensions and values; inputs of one name and type that nothing goes to; and
/// nodes that are equal and read the like.
pub(super) fn find(
    host: &Model,
    state: &State<'_>,
    next: &ModelProto,
    joints: &[(String, String)],
) -> Result<Shared, TransformError> {
    let empty = GraphProto::default();
    let (so_far, next) = (state.graph(), next.graph.as_ref().unwrap_or(&empty));
    let mut shared = Shared::default();
    let is_listed = |graph: &GraphProto, name: &str| graph.input.iter().any(|v| v.name() == name);
    let known: HashMap<&str, &TensorProto> =
        so_far.initializer.iter().map(|t| (t.name(), t)).collect();
    for tensor in &next.initializer {
        let name = tensor.name();
        if let Some(other) = known.get(name)
            && is_listed(so_far, name) == is_listed(next, name)
            && same(host, other, tensor)?
        {
            shared.tensors.insert(name.to_owned());
        }
    }
    for sparse in &next.sparse_initializer {
        if so_far.sparse_initializer.contains(sparse) {
            shared.tensors.insert(sparse.key());
        }
    }
    shared.values.clone_from(&shared.tensors);
    let others = inputs(so_far);
    for input in inputs(next) {
        let name = input.name();
        let is_joint = joints.iter().any(|(own, _)| own == name);
        let same = others.iter().find(|v| v.name() == name);
        if let (false, Some(other)) = (is_joint, same)
            && misfit(other, input).is_none()
        {
            shared.inputs.insert(name.to_owned());
            shared.values.insert(name.to_owned());
        }
    }
    for (input, value) in joints {
        // By another name it would not be read alike.
        if input == value {
            shared.values.insert(input.clone());
        }
    }
    let nodes: HashMap<String, &NodeProto> = so_far.node.iter().map(|n| (n.key(), n)).collect();
    for node in &next.node {
        let alike = nodes.get(&node.key()).is_some_and(|other| *other == node);
        let is_shared = |name: &&str| shared.values.contains(*name);
        let has_graph = inner_graphs(node).next().is_some();
        if alike && !has_graph && gives_the_same(node) && reads(node).iter().all(is_shared) {
            shared.nodes.insert(node.key());
            let outputs = node.output.iter().filter(|o| !o.is_empty());
            shared.values.extend(outputs.cloned());
        }
    }
    Ok(shared)
}

/// Whether two tensors have the same type, dimensions and values.
fn same(host: &Model, a: &TensorProto, b: &TensorProto) -> Result<bool, TransformError> {
    if (a.data_type, &a.dims) != (b.data_type, &b.dims) {
        return Ok(false);
    }
    if !is_external(a) && !is_external(b) && a.raw_data.is_none() && a == b {
        return Ok(true);
    }
    let values = |t| host.values_of(t);
    // Of types that are not known here there may be no values.
    let (Ok(Some(a)), Ok(Some(b))) = (values(a), values(b)) else {
        return Ok(false);
    };
    Ok(a.same(&b)?)
}
