//! Errors of training.

use std::fmt;
use std::path::PathBuf;

use crate::autodiff::AutodiffError;
use crate::data::{DataError, show_bytes};
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::runtime::RuntimeError;
use crate::surgery::SurgeryError;

/// What can go wrong while a trial is built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A number that training goes on from or is judged by is not a number or infinite.
    #[error("{what} at step {step} (epoch {epoch}); training has diverged")]
    Diverged {
        /// Step in the trial, from 1; 0 before the first.
        step: usize,
        /// Epoch, from 1; 0 before the first step.
        epoch: usize,
        /// Which number.
        what: Divergence,
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
    /// The output gives probabilities although no softmax makes it.
    #[error(
        "the output `{output}` is no logits but probabilities: for {samples} samples it is between 0 and 1 and \
         sums to 1, though no softmax is found that makes it; give the model with its logits as output \
         instead, or train a new head (tune --head linear)"
    )]
    Probabilities {
        /// The model's output.
        output: String,
        /// Samples that were looked at.
        samples: usize,
    },
    /// Data and model do not fit.
    #[error("{0}")]
    Mismatch(String),
    /// A model gives samples another result in company than alone.
    #[error("{node} gives samples another result together than apart: {}", alone(*exported))]
    Mixed {
        /// The first node whose result differs, or the value.
        node: String,
        /// The one batch size that the model is made for, if it is.
        exported: Option<usize>,
    },
    /// A checkpoint cannot be continued from: it is damaged, or of another trial.
    #[error("cannot continue from {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or what differs.
        reason: String,
        /// Whether it is no whole checkpoint of any trial: of no use, and no sign that something
        /// else has changed.
        is_damaged: bool,
    },
    /// A head cannot be solved because the network gives features that are no numbers.
    #[error("the features of {sample} are not all finite: no head can be solved on them")]
    Features {
        /// The first such sample.
        sample: String,
    },
    /// There is not memory enough to solve a head.
    #[error(
        "to solve the head takes {}, and there is memory for {}",
        show_bytes(*bytes),
        show_bytes(*limit)
    )]
    HeadMemory {
        /// What it takes at most, in bytes.
        bytes: u64,
        /// What this process may use, in bytes.
        limit: u64,
    },
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

/// What is no longer finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Divergence {
    /// The loss of a step, before its update.
    Loss(f32),
    /// The loss on the validation samples, after the epoch.
    Validation(f64),
    /// Values of the parameter of this name, after the epoch.
    Parameter(String),
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Divergence::Loss(loss) => write!(f, "the loss is {loss}"),
            Divergence::Validation(loss) => write!(f, "the validation loss is {loss}"),
            Divergence::Parameter(name) => write!(f, "`{name}` has values that are not finite"),
        }
    }
}

/// Why samples are mixed, and the way out.
fn alone(exported: Option<usize>) -> String {
    match exported {
        Some(n) => format!(
            "the model is made for batches of {n} only; export it for any (in PyTorch dynamic_axes or dynamic_shapes)"
        ),
        None => "it computes with all images of a batch, as normalisations do in training mode; export the model for \
                 inference (in Keras after `model.trainable = False`)"
            .to_owned(),
    }
}

impl TrainingError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            TrainingError::Diverged { .. } | TrainingError::Stopped => false,
            TrainingError::Label { .. }
            | TrainingError::Mismatch(_)
            | TrainingError::Mixed { .. }
            | TrainingError::Checkpoint { .. }
            | TrainingError::Probabilities { .. }
            | TrainingError::Features { .. }
            | TrainingError::HeadMemory { .. }
            | TrainingError::NoSamples => true,
            TrainingError::Autodiff(e) => e.is_bad_input(),
            TrainingError::Graph(e) => e.is_bad_input(),
            TrainingError::Onnx(e) => e.is_bad_input(),
            TrainingError::Surgery(e) => e.is_bad_input(),
            TrainingError::Data(e) => e.is_bad_input(),
            TrainingError::Runtime(e) => e.is_bad_input(),
        }
    }
}
