//! Answering a job in this process: by onnxruntime's library, or by tract.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use half::f16;
use ndarray::{ArrayD, IxDyn};

use crate::onnx::{DataType, Model, Tensor, is_external};
use crate::runtime::{Array, Runtime, Session, SessionOptions, SharedTensor};

use super::super::VerifyError;
use super::job::{Answer, Job, Ran};
use super::tract;

/// Answers the job in `file`; `runtime` gives onnxruntime's library where that is asked for.
///
/// # Errors
/// When the job cannot be read or its answer not be written, or the library is not there.
pub fn answer_job<E: From<VerifyError>>(
    file: &Path,
    runtime: impl FnOnce() -> Result<Runtime, E>,
) -> Result<(), E> {
    let job = Job::read(file)?;
    let inputs = job
        .inputs
        .iter()
        .map(|stored| Ok((stored.name.clone(), stored.load()?)));
    let inputs: Result<Vec<(String, Tensor)>, String> = inputs.collect();
    let inputs = inputs.map_err(|reason| VerifyError::Inputs {
        path: file.to_owned(),
        reason,
    })?;
    let (version, prepared) = match job.runtime.as_str() {
        "tract" => {
            let of = |path: &Path| tract::prepare(path, &inputs);
            (tract::VERSION.to_owned(), prepared(&job, of))
        }
        _ => {
            let runtime = runtime()?;
            let of = |path: &Path| onnxruntime(&runtime, path, &inputs);
            (runtime.version().to_string(), prepared(&job, of))
        }
    };
    let models = ran(prepared, Duration::from_secs_f64(job.seconds));
    Answer { version, models }.write(&job.folder)?;
    Ok(())
}

/// Runs a model once; the outputs by name.
pub(super) type Run<'r> = Box<dyn FnMut() -> Result<Vec<(String, Tensor)>, String> + 'r>;

fn prepared<'r>(
    job: &Job,
    of: impl Fn(&Path) -> Result<Run<'r>, String>,
) -> Vec<Result<Run<'r>, String>> {
    job.models.iter().map(|path| of(path)).collect()
}

/// Runs all models once, and then in turns for as long as each is timed, so that what else the machine does is shared.
fn ran(models: Vec<Result<Run<'_>, String>>, each: Duration) -> Vec<Ran> {
    let mut told = Vec::new();
    let mut runs = Vec::new();
    for (place, model) in models.into_iter().enumerate() {
        let mut ran = Ran::default();
        match model.and_then(|mut run| Ok((run()?, run))) {
            Ok((tensors, run)) => {
                ran.tensors = tensors;
                runs.push((place, run));
            }
            Err(why) => ran.error = Some(why),
        }
        told.push(ran);
    }
    let end = Instant::now() + each * runs.len() as u32;
    while !each.is_zero() && !runs.is_empty() && Instant::now() < end {
        for (place, run) in &mut runs {
            let begin = Instant::now();
            // It ran before, on the same.
            if run().is_ok() {
                told[*place].times.push(begin.elapsed().as_secs_f64());
            }
        }
    }
    told
}

fn onnxruntime<'r>(
    runtime: &Runtime,
    path: &Path,
    inputs: &'r [(String, Tensor)],
) -> Result<Run<'r>, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let model = Model::open(path).map_err(|e| text(&e))?;
    let mut externals = Vec::new();
    for proto in model.graph().initializer.iter().filter(|t| is_external(t)) {
        let tensor = model.tensor(proto).map_err(|e| text(&e))?;
        let (name, number) = (proto.name(), tensor.dtype as i32);
        let shared = SharedTensor::new(name, number, &tensor.dims, tensor.data);
        externals.push((name.to_owned(), shared.map_err(|e| text(&e))?));
    }
    let options = SessionOptions {
        label: "onnxruntime".to_owned(),
        ..SessionOptions::default()
    };
    let mut session =
        Session::new(runtime, model.file_bytes(), &externals, &options).map_err(|e| text(&e))?;
    // Its weights are in the session.
    drop((model, externals));
    let arrays: Result<Vec<(&str, Array)>, String> = inputs
        .iter()
        .map(|(name, tensor)| {
            let array =
                array(tensor).ok_or_else(|| format!("input `{name}` is {:?}", tensor.dtype))?;
            Ok((name.as_str(), array))
        })
        .collect();
    let arrays = arrays?;
    let names: Vec<String> = session
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    Ok(Box::new(move || {
        let given: Vec<(&str, &Array)> =
            arrays.iter().map(|(name, array)| (*name, array)).collect();
        let outputs = session.run(&given).map_err(|e| e.to_string())?;
        Ok(names
            .iter()
            .cloned()
            .zip(outputs.iter().map(tensor))
            .collect())
    }))
}

fn numbers<T, const N: usize>(tensor: &Tensor, number: impl Fn([u8; N]) -> T) -> Option<ArrayD<T>> {
    let chunks = tensor.data.as_chunks::<N>().0;
    let values = chunks.iter().map(|&chunk| number(chunk)).collect();
    ArrayD::from_shape_vec(IxDyn(&tensor.dims), values).ok()
}

/// A tensor as onnxruntime takes it; `None` of a type that is not handed over.
fn array(tensor: &Tensor) -> Option<Array> {
    Some(match tensor.dtype {
        DataType::Float => Array::F32(numbers(tensor, f32::from_le_bytes)?),
        DataType::Double => Array::F64(numbers(tensor, f64::from_le_bytes)?),
        DataType::Float16 => Array::F16(numbers(tensor, f16::from_le_bytes)?),
        DataType::Int64 => Array::I64(numbers(tensor, i64::from_le_bytes)?),
        DataType::Int32 => Array::I32(numbers(tensor, i32::from_le_bytes)?),
        DataType::Uint8 => Array::U8(numbers(tensor, u8::from_le_bytes)?),
        DataType::Bool => Array::Bool(numbers(tensor, |[byte]: [u8; 1]| byte != 0)?),
        _ => return None,
    })
}

fn tensor(array: &Array) -> Tensor {
    fn bytes<T: Copy, const N: usize>(array: &ArrayD<T>, of: impl Fn(T) -> [u8; N]) -> Bytes {
        array
            .iter()
            .flat_map(|&value| of(value))
            .collect::<Vec<u8>>()
            .into()
    }
    let (dtype, data) = match array {
        Array::F32(a) => (DataType::Float, bytes(a, f32::to_le_bytes)),
        Array::F64(a) => (DataType::Double, bytes(a, f64::to_le_bytes)),
        Array::F16(a) => (DataType::Float16, bytes(a, f16::to_le_bytes)),
        Array::I64(a) => (DataType::Int64, bytes(a, i64::to_le_bytes)),
        Array::I32(a) => (DataType::Int32, bytes(a, i32::to_le_bytes)),
        Array::U8(a) => (DataType::Uint8, bytes(a, u8::to_le_bytes)),
        Array::Bool(a) => (DataType::Bool, bytes(a, |b| [u8::from(b)])),
    };
    Tensor {
        dtype,
        dims: array.dims().to_vec(),
        data,
    }
}
