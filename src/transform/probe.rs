//! Sessions that give any value of a model.

use std::time::Duration;

use crate::classifier::{harm, time_limit};
use crate::graph::{Value, value_to_proto};
use crate::onnx::messages::{ModelProto, TensorProto, ValueInfoProto};
use crate::onnx::{Model, OnnxError, Tensor, each_tensor, encode, is_external, set_external};
use crate::runtime::{Runtime, RuntimeError, Session, SessionOptions, SharedTensor};

use super::types::declared;
use super::{TransformError, has_value, written_out};

/// How long a run may take that has no loop.
const RUN: Duration = Duration::from_secs(300);
/// Bytes from which a tensor is handed over as it lies.
const LARGE: usize = 1 << 16;

/// A session that gives `wanted`, which may be any values of the model's graph with its functions written out. It runs
/// the graph as it stands.
///
/// # Errors
/// Of the graph, where onnxruntime would not come back from it, or not with all memory; else what onnxruntime says.
pub(super) fn session(
    runtime: &Runtime,
    model: &Model,
    wanted: &[&str],
    label: &str,
) -> Result<Session, TransformError> {
    ensure_harmless(model)?;
    let limit = time_limit(model).unwrap_or(RUN);
    let (model, mut proto) = giving(model, wanted)?;
    let mut shared = Vec::new();
    let mut initializers = proto.graph.as_ref().map_or(0, |g| g.initializer.len());
    each_tensor(&mut proto, |tensor| {
        let is_initializer = initializers > 0;
        initializers = initializers.saturating_sub(1);
        if let (true, Ok(read)) = (is_initializer, model.tensor(tensor))
            && read.data.len() >= LARGE
        {
            let dtype = read.dtype as i32;
            let given = SharedTensor::new(tensor.name(), dtype, &read.dims, read.data.clone());
            if let Ok(given) = given {
                set_external(tensor, "in-memory", 0, read.data.len());
                shared.push((tensor.name().to_owned(), given));
                return Ok(());
            }
        }
        with_values(&model, tensor)
    })?;
    loaded(runtime, &proto, &shared, label, limit)
}

/// As [`session`], of which only the types of what it gives are looked at: it has no large tensor, and cannot be run.
pub(super) fn outline(
    runtime: &Runtime,
    model: &Model,
    wanted: &[&str],
) -> Result<Session, TransformError> {
    ensure_harmless(model)?;
    let (model, mut proto) = giving(model, wanted)?;
    let model = model.outlined();
    let graph = proto.graph.get_or_insert_default();
    let listed: Vec<String> = graph.input.iter().map(|v| v.name().to_owned()).collect();
    let mut inputs = Vec::new();
    graph.initializer.retain(|tensor| {
        let Ok(read) = model.tensor(tensor) else {
            return true;
        };
        let stays = !is_external(tensor) && read.data.len() < LARGE;
        if !stays && !listed.iter().any(|name| name == tensor.name()) {
            let Tensor { dtype, dims, .. } = read;
            inputs.push(value_to_proto(&Value::fixed(tensor.name(), dtype, &dims)));
        }
        stays
    });
    graph.input.extend(inputs);
    each_tensor(&mut proto, |tensor| with_values(&model, tensor))?;
    loaded(runtime, &proto, &[], "the outline of the model", RUN)
}

/// Refuses what onnxruntime is not to be given.
fn ensure_harmless(model: &Model) -> Result<(), TransformError> {
    match harm(&model.outlined()) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Puts the values of a tensor into its message, wherever they are.
fn with_values(model: &Model, tensor: &mut TensorProto) -> Result<(), OnnxError> {
    let large = tensor
        .raw_data
        .as_ref()
        .is_some_and(|raw| raw.len() >= LARGE);
    if (large || is_external(tensor))
        && let Some(values) = model.values_of(tensor)?
    {
        tensor.raw_data = Some(values.read()?);
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

fn loaded(
    runtime: &Runtime,
    proto: &ModelProto,
    shared: &[(String, SharedTensor)],
    label: &str,
    limit: Duration,
) -> Result<Session, TransformError> {
    let options = SessionOptions {
        label: label.to_owned(),
        optimize: false,
        limit: Some(limit),
        ..SessionOptions::default()
    };
    let bytes = encode(proto)?;
    Session::new(runtime, &bytes, shared, &options).map_err(|e: RuntimeError| e.into())
}

/// The model, with its functions written out where one of `wanted` is made inside of one, and messages that give these.
fn giving(model: &Model, wanted: &[&str]) -> Result<(Model, ModelProto), TransformError> {
    let has_all = |model: &Model| wanted.iter().all(|name| has_value(model.graph(), name));
    let model = match written_out(model)? {
        Some(written) if !has_all(model) => written,
        _ => model.with_proto(model.proto.clone()),
    };
    let mut proto = model.proto.clone();
    let graph = proto.graph.get_or_insert_default();
    let output = |name: &&str| {
        declared(graph, name).unwrap_or_else(|| ValueInfoProto {
            name: Some((*name).to_owned()),
            ..ValueInfoProto::default()
        })
    };
    let outputs = wanted.iter().map(output).collect();
    graph.output = outputs;
    graph.value_info.retain(|v| !wanted.contains(&v.name()));
    Ok((model, proto))
}
