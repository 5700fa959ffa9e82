//! Whether a new model computes what it promises, in numbers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use half::f16;
use ndarray::{ArrayD, IxDyn};
use rand::RngExt;

use crate::onnx::Model;
use crate::onnx::messages::{NodeProto, TypeValue};
use crate::random::{Purpose, stream};
use crate::runtime::{Array, Port, Runtime, RuntimeError, Session, dtype};

use super::{Promise, TransformError, probe};

/// What came of comparing numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Nobody asked for it.
    NotAsked,
    /// It could not be done, for this reason.
    NotCompared(String),
    /// It was done.
    Equal {
        /// How many values were compared.
        values: usize,
        /// The largest difference of two floats, as a part of the largest of their tensor; 0 where all bits are equal.
        off: f64,
    },
}

/// Sizes that are tried in turn for dimensions which the model leaves open, but for the first.
pub(super) const SIZES: [usize; 7] = [64, 224, 32, 16, 8, 3, 1];
/// Sizes of a first dimension that it leaves open.
pub(super) const BATCHES: [usize; 2] = [2, 1];

/// Elements of an input beyond which none is made.
const MOST: usize = 1 << 26;
/// How long sizes are tried.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs both models, the original on random inputs and the new one on the values that are to go there, and compares.
///
/// # Errors
/// [`TransformError::OtherNumbers`] and its kin where the promise does not hold, [`TransformError::NotCompared`] where the
/// original cannot be run here.
pub(super) fn compare(
    runtime: &Runtime,
    original: &Model,
    new: &Model,
    promise: &Promise,
) -> Result<Numbers, TransformError> {
    let is_input = |name: &str| {
        let graph = original.graph();
        graph.input.iter().any(|v| v.name() == name)
            && !graph.initializer.iter().any(|t| t.name() == name)
    };
    // Sequences and maps, which a classifier of scikit-learn gives beside its class, are not looked at.
    let equal: Vec<&(String, String)> = promise
        .equal
        .iter()
        .filter(|(_, was)| !is_other(original, was))
        .collect();
    if equal.is_empty() {
        return Err(TransformError::NotCompared {
            reason: "no output is a tensor".to_owned(),
            source: None,
        });
    }
    let fed = promise.fed.iter().map(|(_, was)| was.as_str());
    let mut wanted: Vec<&str> = fed.filter(|was| !is_input(was)).collect();
    wanted.extend(equal.iter().map(|(_, was)| was.as_str()));
    let mut seen = std::collections::HashSet::new();
    wanted.retain(|name| !is_input(name) && seen.insert(*name));
    let mut session =
        probe::session(runtime, original, &wanted, "the original").map_err(not_run)?;
    let (mut values, outputs) = run(&mut session, promise).map_err(not_run)?;
    let names: Vec<String> = session.outputs().iter().map(|o| o.name.clone()).collect();
    values.extend(names.into_iter().zip(outputs));
    drop(session);

    let given: Vec<&str> = equal.iter().map(|(now, _)| now.as_str()).collect();
    let refused = |error| refused(error, promise);
    let mut session = probe::session(runtime, new, &given, "the new model").map_err(refused)?;
    let missing = |was: &str| TransformError::NotCompared {
        reason: format!("nothing gives `{was}`"),
        source: None,
    };
    let mut inputs: Vec<(&str, Cow<'_, Array>)> = Vec::new();
    for (now, was) in &promise.fed {
        // What nothing reads is no input of a session, if it stands for an initializer.
        if let Some(port) = session.inputs().iter().find(|port| port.name == *now) {
            let given = values.get(was).ok_or_else(|| missing(was))?;
            let other = promise
                .other_types
                .then(|| as_floats(given, port.dtype))
                .flatten();
            inputs.push((now, other.map_or(Cow::Borrowed(given), Cow::Owned)));
        }
    }
    let inputs: Vec<(&str, &Array)> = inputs.iter().map(|(name, a)| (*name, a.as_ref())).collect();
    let ran = session
        .run(&inputs)
        .map_err(|e| refused(TransformError::Runtime(e)))?;
    let within = tolerance(promise, &[original, new]);
    let mut off = 0.0f64;
    for ((now, was), array) in equal.into_iter().zip(&ran) {
        let expected = values.get(was).ok_or_else(|| missing(was))?;
        let other = promise
            .other_types
            .then(|| as_floats(array, expected.dtype()))
            .flatten();
        off = off.max(difference(
            now,
            expected,
            other.as_ref().unwrap_or(array),
            within,
        )?);
    }
    Ok(Numbers::Equal {
        values: ran.len(),
        off,
    })
}

/// Whether an output is declared as something else than a tensor.
pub(super) fn is_other(model: &Model, output: &str) -> bool {
    let mut outputs = model.graph().output.iter();
    let declared = outputs.find(|o| o.name() == output);
    let declared = declared.and_then(|o| o.r#type.as_ref()?.value.as_ref());
    !matches!(declared, None | Some(TypeValue::Tensor(_)))
}

/// Whether onnxruntime has taken a model, but has not an operator of it on the device; or writes one out, by a formula whose
/// nodes have no names, of operators that have not the type.
fn is_not_implemented(error: &RuntimeError) -> bool {
    let text = format!("{error:?}").to_lowercase();
    text.contains("could not find an implementation")
        || text.contains("bfloat16") && text.contains("in node () is invalid")
}

/// Floats as those of another type, if both are some.
fn as_floats(array: &Array, dtype: i32) -> Option<Array> {
    let values = match array {
        Array::F32(values) => values.clone(),
        Array::F16(values) => values.mapv(f16::to_f32),
        _ => return None,
    };
    match dtype {
        dtype::FLOAT => Some(Array::F32(values)),
        dtype::FLOAT16 => Some(Array::F16(values.mapv(f16::from_f32))),
        _ => None,
    }
}

/// How far a float may be off.
pub(super) fn tolerance(promise: &Promise, models: &[&Model]) -> f64 {
    let rough = models.iter().any(|model| has_16_bits(model));
    promise.within.unwrap_or(if rough { 1e-2 } else { 1e-5 })
}

pub(super) fn not_fed(port: &Port) -> TransformError {
    TransformError::NotCompared {
        reason: format!(
            "the input `{}` is of a type that is not fed here",
            port.name
        ),
        source: None,
    }
}

/// What an error of the original says.
pub(super) fn not_run(error: TransformError) -> TransformError {
    match error {
        TransformError::Runtime(error) => TransformError::NotCompared {
            reason: "onnxruntime does not run the original on random inputs".to_owned(),
            source: Some(Box::new(error)),
        },
        TransformError::Graph(error) => TransformError::NotCompared {
            reason: format!("the original is not given to onnxruntime: {error}"),
            source: None,
        },
        error => error,
    }
}

/// What an error of the new model says.
pub(super) fn refused(error: TransformError, promise: &Promise) -> TransformError {
    match error {
        // It has looked at the types of all values before.
        TransformError::Runtime(error) if promise.elsewhere && is_not_implemented(&error) => {
            TransformError::NotCompared {
                reason: "onnxruntime has no such operators for this processor".to_owned(),
                source: Some(Box::new(error)),
            }
        }
        TransformError::Runtime(error) => TransformError::DoesNotRun(Box::new(error)),
        error => error,
    }
}

/// Named values.
pub(super) type Values = HashMap<String, Array>;

/// Runs the original on random inputs; gives these and its outputs.
fn run(session: &mut Session, promise: &Promise) -> Result<(Values, Vec<Array>), TransformError> {
    let mut ports = session.inputs().to_vec();
    for (name, sizes) in &promise.sizes {
        for port in ports.iter_mut().filter(|port| port.name == *name) {
            port.dims = sizes.iter().copied().map(Some).collect();
        }
    }
    let open = |axes: std::ops::Range<usize>| {
        let dims = ports.iter().flat_map(|port| {
            let dims = port.dims.iter().enumerate();
            dims.filter(|(axis, d)| axes.contains(axis) && d.is_none())
        });
        dims.count() > 0
    };
    let asked = promise.batch.as_slice();
    let batches = match asked {
        [] if open(0..1) => &BATCHES[..],
        [] => &BATCHES[..1],
        asked => asked,
    };
    let sizes = if open(1..usize::MAX) {
        &SIZES[..]
    } else {
        &SIZES[..1]
    };
    let mut first = None;
    let began = Instant::now();
    'sizes: for &batch in batches {
        for &size in sizes {
            if began.elapsed() > PATIENCE {
                break 'sizes;
            }
            let mut inputs = HashMap::new();
            for (place, port) in ports.iter().enumerate() {
                let (dims, number) = (dims(port, &ports, batch, size), place as u64);
                let array = random(port, &dims, number).ok_or_else(|| not_fed(port))?;
                inputs.insert(port.name.clone(), array);
            }
            let fed: Vec<(&str, &Array)> = inputs.iter().map(|(n, a)| (n.as_str(), a)).collect();
            match session.run(&fed) {
                Ok(outputs) => return Ok((inputs, outputs)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
    }
    let none = || RuntimeError::NotLoaded;
    Err(first.unwrap_or_else(none).into())
}

/// Sizes of an input: those that are open are the same for the same symbol.
pub(super) fn dims(port: &Port, all: &[Port], batch: usize, size: usize) -> Vec<usize> {
    let symbol = |port: &Port, axis: usize| port.symbols.get(axis).cloned().unwrap_or_default();
    let leads = |name: &str| {
        !name.is_empty()
            && all
                .iter()
                .any(|p| p.dims.first() == Some(&None) && symbol(p, 0) == name)
    };
    let dims = port.dims.iter().enumerate();
    dims.map(|(axis, dim)| match dim {
        Some(known) => *known,
        None if axis == 0 || leads(&symbol(port, axis)) => batch,
        None => size,
    })
    .collect()
}

/// Random numbers: floats from -1 to 1, integers that are 0 or 1, so that they may be indices.
pub(super) fn random(port: &Port, dims: &[usize], place: u64) -> Option<Array> {
    let mut random = stream(Purpose::Comparison, 0, &[&place.to_le_bytes()]);
    let count = crate::onnx::element_count(dims).filter(|&n| n <= MOST)?;
    fn array<T>(dims: &[usize], values: Vec<T>) -> Option<ArrayD<T>> {
        ArrayD::from_shape_vec(IxDyn(dims), values).ok()
    }
    let mut float = || random.random_range(-1.0f32..1.0);
    let all = 0..count;
    Some(match port.dtype {
        dtype::FLOAT => Array::F32(array(dims, all.map(|_| float()).collect())?),
        dtype::DOUBLE => Array::F64(array(dims, all.map(|_| float().into()).collect())?),
        dtype::FLOAT16 => Array::F16(array(dims, all.map(|_| f16::from_f32(float())).collect())?),
        dtype::INT64 => Array::I64(array(dims, all.map(|_| (float() > 0.0).into()).collect())?),
        dtype::INT32 => Array::I32(array(dims, all.map(|_| (float() > 0.0).into()).collect())?),
        dtype::UINT8 => Array::U8(array(dims, all.map(|_| (float() > 0.0).into()).collect())?),
        dtype::BOOL => Array::Bool(array(dims, all.map(|_| float() > 0.0).collect())?),
        _ => return None,
    })
}

/// The largest difference as a part of the largest number, if it is no more than `within`.
pub(super) fn difference(
    name: &str,
    was: &Array,
    now: &Array,
    within: f64,
) -> Result<f64, TransformError> {
    if was == now {
        return Ok(0.0);
    }
    let told = |array: &Array| format!("{:?} of type {}", array.dims(), array.dtype());
    if (was.dtype(), was.dims()) != (now.dtype(), now.dims()) {
        return Err(TransformError::OtherShape {
            value: name.to_owned(),
            now: told(now),
            was: told(was),
        });
    }
    let (was, now) = (numbers(was), numbers(now));
    let finite = was.iter().filter(|v| v.is_finite());
    let largest = finite.fold(0.0f64, |most, v| most.max(v.abs()));
    let mut off = 0.0f64;
    for (&was, &now) in was.iter().zip(&now) {
        if was == now || was.is_nan() && now.is_nan() {
            continue;
        }
        let difference = (was - now).abs();
        off = off.max(if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        });
    }
    match off <= within * largest.max(f64::MIN_POSITIVE) {
        true => Ok(off / largest.max(f64::MIN_POSITIVE)),
        false => Err(TransformError::OtherNumbers {
            value: name.to_owned(),
            off,
            largest,
        }),
    }
}

/// The numbers of an array.
fn numbers(array: &Array) -> Vec<f64> {
    match array {
        Array::F32(a) => a.iter().map(|&v| v.into()).collect(),
        Array::F64(a) => a.iter().copied().collect(),
        Array::F16(a) => a.iter().map(|v| v.to_f64()).collect(),
        Array::I64(a) => a.iter().map(|&v| v as f64).collect(),
        Array::I32(a) => a.iter().map(|&v| v.into()).collect(),
        Array::U8(a) => a.iter().map(|&v| v.into()).collect(),
        Array::Bool(a) => a.iter().map(|&v| f64::from(u8::from(v))).collect(),
    }
}

/// Whether a model computes with floats of 16 bits, of which onnxruntime keeps more digits between two nodes than a cut has.
fn has_16_bits(model: &Model) -> bool {
    let is_half = |number: Option<i32>| matches!(number, Some(10 | 16));
    let graph = model.graph();
    let cast = |node: &&NodeProto| {
        let mut attributes = node.attribute.iter();
        attributes.any(|a| a.name.as_deref() == Some("to") && matches!(a.i, Some(10 | 16)))
    };
    graph.initializer.iter().any(|t| is_half(t.data_type))
        || model.nodes_of("Cast").iter().any(cast)
        || graph.input.iter().any(|input| {
            match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
                Some(TypeValue::Tensor(tensor)) => is_half(tensor.elem_type),
                _ => false,
            }
        })
}
