//! Sessions of onnxruntime's training API.

use std::fmt;
use std::ptr::{self, NonNull};

use ort::AsPointer;
use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::training::{Checkpoint, training_api};
use ort::value::{DynValue, Tensor};

use super::buffer::Borrow;
use super::denormals::FlushToZero;
use super::refusal::refused;
use super::session::{builder, misfit};
use super::{Buffer, Device, Runtime, RuntimeError, SessionOptions};

/// A session of onnxruntime's training API, on the processor: it holds the parameters, their gradients and what the optimizer
/// remembers.
///
/// Denormal numbers count as zero, and results are the same from run to run for the same number of threads, as in a
/// [`Session`](super::Session).
pub struct Trainer {
    label: String,
    trainer: ort::training::Trainer,
    /// All trained parameters, one behind the other.
    parameters: Tensor<f32>,
}

impl fmt::Debug for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Trainer");
        told.field("label", &self.label).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Tells whether the library has the training API.
    ///
    /// # Errors
    /// [`RuntimeError::NoTrainingApi`] where it has not.
    pub fn is_available(runtime: &Runtime) -> Result<(), RuntimeError> {
        let lacks = |_| RuntimeError::NoTrainingApi {
            reason: format!(
                "onnxruntime {} at `{}` is built without it",
                runtime.version(),
                runtime.path().display()
            ),
        };
        training_api().map(drop).map_err(lacks)
    }

    /// Loads the graphs of loss and gradients and of the optimizer, as bytes of their `ModelProto`, with the checkpoint that
    /// they go on from.
    ///
    /// # Errors
    /// When the library has no training API, the device is another than the processor, or onnxruntime refuses one of them.
    pub fn new(
        runtime: &Runtime,
        training_model: &[u8],
        optimizer_model: &[u8],
        checkpoint: &[u8],
        options: &SessionOptions,
    ) -> Result<Self, RuntimeError> {
        Self::is_available(runtime)?;
        if options.device != Device::Cpu {
            return Err(RuntimeError::Device {
                device: options.device.to_string(),
                reason: "the training API is used on the processor alone".to_owned(),
            });
        }
        let _flush = FlushToZero::new();
        let failed = |error| refused(&options.label, "load the model", &error);
        let load = || -> ort::Result<Self> {
            let trainer = ort::training::Trainer::new_from_memory(
                builder(runtime, options)?,
                Allocator::default(),
                Checkpoint::load_from_buffer(checkpoint)?,
                training_model,
                &[],
                optimizer_model,
            )?;
            let count = trainer.num_params(true)?;
            Ok(Trainer {
                label: options.label.clone(),
                trainer,
                parameters: Tensor::new(&Allocator::default(), [count])?,
            })
        };
        load().map_err(failed)
    }

    /// Forward pass and gradients on these inputs, in the order of the graph, each of the dimensions that it has there. Gives
    /// its only output that is no gradient's, the loss, a scalar.
    ///
    /// # Errors
    /// When a buffer is being written or does not fit, or onnxruntime fails.
    pub fn step(&mut self, inputs: &[&Buffer]) -> Result<f32, RuntimeError> {
        let borrows = inputs.iter().map(|buffer| buffer.borrow_input());
        let borrows = borrows.collect::<Result<Vec<_>, _>>()?;
        let values: Vec<SessionInputValue<'_>> = borrows.iter().map(Borrow::as_input).collect();
        let _flush = FlushToZero::new();
        let loss = train_step(&self.trainer, &values);
        let loss = loss.map_err(|error| refused(&self.label, "run", &error))?;
        let loss = loss.try_extract_tensor::<f32>().ok();
        let loss = loss.and_then(|(_, values)| values.first().copied());
        loss.ok_or_else(|| misfit(&self.label, "loss", "it is no float".to_owned()))
    }

    /// Updates the parameters by the gradients of the last [`step`](Self::step).
    ///
    /// # Errors
    /// When onnxruntime fails.
    pub fn update(&mut self, rate: f32) -> Result<(), RuntimeError> {
        let _flush = FlushToZero::new();
        let mut optimizer = self.trainer.optimizer();
        let mut update = || {
            optimizer.set_lr(rate)?;
            optimizer.step()?;
            optimizer.reset_grad()
        };
        update().map_err(|error| refused(&self.label, "update the parameters", &error))
    }

    /// Writes the parameters as they are now into buffers, which are in the order of the graph's inputs.
    ///
    /// # Errors
    /// When the buffers are not as large as the parameters or in use, or onnxruntime fails.
    pub fn read_parameters(&mut self, buffers: &[Buffer]) -> Result<(), RuntimeError> {
        let copied = self.trainer.copy_parameters_to(&mut self.parameters, true);
        copied.map_err(|error| refused(&self.label, "give its parameters", &error))?;
        let (_, mut rest) = self.parameters.extract_tensor();
        let differs = || {
            let reason = "they are of another number than asked for".to_owned();
            misfit(&self.label, "parameters", reason)
        };
        for buffer in buffers {
            let mut values = buffer.as_f32_mut()?;
            let (own, others) = rest.split_at_checked(values.len()).ok_or_else(differs)?;
            values.copy_from_slice(own);
            rest = others;
        }
        match rest {
            [] => Ok(()),
            _ => Err(differs()),
        }
    }

    /// The checkpoint as it is now, with what the optimizer remembers.
    ///
    /// # Errors
    /// When it cannot be written to the system's folder for temporary files, the only place from which onnxruntime gives it,
    /// or read again.
    pub fn checkpoint(&self) -> Result<Vec<u8>, RuntimeError> {
        let io = |action, path: &std::path::Path, source| RuntimeError::Io {
            action,
            path: path.to_owned(),
            source,
        };
        let folder = tempfile::tempdir();
        let folder = folder.map_err(|e| io("cannot create", &std::env::temp_dir(), e))?;
        let path = folder.path().join("checkpoint");
        let saved = self.trainer.checkpoint().save(&path, true);
        saved.map_err(|error| refused(&self.label, "give its checkpoint", &error))?;
        std::fs::read(&path).map_err(|e| io("cannot read", &path, e))
    }
}

/// What [`ort::training::Trainer::step`] is for, which panics where an output is a tensor.
#[allow(unsafe_code)]
fn train_step(
    trainer: &ort::training::Trainer,
    inputs: &[SessionInputValue<'_>],
) -> ort::Result<DynValue> {
    let inputs: Vec<_> = inputs.iter().map(|value| value.ptr()).collect();
    let mut loss = ptr::null_mut();
    let api = training_api()?;
    // SAFETY: the session lives as long as `trainer`, and is run by nobody else, as it does not leave its thread. The inputs
    // are live values; the out-pointer is live and null, so that onnxruntime makes the value. That is owned by what is made
    // of it, and on the host, as its session is.
    unsafe {
        ort::Error::result_from_status((api.TrainStep)(
            trainer.ptr().cast_mut(),
            ptr::null(),
            inputs.len(),
            inputs.as_ptr(),
            1,
            &mut loss,
        ))?;
        let loss = NonNull::new(loss).ok_or_else(|| ort::Error::new("it gave no loss"))?;
        Ok(DynValue::from_ptr(loss, Some(&Allocator::default())))
    }
}
