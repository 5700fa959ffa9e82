//! Errors of the adapter room.

use std::io;
use std::path::PathBuf;

use crate::classifier::ClassifierError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong with adapters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is no adapter.
    #[error("{path} is no adapter: {reason}")]
    NotAnAdapter {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// An adapter is not whole.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An adapter has a form that this version does not know.
    #[error("{path} is an adapter of format {format}, and this version of ftsurgery reads {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The one that is known.
        known: u32,
    },
    /// A model is not the one that was tuned.
    #[error(
        "what was tuned is a model of SHA-256 {expected}, and {path} (with what it has beside it) has {found}"
    )]
    OtherBackbone {
        /// The model.
        path: PathBuf,
        /// The hash of the backbone.
        expected: String,
        /// That of the model.
        found: String,
    },
    /// Values do not fit the network that their recipe makes of the backbone.
    #[error("the adapter does not fit its backbone: {reason}")]
    Misfit {
        /// What does not.
        reason: String,
    },
    /// What comes out is not the model that was kept.
    #[error(
        "what the adapter makes of its backbone has SHA-256 {found} and not {expected}, as the model that it was kept \
         of: that was written by ftsurgery {}, and this is {}",
        by.as_deref().unwrap_or("of an unknown version"),
        env!("CARGO_PKG_VERSION")
    )]
    OtherModel {
        /// The hash of the model that was kept.
        expected: String,
        /// That of what came out.
        found: String,
        /// The version that wrote it.
        by: Option<String>,
    },
    /// The file to be written is one of those that are read.
    #[error("{path} is read here, and would be written over")]
    OverInput {
        /// The file.
        path: PathBuf,
    },
    /// The graph is at fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model cannot be put into the form in which it is tuned.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// The model is at fault, or does not go with the recipe.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// The model cannot be freed from its batch size.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A model cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl AdapterError {
    /// Whether the user's files, rather than this machine, are at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            AdapterError::Write { .. } => false,
            AdapterError::Graph(e) => e.is_bad_input(),
            AdapterError::Classifier(e) => e.is_bad_input(),
            AdapterError::Onnx(e) => e.is_bad_input(),
            AdapterError::Training(e) => e.is_bad_input(),
            // What comes of a file is its fault.
            AdapterError::Surgery(_)
            | AdapterError::Read { .. }
            | AdapterError::NotAnAdapter { .. }
            | AdapterError::Damaged { .. }
            | AdapterError::Format { .. }
            | AdapterError::OtherBackbone { .. }
            | AdapterError::Misfit { .. }
            | AdapterError::OtherModel { .. }
            | AdapterError::OverInput { .. } => true,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            AdapterError::OtherBackbone { .. } => Some(
                "give the very file that was tuned or differentiated, with the files beside it: of a run, `model` of run.json \
                 names it",
            ),
            AdapterError::NotAnAdapter { .. } => Some(
                "adapters are RUN/winners/STRATEGY.safetensors, which `ftsurgery tune --keep-adapter` writes",
            ),
            AdapterError::Classifier(e) => e.hint(),
            _ => None,
        }
    }
}
