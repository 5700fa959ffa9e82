//! Errors of verifying models.

use std::path::PathBuf;

use crate::onnx::OnnxError;

/// What can go wrong while a model is verified, other than that it does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An input cannot be made or read.
    #[error("input `{input}`: {reason}")]
    Input {
        /// Its name.
        input: String,
        /// Why.
        reason: String,
    },
    /// A file with inputs cannot be read.
    #[error("cannot read the inputs in {path}: {reason}")]
    Inputs {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A dimension that is named is not open.
    #[error("no input has an open dimension `{name}`; open are {open}")]
    Dimension {
        /// The name as given.
        name: String,
        /// What there is.
        open: String,
    },
    /// The folder for what runtimes read and write cannot be used.
    #[error("cannot use the temporary file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The model cannot be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl VerifyError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            VerifyError::Io { .. } => false,
            VerifyError::Onnx(error) => error.is_bad_input(),
            _ => true,
        }
    }
}
