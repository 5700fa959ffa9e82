//! Errors of operations on whole models.

use std::path::PathBuf;

use crate::analysis::{AnalysisError, BackboneError};
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::runtime::RuntimeError;
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong while a model is made of another, and checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// An edit does not fit the model, or the new one is not what it is said to be.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model cannot be analysed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// No feature map was found.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The model cannot be freed from its batch.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// onnxruntime is not there, or fails.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Nobody knows the type of a value that is to be an input or an output.
    #[error(
        "the type of `{value}` is not noted in the model, and cannot be inferred without onnxruntime"
    )]
    NoType {
        /// The value.
        value: String,
        /// Why onnxruntime could not tell it.
        #[source]
        source: Option<Box<RuntimeError>>,
    },
    /// A value is no tensor, or of a type that cannot be declared here.
    #[error(
        "`{value}` is no tensor of a type that is known here, and cannot be an input or an output of its own"
    )]
    ExoticType {
        /// The value.
        value: String,
    },
    /// What is asked for does not fit the model.
    #[error("{0}")]
    Unfit(String),
    /// A name pattern means nothing in the model.
    #[error("`{pattern}` is the name of no {kinds} of the model")]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// What was looked at.
        kinds: String,
    },
    /// A pattern is no regular expression.
    #[error("`{pattern}` is no regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        source: Box<regex::Error>,
    },
    /// The new model computes something else.
    #[error(
        "the new model was not written, as it does not compute what it should: `{value}` is off by {off:.3e}, of numbers up \
         to {largest:.3e}"
    )]
    OtherNumbers {
        /// The value of the new model.
        value: String,
        /// The largest difference.
        off: f64,
        /// The largest number.
        largest: f64,
    },
    /// The new model's values have other dimensions or another type.
    #[error("the new model was not written, as `{value}` is {now} in it, and was {was}")]
    OtherShape {
        /// The value.
        value: String,
        /// Type and dimensions in the new model.
        now: String,
        /// Those in the original.
        was: String,
    },
    /// onnxruntime does not take the new model, and took the original.
    #[error("the new model was not written, as onnxruntime does not run it")]
    DoesNotRun(#[source] Box<RuntimeError>),
    /// The numbers were to be compared and cannot be.
    #[error("the numbers cannot be compared: {reason}")]
    NotCompared {
        /// What stands in the way.
        reason: String,
        /// What onnxruntime says.
        #[source]
        source: Option<Box<RuntimeError>>,
    },
    /// A file is there already.
    #[error("{path} exists")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is to be written is read.
    #[error("{path} is read here, and would be written over")]
    Reads {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl TransformError {
    /// Whether the user's input, rather than a failure on the way, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            TransformError::Surgery(e) => match e {
                SurgeryError::Unreachable { .. } | SurgeryError::NoTensor { .. } => true,
                e => e.is_bad_input(),
            },
            TransformError::Graph(e) => e.is_bad_input(),
            TransformError::Onnx(e) => e.is_bad_input(),
            TransformError::Analysis(e) => e.is_bad_input(),
            TransformError::Training(e) => e.is_bad_input(),
            TransformError::Runtime(e) => e.is_bad_input(),
            TransformError::OtherNumbers { .. }
            | TransformError::OtherShape { .. }
            | TransformError::DoesNotRun(_)
            | TransformError::NotCompared { .. }
            | TransformError::Write { .. } => false,
            _ => true,
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            TransformError::NoType { .. } => "`ftsurgery runtime install` fetches onnxruntime",
            TransformError::Exists { .. } => {
                "choose another file with --out, or overwrite it with --force"
            }
            TransformError::Onnx(OnnxError::TooLarge { .. }) => {
                "`ftsurgery externalize` writes the data of large tensors to a file beside the model"
            }
            TransformError::NotCompared { .. } => {
                "--check structure holds the new model against its manifest alone"
            }
            TransformError::Runtime(e) => return e.hint(),
            _ => return None,
        })
    }
}
