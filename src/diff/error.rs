//! Errors of comparing models.

use crate::onnx::OnnxError;

/// What can go wrong while two models are compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The values of a tensor cannot be read to the end.
    #[error("cannot read the values of tensor `{tensor}`")]
    Values {
        /// Its name.
        tensor: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A tensor's data is not there, or not where the model says.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl DiffError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            DiffError::Values { .. } => false,
            DiffError::Onnx(error) => error.is_bad_input(),
        }
    }
}
