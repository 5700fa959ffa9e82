//! Models, loaded and ready to run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ort::session::RunOptions;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, ValueType};

use super::denormals::FlushToZero;
use super::options::{Packing, SessionOptions, threads};
use super::refusal::refused;
use super::tensor::{dtype_name, dtype_number};
use super::{Array, Device, Runtime, RuntimeError, SharedTensor, capture, operators};

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// ONNX number of the element type; 0 when it is not a tensor or of an exotic type.
    pub dtype: i32,
    /// Size of every dimension, `None` where it is symbolic.
    pub dims: Vec<Option<usize>>,
    /// The name of every dimension that is symbolic and has one, else empty.
    pub symbols: Vec<String>,
}

impl Port {
    fn of(outlet: &ort::value::Outlet) -> Self {
        let (number, dims, symbols) = match outlet.dtype() {
            ValueType::Tensor {
                ty,
                shape,
                dimension_symbols,
            } => (
                dtype_number(*ty),
                shape.iter().map(|dim| usize::try_from(*dim).ok()).collect(),
                dimension_symbols.iter().cloned().collect(),
            ),
            _ => (0, Vec::new(), Vec::new()),
        };
        Self {
            name: outlet.name().to_owned(),
            dtype: number,
            dims,
            symbols,
        }
    }
}

/// A model, loaded and ready to run on one device.
///
/// Denormal numbers count as zero in every run, whichever thread calls it; results are the same
/// from run to run for the same number of threads.
#[derive(Debug)]
pub struct Session {
    pub(super) id: u64,
    pub(super) label: String,
    pub(super) device: Device,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    limit: Option<Duration>,
    profiling: bool,
    /// Whether runs are recorded and replayed, and how many bindings there are.
    pub(super) replay: Option<AtomicI32>,
    pub(super) session: ort::session::Session,
    /// Memory that `session` reads; declared after it, so it is dropped later.
    pub(super) externals: Arc<[SharedTensor]>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Session {
    /// Loads a model from the bytes of its `ModelProto`.
    ///
    /// `externals` gives the content of initializers by name; in the model these have
    /// `data_location` EXTERNAL (whatever their location says) and the same type and dimensions.
    ///
    /// # Errors
    /// When the device is not available, or onnxruntime refuses the model or an external tensor.
    pub fn new(
        runtime: &Runtime,
        model: &[u8],
        externals: &[(String, SharedTensor)],
        options: &SessionOptions,
    ) -> Result<Self, RuntimeError> {
        let _flush = FlushToZero::new();
        let providers = options.device.providers(runtime, options)?;
        let _running = (options.device != Device::Cpu).then(capture::running);
        let failed = |error| refused(&options.label, "load the model", &error);
        let build = || build(runtime, model, externals, options, &providers);
        let session = operators::registered(options.kernels, build).map_err(failed)?;
        if !externals.is_empty() {
            return_freed_memory();
        }
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            label: options.label.clone(),
            device: options.device,
            inputs: session.inputs().iter().map(Port::of).collect(),
            outputs: session.outputs().iter().map(Port::of).collect(),
            limit: options.limit,
            profiling: options.profile.is_some(),
            replay: options.replay.then(AtomicI32::default),
            session,
            externals: externals.iter().map(|(_, tensor)| tensor.clone()).collect(),
        })
    }

    /// What error messages call the session.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The inputs, in the model's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Runs once on the given inputs and returns all outputs, in the model's order.
    ///
    /// # Errors
    /// When an input is missing, unknown or does not fit, or onnxruntime fails.
    pub fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<Array>, RuntimeError> {
        self.run_for(inputs, |_| true)
    }

    /// As [`Session::run`], for one of the outputs; the others need not be tensors.
    ///
    /// # Errors
    /// As [`Session::run`], and when there is no such output.
    pub fn run_one(
        &mut self,
        inputs: &[(&str, &Array)],
        output: &str,
    ) -> Result<Array, RuntimeError> {
        let mut wanted = self.run_for(inputs, |name| name == output)?;
        let missing = || self.misfit(output, "the model has no such output".to_owned());
        wanted.pop().ok_or_else(missing)
    }

    fn run_for(
        &mut self,
        inputs: &[(&str, &Array)],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Array>, RuntimeError> {
        for (name, array) in inputs {
            self.check(&self.inputs, name, array.dtype(), array.dims())?;
        }
        let arrays: Vec<_> = inputs
            .iter()
            .map(|(name, array)| (*name, array.to_row_major()))
            .collect();
        let mut values = Vec::with_capacity(arrays.len());
        for (name, array) in &arrays {
            let value = array
                .as_input()
                .map_err(|e| self.misfit(name, e.to_string()))?;
            values.push((*name, value));
        }
        let _flush = FlushToZero::new();
        let label = &self.label;
        let failed = |error: ort::Error| refused(label, "run", &error);
        let watch = RunOptions::new().map_err(failed)?;
        let ran = match self.limit {
            None => self.session.run(values).map_err(failed)?,
            Some(limit) => {
                let session = &mut self.session;
                let run = || session.run_with_options(values, &watch);
                let (ran, ended) = within(limit, run, || drop(watch.terminate()));
                match ended {
                    true => return Err(too_long(label, limit)),
                    false => ran.map_err(failed)?,
                }
            }
        };
        ran.iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| {
                Array::from_value(&value).map_err(|reason| misfit(label, name, reason))
            })
            .collect()
    }

    /// Ends the profile asked for in the options and returns the file it was written to.
    ///
    /// # Errors
    /// When onnxruntime cannot write it.
    pub fn end_profile(&mut self) -> Result<Option<PathBuf>, RuntimeError> {
        if !std::mem::take(&mut self.profiling) {
            return Ok(None);
        }
        let path = self
            .session
            .end_profiling()
            .map_err(|error| RuntimeError::Session {
                label: self.label.clone(),
                action: "write the profile".to_owned(),
                message: error.message().to_owned(),
                of_model: false,
            })?;
        Ok(Some(path.into()))
    }

    /// Whether one of the ports has this name and takes such a tensor.
    pub(super) fn check(
        &self,
        ports: &[Port],
        name: &str,
        number: i32,
        dims: &[usize],
    ) -> Result<(), RuntimeError> {
        let Some(port) = ports.iter().find(|port| port.name == name) else {
            let known: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
            return Err(self.misfit(name, format!("the model knows only {}", known.join(", "))));
        };
        mismatch(port, number, dims).map_or(Ok(()), |reason| Err(self.misfit(name, reason)))
    }

    pub(super) fn misfit(&self, name: &str, reason: String) -> RuntimeError {
        misfit(&self.label, name, reason)
    }
}

/// What all sessions have in common, trainers as well.
pub(super) fn builder(runtime: &Runtime, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    let level = if options.optimize {
        GraphOptimizationLevel::All
    } else {
        GraphOptimizationLevel::Disable
    };
    Ok(ort::session::Session::builder(runtime.environment())?
        .with_log_id(&options.label)?
        .with_optimization_level(level)?
        .with_intra_threads(threads(options.threads))?
        // Threads that spin while they wait slow down every other session and process.
        .with_intra_op_spinning(false)?
        .with_flush_to_zero()?
        .with_deterministic_compute(true)?
        // A planned block would come on top of what the first run has taken, and save no time.
        .with_memory_pattern(false)?)
}

fn build(
    runtime: &Runtime,
    model: &[u8],
    externals: &[(String, SharedTensor)],
    options: &SessionOptions,
    providers: &[ort::ep::ExecutionProviderDispatch],
) -> ort::Result<ort::session::Session> {
    let mut builder = builder(runtime, options)?.with_execution_providers(providers)?;
    if options.kernels {
        builder = builder.with_operators(operators::domain(threads(options.threads))?)?;
    }
    if let Some(prefix) = &options.profile {
        builder = builder.with_profiling(prefix)?;
    }
    let bytes: usize = externals.iter().map(|(_, tensor)| tensor.byte_len()).sum();
    if bytes > options.most_packed {
        builder = builder.with_prepacking(false)?;
    }
    for (name, tensor) in externals {
        let value: Arc<DynValue> = Arc::new(tensor.as_value(runtime)?);
        // As an external initializer alone, onnxruntime copies the tensor into the session; as a
        // shared initializer alone, it still wants to read the external file.
        builder = builder.with_initializer(name, Arc::clone(&value))?;
        builder = builder.with_external_initializer(name, value)?;
    }
    if let Some(Packing(container)) = &options.packing {
        builder = builder.with_prepacked_weights(container)?;
    }
    builder.commit_from_memory(model)
}

/// While it loads a model, onnxruntime copies every external initializer and frees the copy again.
/// glibc keeps such pieces, and cannot reuse them once small allocations split them, so that every
/// session would seem to hold a copy of the weights.
#[allow(unsafe_code)]
fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's function, in its documented signature; callable at any time.
        unsafe { malloc_trim(0) };
    }
}

/// Why a tensor cannot serve the port, if it cannot.
fn mismatch(port: &Port, number: i32, dims: &[usize]) -> Option<String> {
    if port.dtype != number {
        let (wanted, given) = (dtype_name(port.dtype), dtype_name(number));
        return Some(format!("takes elements of type {wanted}, not {given}"));
    }
    let fits = port.dims.len() == dims.len()
        && port
            .dims
            .iter()
            .zip(dims)
            .all(|(port, dim)| port.is_none_or(|port| port == *dim));
    (!fits).then(|| {
        let wanted: Vec<_> = port
            .dims
            .iter()
            .map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()))
            .collect();
        format!("takes dimensions [{}], not {dims:?}", wanted.join(", "))
    })
}

/// What `work` gives, and whether `end` was called because it took longer than `limit`.
fn within<T>(limit: Duration, work: impl FnOnce() -> T, end: impl FnOnce() + Send) -> (T, bool) {
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let late = wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                end();
            }
            late
        });
        let result = work();
        drop(done);
        (result, watcher.join().unwrap_or(false))
    })
}

fn too_long(label: &str, limit: Duration) -> RuntimeError {
    RuntimeError::Session {
        label: label.to_owned(),
        action: "run".to_owned(),
        message: format!(
            "it has a loop that had not ended after {} seconds",
            limit.as_secs()
        ),
        of_model: true,
    }
}

pub(super) fn misfit(label: &str, name: &str, reason: String) -> RuntimeError {
    RuntimeError::Tensor {
        label: label.to_owned(),
        name: name.to_owned(),
        reason,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
