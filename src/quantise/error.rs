//! Errors of the room.

use std::io;
use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::onnx::OnnxError;
use crate::surgery::SurgeryError;

/// What can go wrong while a model is quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseError {
    /// There is no Python.
    #[error("quantising is done by onnxruntime's tool for Python, and {} cannot be run", python.display())]
    NoPython {
        /// What was to be run.
        python: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Python lacks a package.
    #[error("quantising is done by onnxruntime's tool for Python, and {} lacks what it takes: {reason}", python.display())]
    Missing {
        /// The Python.
        python: PathBuf,
        /// What it says.
        reason: String,
    },
    /// The tool failed.
    #[error("onnxruntime's quantize_static does not quantise the model: {reason}")]
    Failed {
        /// What it says.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The pictures cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file cannot be edited.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
}

impl QuantiseError {
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        QuantiseError::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the user's files or flags, rather than this machine, are at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            QuantiseError::NoPython { .. }
            | QuantiseError::Missing { .. }
            | QuantiseError::Failed { .. } => true,
            QuantiseError::Write { .. } => false,
            QuantiseError::Data(e) => e.is_bad_input(),
            QuantiseError::Onnx(e) => e.is_bad_input(),
            QuantiseError::Surgery(e) => e.is_bad_input(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            QuantiseError::NoPython { .. } | QuantiseError::Missing { .. } => Some(
                "python3 -m pip install onnx onnxruntime numpy, or name another Python with FTSURGERY_PYTHON",
            ),
            _ => None,
        }
    }
}
