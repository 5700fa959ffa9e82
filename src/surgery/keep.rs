//! The model's own head.

use std::collections::HashSet;

use crate::graph::{Attribute, Dim, Graph, Node};
use crate::onnx::{Model, Tensor};

use super::{Features, Grafted, SurgeryError};

/// The model unchanged, with the parameters that follow the feature map.
pub(super) fn keep(
    model: &Model,
    features: Option<&Features>,
    classes: usize,
) -> Result<Grafted, SurgeryError> {
    let graph = Graph::from_model(model)?;
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    if let Some(Dim::Known(own)) = output.dims.as_ref().and_then(|d| d.last())
        && *own < classes
    {
        return Err(SurgeryError::Classes {
            output: output.name.clone(),
            model: *own,
            wanted: classes,
        });
    }
    let head_parameters = match features {
        Some(features) => parameters_after(&graph, &features.value)?,
        None => Vec::new(),
    };
    Ok(Grafted {
        model: model.with_proto(model.proto.clone()),
        head_parameters,
        dropout: Vec::new(),
        output: output.name.clone(),
    })
}

/// The weights and biases read by nodes that depend on `features`.
fn parameters_after(graph: &Graph, features: &str) -> Result<Vec<String>, SurgeryError> {
    let known =
        graph.producers().contains_key(features) || graph.inputs.iter().any(|i| i.name == features);
    if !known {
        return Err(SurgeryError::NoFeatures {
            value: features.to_owned(),
        });
    }
    let mut constants: HashSet<&str> = HashSet::new();
    let mut after: HashSet<&str> = HashSet::from([features]);
    let mut parameters = Vec::new();
    for node in &graph.nodes {
        if let Some(tensor) = constant_value(node)
            && trainable(tensor)
        {
            constants.extend(node.present_outputs());
        }
        if !node.present_inputs().any(|i| after.contains(i)) {
            continue;
        }
        after.extend(node.present_outputs());
        for (i, name) in node.inputs.iter().enumerate() {
            let held = graph.initializers.get(name).is_some_and(trainable)
                || constants.contains(name.as_str());
            if held && is_weight(node, i) && !parameters.contains(name) {
                parameters.push(name.clone());
            }
        }
    }
    Ok(parameters)
}

fn trainable(tensor: &Tensor) -> bool {
    tensor.dtype.is_float() && tensor.len() > 1
}

fn constant_value(node: &Node) -> Option<&Tensor> {
    match node.attributes.get("value") {
        Some(Attribute::Tensor(tensor)) if node.is("Constant") => Some(tensor),
        _ => None,
    }
}

/// Whether a fixed tensor at this input is a weight or bias, not a statistic, bound or setting.
fn is_weight(node: &Node, input: usize) -> bool {
    if !node.domain.is_empty() {
        return false;
    }
    match node.op_type.as_str() {
        "Conv"
        | "ConvTranspose"
        | "Gemm"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization" => matches!(input, 1 | 2),
        "PRelu" => input == 1,
        "MatMul" | "Add" | "Sub" | "Mul" | "Div" => true,
        _ => false,
    }
}
