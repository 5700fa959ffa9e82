//! The graphs and names in the messages of a model's file.

use std::collections::HashSet;

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

use super::Names;

/// All names that something new could clash with: of values and nodes, those of inner graphs, too.
pub(crate) fn names(graph: &GraphProto) -> Names {
    let mut names = value_names(graph);
    for graph in all_graphs(graph) {
        names.extend(graph.node.iter().filter_map(|n| n.name.clone()));
    }
    names.into_iter().collect()
}

/// The values that a graph makes or is given, those around it left out.
pub(crate) fn defined(graph: &GraphProto) -> HashSet<&str> {
    let tensors = graph.initializer.iter().filter_map(|t| t.name.as_deref());
    let sparse = graph.sparse_initializer.iter();
    let sparse = sparse.filter_map(|s| s.values.as_ref()?.name.as_deref());
    let inputs = graph.input.iter().filter_map(|v| v.name.as_deref());
    let made = graph.node.iter().flat_map(|n| &n.output);
    let made = made.map(String::as_str).filter(|o| !o.is_empty());
    tensors.chain(sparse).chain(inputs).chain(made).collect()
}

/// The graphs in the attributes of a node.
pub(crate) fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(AttributeProto::subgraphs)
}

/// `graph` and the graphs inside of its nodes, at any depth.
pub(crate) fn all_graphs(graph: &GraphProto) -> Vec<&GraphProto> {
    let mut all = vec![graph];
    let mut next = 0;
    while let Some(graph) = all.get(next).copied() {
        all.extend(graph.node.iter().flat_map(inner_graphs));
        next += 1;
    }
    all
}

/// The values that `graph` and the graphs inside of its nodes name, in whatever place.
pub(crate) fn value_names(graph: &GraphProto) -> HashSet<String> {
    let mut names = HashSet::new();
    for graph in all_graphs(graph) {
        names.extend(defined(graph).into_iter().map(str::to_owned));
        let noted = graph.output.iter().chain(&graph.value_info);
        names.extend(noted.filter_map(|v| v.name.clone()));
        for annotation in &graph.quantization_annotation {
            names.extend(annotation.tensor_name.clone());
            let tensors = annotation.quant_parameter_tensor_names.iter();
            names.extend(tensors.filter_map(|t| t.value.clone()));
        }
        for node in &graph.node {
            names.extend(node.input.iter().cloned());
            let devices = node.device_configurations.iter();
            let sharded = devices.flat_map(|d| &d.sharding_spec);
            names.extend(sharded.filter_map(|s| s.tensor_name.clone()));
        }
    }
    names
}
