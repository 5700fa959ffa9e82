//! Errors of this room.

use crate::classifier::ClassifierError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::surgery::SurgeryError;

/// What can go wrong while a model is packaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The model, or what is asked for, does not go into such a package.
    #[error("{0}")]
    Unfit(String),
    /// The model is no classifier that can be run, or its metadata cannot be used.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// The model's graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model's file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model cannot be changed so.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// What was written for it cannot be put into words of JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl PackageError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            PackageError::Unfit(_) => true,
            PackageError::Classifier(e) => e.is_bad_input(),
            PackageError::Graph(e) => e.is_bad_input(),
            PackageError::Onnx(e) => e.is_bad_input(),
            PackageError::Surgery(e) => e.is_bad_input(),
            PackageError::Json(_) => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            PackageError::Classifier(e) => e.hint(),
            _ => None,
        }
    }
}
