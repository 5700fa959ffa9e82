//! Errors of training.

use crate::autodiff::AutodiffError;
use crate::data::DataError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::runtime::RuntimeError;
use crate::surgery::SurgeryError;

/// What can go wrong while a trial is built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss of a step is not a number or infinite.
    #[error("the loss is {loss} at step {step} (epoch {epoch}); training has diverged")]
    Diverged {
        /// Step in the trial, from 1.
        step: usize,
        /// Epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f32,
    },
    /// A label does not fit the model's classes.
    #[error("{name} has label {label}, but the model has {classes} classes (0 to {})", classes - 1)]
    Label {
        /// The sample.
        name: String,
        /// Its label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// Data and model do not fit.
    #[error("{0}")]
    Mismatch(String),
    /// There is nothing to train on.
    #[error("there are no samples to train on")]
    NoSamples,
    /// The observer asked to stop.
    #[error("stopped")]
    Stopped,
    /// Differentiation failed.
    #[error(transparent)]
    Autodiff(#[from] AutodiffError),
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// Cutting or grafting failed.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// The data are at fault.
    #[error(transparent)]
    Data(#[from] DataError),
    /// onnxruntime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl TrainingError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            TrainingError::Diverged { .. } | TrainingError::Stopped => false,
            TrainingError::Label { .. } | TrainingError::Mismatch(_) | TrainingError::NoSamples => {
                true
            }
            TrainingError::Autodiff(e) => e.is_bad_input(),
            TrainingError::Graph(e) => e.is_bad_input(),
            TrainingError::Onnx(e) => e.is_bad_input(),
            TrainingError::Surgery(e) => e.is_bad_input(),
            TrainingError::Data(e) => e.is_bad_input(),
            TrainingError::Runtime(e) => e.is_bad_input(),
        }
    }
}
