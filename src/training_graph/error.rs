//! Errors of this room.

use std::path::PathBuf;

use crate::adapter::AdapterError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong with graphs that train and their states.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingGraphError {
    /// Options and model do not go together.
    #[error("{0}")]
    Mismatch(String),
    /// The graph depends on the batch size in a way that cannot be left open.
    #[error("the batch size cannot be left open: {reason}")]
    FixedBatch {
        /// What depends on it.
        reason: String,
    },
    /// A name of the contract is one of the model's input or output.
    #[error(
        "the model's own `{name}` has a name that a tensor of the state has; give that value another"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// A file is no state.
    #[error("{path} is no state of a training graph: {reason}")]
    NotAState {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file is neither an adapter nor a state.
    #[error("{path} is neither an adapter nor a state of a training graph: {reason}")]
    Neither {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A state has tensors that its model does not have.
    #[error("the state does not fit its model: {0}")]
    Misfit(String),
    /// A file cannot be read or written, a model is another one, or what a file holds is an adapter and not whole.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model cannot be written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model is at fault, or does not take the values.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// The step cannot be made.
    #[error(transparent)]
    Training(#[from] TrainingError),
}

impl TrainingGraphError {
    /// Whether the user's files, rather than this machine, are at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            TrainingGraphError::Adapter(e) => e.is_bad_input(),
            TrainingGraphError::Graph(e) => e.is_bad_input(),
            TrainingGraphError::Onnx(e) => e.is_bad_input(),
            TrainingGraphError::Training(e) => e.is_bad_input(),
            // What comes of a file is its fault.
            TrainingGraphError::Surgery(_)
            | TrainingGraphError::Mismatch(_)
            | TrainingGraphError::FixedBatch { .. }
            | TrainingGraphError::Taken { .. }
            | TrainingGraphError::NotAState { .. }
            | TrainingGraphError::Neither { .. }
            | TrainingGraphError::Misfit(_) => true,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            TrainingGraphError::NotAState { .. } => Some(
                "states are safetensors or npz files with the names of the file that `differentiate --optimizer` writes",
            ),
            TrainingGraphError::Neither { .. } => Some(
                "adapters are RUN/winners/STRATEGY.safetensors, which `ftsurgery tune --keep-adapter` writes; states are \
                 safetensors or npz files with the names of the file that `differentiate --optimizer` writes, or checkpoints \
                 of onnxruntime's training API",
            ),
            TrainingGraphError::FixedBatch { .. } => {
                Some("give the number of samples with --batch-size")
            }
            TrainingGraphError::Adapter(e) => e.hint(),
            _ => None,
        }
    }
}
