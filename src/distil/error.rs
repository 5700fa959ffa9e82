//! Errors of the room.

use std::io;
use std::path::PathBuf;

use crate::classifier::ClassifierError;
use crate::data::DataError;
use crate::graph::GraphError;
use crate::onnx::OnnxError;
use crate::surgery::SurgeryError;
use crate::training::TrainingError;

/// What can go wrong while a model is held against its original and repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistilError {
    /// The two are no models of one architecture.
    #[error("{} is no changed form of {}: {reason}", model.display(), original.display())]
    Architecture {
        /// The model that is to be repaired.
        model: PathBuf,
        /// The one that it is held against.
        original: PathBuf,
        /// Where they differ.
        reason: String,
    },
    /// As onnxruntime computes with integers, the repaired model is further from its original than it was.
    #[error(
        "{} would be further from its original than it is, by integers as onnxruntime computes with them: relative error \
         {before:.5} -> {after:.5} at the outputs; nothing is written",
        model.display()
    )]
    Worse {
        /// The model.
        model: PathBuf,
        /// Its relative error.
        before: f64,
        /// That of the repaired one.
        after: f64,
    },
    /// There are too few pictures.
    #[error(
        "there are {found} pictures, and at least {least} are needed: some to train on, some to hold back"
    )]
    Few {
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// A value of one of the models is not a number, or infinite.
    #[error("{}: the values of `{value}` are not all finite numbers", model.display())]
    NotFinite {
        /// The model.
        model: PathBuf,
        /// The value.
        value: String,
    },
    /// The file that was written does not say what it should.
    #[error("{} failed its self-check: {reason}", path.display())]
    SelfCheck {
        /// The file.
        path: PathBuf,
        /// What is wrong.
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
    /// A model cannot be brought to normal form, or training failed.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A classifier cannot be run.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// The file cannot be edited.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// A graph is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The pictures cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model file is at fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl DistilError {
    /// Whether the user's files or flags, rather than this machine, are at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            DistilError::Architecture { .. }
            | DistilError::Few { .. }
            | DistilError::NotFinite { .. } => true,
            DistilError::SelfCheck { .. }
            | DistilError::Worse { .. }
            | DistilError::Write { .. } => false,
            DistilError::Training(e) => e.is_bad_input(),
            DistilError::Classifier(e) => e.is_bad_input(),
            DistilError::Surgery(e) => e.is_bad_input(),
            DistilError::Graph(e) => e.is_bad_input(),
            DistilError::Data(e) => e.is_bad_input(),
            DistilError::Onnx(e) => e.is_bad_input(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            DistilError::Architecture { .. } => {
                Some("give with --against the model that it was made of, before it was changed")
            }
            DistilError::Classifier(e) => e.hint(),
            _ => None,
        }
    }
}
