//! Errors of the classifier room.

use crate::data::DataError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::runtime::RuntimeError;
use crate::surgery::SurgeryError;

/// What can go wrong while a classifier is read, fed or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// The model is no classifier, its metadata cannot be used, or it does not fit what it is given.
    #[error("{0}")]
    Mismatch(String),
    /// The data are at fault.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model's graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// What its output is cannot be told.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// onnxruntime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl ClassifierError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            ClassifierError::Mismatch(_) => true,
            ClassifierError::Data(e) => e.is_bad_input(),
            ClassifierError::Graph(e) => e.is_bad_input(),
            ClassifierError::Onnx(e) => e.is_bad_input(),
            ClassifierError::Surgery(e) => e.is_bad_input(),
            ClassifierError::Runtime(e) => e.is_bad_input(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ClassifierError::Data(e) => e.hint(),
            ClassifierError::Runtime(e) => e.hint(),
            _ => None,
        }
    }
}
