//! Writing tuned weights back into the model they came from.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::graph::{Attribute, Graph};
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{Model, OnnxError, Tensor, is_external, set_metadata};

use super::SurgeryError;

/// Prefix of the metadata keys that [`export`] writes.
pub const METADATA_PREFIX: &str = "ftsurgery.";

/// `template` with the values of the tensors named in `tuned` replaced, in each tensor's own
/// float type, and with metadata.
///
/// A weight is found as an initializer or as the output of a `Constant` node. Metadata keys get the
/// prefix `ftsurgery.` unless they have it. External data is taken into the model, which then stands
/// alone. A tensor whose values do not change keeps its message, byte for byte.
///
/// # Errors
/// When the template's file has fields that would be lost, a tuned tensor does not exist, is no
/// float tensor, or has another number of elements, a tuned value is not finite in the tensor's type,
/// external data cannot be read, or the model would be larger than 2 GiB.
pub fn export(
    template: &Model,
    tuned: &[(String, Vec<f32>)],
    metadata: &[(&str, String)],
) -> Result<ModelProto, SurgeryError> {
    template.ensure_fully_known()?;
    let mut proto = template.proto.clone();
    if let Some(graph) = proto.graph.as_mut() {
        write_tuned(template, graph, tuned)?;
        inline_graph(template, graph, 0)?;
    }
    for function in &mut proto.functions {
        inline_nodes(template, &mut function.node, 0)?;
    }
    for (key, value) in metadata {
        if key.starts_with(METADATA_PREFIX) {
            set_metadata(&mut proto, key, value);
        } else {
            set_metadata(&mut proto, &format!("{METADATA_PREFIX}{key}"), value);
        }
    }
    let bytes = proto.encoded_len();
    if bytes > i32::MAX as usize {
        return Err(OnnxError::TooLarge { bytes }.into());
    }
    Ok(proto)
}

/// `tuned` as [`export`] stores it: rounded to the type of each tensor, to the nearest, ties to even.
///
/// # Errors
/// As [`export`].
pub fn as_stored(
    template: &Model,
    tuned: &[(String, Vec<f32>)],
) -> Result<Vec<(String, Vec<f32>)>, SurgeryError> {
    let graph = Graph::from_model(template)?;
    let constants = |name: &String| {
        let node = graph.nodes.iter().find(|n| n.output(0) == Some(name))?;
        match node.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) if node.is("Constant") => Some(tensor),
            _ => None,
        }
    };
    tuned
        .iter()
        .map(|(name, values)| {
            let stored = match graph.initializers.get(name).or_else(|| constants(name)) {
                Some(old) => converted(name, old, values)?.to_f32(),
                None => None,
            };
            Ok((name.clone(), stored.unwrap_or_else(|| values.clone())))
        })
        .collect()
}

fn write_tuned(
    template: &Model,
    graph: &mut GraphProto,
    tuned: &[(String, Vec<f32>)],
) -> Result<(), SurgeryError> {
    let initializers: HashMap<String, usize> = graph
        .initializer
        .iter()
        .enumerate()
        .filter_map(|(i, t)| Some((t.name.clone()?, i)))
        .collect();
    let constants: HashMap<String, usize> = graph
        .node
        .iter()
        .enumerate()
        .filter(|(_, n)| is_constant(n))
        .filter_map(|(i, n)| Some((n.output.first()?.clone(), i)))
        .collect();
    let mut done = HashSet::new();
    for (name, values) in tuned {
        if !done.insert(name) {
            return Err(SurgeryError::Twice {
                tensor: name.clone(),
            });
        }
        if let Some(&i) = initializers.get(name) {
            write_tensor(template, name, &mut graph.initializer[i], values)?;
        } else if let Some(&i) = constants.get(name) {
            write_constant(template, name, &mut graph.node[i], values)?;
        } else {
            return Err(SurgeryError::NoTensor {
                tensor: name.clone(),
            });
        }
    }
    Ok(())
}

pub(super) fn is_constant(node: &NodeProto) -> bool {
    node.op_type.as_deref() == Some("Constant")
        && matches!(node.domain.as_deref().unwrap_or(""), "" | "ai.onnx")
}

fn write_tensor(
    template: &Model,
    name: &str,
    proto: &mut TensorProto,
    values: &[f32],
) -> Result<(), SurgeryError> {
    let old = template.tensor(proto)?;
    let new = converted(name, &old, values)?;
    if new.data != old.data {
        store(proto, &new);
    }
    Ok(())
}

/// `values` in the type of `old`, checked.
fn converted(name: &str, old: &Tensor, values: &[f32]) -> Result<Tensor, SurgeryError> {
    if old.len() != values.len() {
        return Err(SurgeryError::Length {
            tensor: name.to_owned(),
            expected: old.len(),
            given: values.len(),
        });
    }
    let not_float = || SurgeryError::NotFloat {
        tensor: name.to_owned(),
        dtype: old.dtype,
    };
    let new = old.with_f32_values(values).ok_or_else(not_float)?;
    // Held against the type it is stored in: a finite f32 may be infinite as f16.
    let stored = new.to_f32().ok_or_else(not_float)?;
    match stored.iter().position(|v| !v.is_finite()) {
        None => Ok(new),
        Some(index) => Err(SurgeryError::NotFinite {
            tensor: name.to_owned(),
            dtype: old.dtype,
            index,
        }),
    }
}

/// Puts the values of `tensor` in the message, where it is stored inside the model.
fn store(proto: &mut TensorProto, tensor: &Tensor) {
    proto.float_data.clear();
    proto.int32_data.clear();
    proto.int64_data.clear();
    proto.double_data.clear();
    proto.uint64_data.clear();
    proto.external_data.clear();
    proto.data_location = None;
    proto.raw_data = Some(tensor.data.clone());
}

fn write_constant(
    template: &Model,
    name: &str,
    node: &mut NodeProto,
    values: &[f32],
) -> Result<(), SurgeryError> {
    for attribute in &mut node.attribute {
        match attribute.name.as_deref() {
            Some("value") => {
                if let Some(tensor) = attribute.t.as_mut() {
                    return write_tensor(template, name, tensor, values);
                }
            }
            Some("value_float") => {
                let old = Tensor::scalar_f32(attribute.f.unwrap_or_default());
                converted(name, &old, values)?;
                attribute.f = values.first().copied();
                return Ok(());
            }
            Some("value_floats") => {
                let old = Tensor::f32(&[attribute.floats.len()], &attribute.floats);
                converted(name, &old, values)?;
                attribute.floats = values.to_vec();
                return Ok(());
            }
            _ => {}
        }
    }
    Err(SurgeryError::NoTensor {
        tensor: name.to_owned(),
    })
}

fn inline_graph(
    template: &Model,
    graph: &mut GraphProto,
    depth: usize,
) -> Result<(), SurgeryError> {
    for tensor in &mut graph.initializer {
        inline_tensor(template, tensor)?;
    }
    inline_nodes(template, &mut graph.node, depth)
}

fn inline_nodes(
    template: &Model,
    nodes: &mut [NodeProto],
    depth: usize,
) -> Result<(), SurgeryError> {
    // Decoding refuses messages that nest more deeply.
    if depth > 100 {
        return Ok(());
    }
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            inline_tensor(template, tensor)?;
        }
        if let Some(graph) = attribute.g.as_mut() {
            inline_graph(template, graph, depth + 1)?;
        }
        for graph in &mut attribute.graphs {
            inline_graph(template, graph, depth + 1)?;
        }
    }
    Ok(())
}

fn inline_tensor(template: &Model, proto: &mut TensorProto) -> Result<(), SurgeryError> {
    if is_external(proto) {
        let tensor = template.tensor(proto)?;
        store(proto, &tensor);
    }
    Ok(())
}
