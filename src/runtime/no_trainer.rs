//! What stands for onnxruntime's training API where the feature `training` is not built in.

use super::{Buffer, Runtime, RuntimeError, SessionOptions};

/// A session of onnxruntime's training API; there is none.
#[derive(Debug)]
pub struct Trainer {
    none: std::convert::Infallible,
}

impl Trainer {
    /// Tells that it cannot be used.
    ///
    /// # Errors
    /// Always.
    pub fn is_available(_runtime: &Runtime) -> Result<(), RuntimeError> {
        Err(none())
    }

    /// Makes none.
    ///
    /// # Errors
    /// Always.
    pub fn new(
        _runtime: &Runtime,
        _training_model: &[u8],
        _optimizer_model: &[u8],
        _checkpoint: &[u8],
        _options: &SessionOptions,
    ) -> Result<Self, RuntimeError> {
        Err(none())
    }

    /// See the feature `training`.
    pub fn step(&mut self, _inputs: &[&Buffer]) -> Result<f32, RuntimeError> {
        match self.none {}
    }

    /// See the feature `training`.
    pub fn update(&mut self, _rate: f32) -> Result<(), RuntimeError> {
        match self.none {}
    }

    /// See the feature `training`.
    pub fn read_parameters(&mut self, _buffers: &[Buffer]) -> Result<(), RuntimeError> {
        match self.none {}
    }

    /// See the feature `training`.
    pub fn checkpoint(&self) -> Result<Vec<u8>, RuntimeError> {
        match self.none {}
    }
}

fn none() -> RuntimeError {
    RuntimeError::NoTrainingApi {
        reason: "this ftsurgery is built without the feature `training`".to_owned(),
    }
}
