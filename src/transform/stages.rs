//! Numbers of models that are run one behind the other.

use std::collections::HashSet;
use std::time::Instant;

use crate::onnx::Model;
use crate::onnx::messages::{Dimension, TensorShapeProto, TypeValue};
use crate::runtime::{Array, Runtime, RuntimeError, Session};

use super::numbers::{
    BATCHES, Numbers, PATIENCE, SIZES, Values, difference, dims, is_other, not_fed, not_run,
    random, refused, tolerance,
};
use super::{Promise, Stage, TransformError, probe};

/// Runs models one behind the other on random inputs, and the new one on the same, and compares.
///
/// # Errors
/// As of one model alone.
pub(super) fn compare(
    runtime: &Runtime,
    stages: &[Stage<'_>],
    new: &Model,
    promise: &Promise,
) -> Result<Numbers, TransformError> {
    let mut sessions: Vec<Option<Session>> = stages.iter().map(|_| None).collect();
    let mut first = None;
    let mut all = None;
    let began = Instant::now();
    'sizes: for &batch in &BATCHES {
        for &size in &SIZES {
            if began.elapsed() > PATIENCE {
                break 'sizes;
            }
            match run_stages(runtime, stages, &mut sessions, (batch, size)) {
                Ok(values) => {
                    all = Some(values);
                    break 'sizes;
                }
                Err(error @ TransformError::NotCompared { .. }) => return Err(error),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
    }
    drop(sessions);
    let none = || TransformError::Runtime(RuntimeError::NotLoaded);
    let values = all.ok_or_else(|| not_run(first.unwrap_or_else(none)))?;
    let equal: Vec<&str> = stages
        .iter()
        .flat_map(tensors)
        .map(|(now, _)| now.as_str())
        .collect();
    let mut session =
        probe::session(runtime, new, &equal, "the new model").map_err(|e| refused(e, promise))?;
    let inputs: HashSet<String> = session.inputs().iter().map(|p| p.name.clone()).collect();
    let fed = values.iter().filter(|(name, _)| inputs.contains(*name));
    let fed: Vec<(&str, &Array)> = fed.map(|(name, value)| (name.as_str(), value)).collect();
    let ran = session
        .run(&fed)
        .map_err(|e| refused(TransformError::Runtime(e), promise))?;
    let models: Vec<&Model> = stages.iter().map(|s| s.model).chain([new]).collect();
    let within = tolerance(promise, &models);
    let mut off = 0.0f64;
    for (now, array) in equal.iter().zip(&ran) {
        if let Some(expected) = values.get(*now) {
            off = off.max(difference(now, expected, array, within)?);
        }
    }
    Ok(Numbers::Equal {
        values: ran.len(),
        off,
    })
}

/// Runs each on what it is fed by those before it, and else on random inputs; gives all by the names of the new model.
fn run_stages(
    runtime: &Runtime,
    stages: &[Stage<'_>],
    sessions: &mut [Option<Session>],
    (batch, size): (usize, usize),
) -> Result<Values, TransformError> {
    let mut values = Values::new();
    let mut drawn = 0;
    for (stage, session) in stages.iter().zip(sessions) {
        let session = match session {
            Some(session) => session,
            none => none.insert(stage_session(runtime, stage, &values)?),
        };
        let ports = session.inputs().to_vec();
        let mut fed = Vec::new();
        for port in &ports {
            let Some((now, _)) = stage.fed.iter().find(|(_, own)| *own == port.name) else {
                continue;
            };
            if !values.contains_key(now) {
                let dims = dims(port, &ports, batch, size);
                let array = random(port, &dims, drawn).ok_or_else(|| not_fed(port))?;
                values.insert(now.clone(), array);
                drawn += 1;
            }
            fed.push((port.name.clone(), now.clone()));
        }
        let inputs = fed.iter().map(|(own, now)| (own.as_str(), &values[now]));
        let ran = session.run(&Vec::from_iter(inputs))?;
        let names = tensors(stage).map(|(now, _)| now.clone());
        values.extend(names.zip(ran));
    }
    Ok(values)
}

/// What a stage gives, but for what is declared as no tensor.
fn tensors<'s>(stage: &'s Stage<'_>) -> impl Iterator<Item = &'s (String, String)> {
    let outputs = stage.equal.iter();
    outputs.filter(|(_, own)| !is_other(stage.model, own))
}

/// A session of a stage. Where an input leaves open how many dimensions it has, it has those of what goes there.
fn stage_session(
    runtime: &Runtime,
    stage: &Stage<'_>,
    values: &Values,
) -> Result<Session, TransformError> {
    let mut proto = stage.model.proto.clone();
    for input in proto.graph.iter_mut().flat_map(|g| &mut g.input) {
        let fed = stage.fed.iter().find(|(_, own)| own == input.name());
        let known = fed.and_then(|(now, _)| values.get(now));
        if let (Some(array), Some(TypeValue::Tensor(tensor))) =
            (known, input.r#type.as_mut().and_then(|t| t.value.as_mut()))
        {
            tensor.shape.get_or_insert_with(|| TensorShapeProto {
                dim: vec![Dimension::default(); array.dims().len()],
            });
        }
    }
    let wanted: Vec<&str> = tensors(stage).map(|(_, own)| own.as_str()).collect();
    probe::session(runtime, &stage.model.with_proto(proto), &wanted, "a part")
}
