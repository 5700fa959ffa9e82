//! One graph that trains: forward pass, loss, gradients, clipping, optimizer, running statistics and their average as one
//! ONNX model of standard operators, which any runtime executes.
//!
//! What training goes on from is the *state*: parameters, what the optimizer remembers of them, the number of the step. It
//! comes in and goes out with every run, under names that are a [`Contract`]. [`training_graph`] makes the model and the
//! state before the first step; [`State`] is a file of it, and [`State::apply`] writes a trained one into the model that it
//! is of. `docs/training-graph.md` has the contract in words, and programs that run it.

mod any_batch;
mod apply;
mod build;
mod contract;
mod error;
mod file;
mod operators;
mod options;
mod ort_training;
mod state;
mod update;

#[cfg(test)]
mod tests;

pub use apply::Trained;
pub use build::{TrainingGraph, training_graph};
pub use contract::{Contract, LABELS, LEARNING_RATE, LOSS, Role, Slot, VERSION};
pub use error::TrainingGraphError;
pub use file::TunedFile;
pub use operators::OPERATORS;
pub use options::{Batch, TrainingOptions};
pub(crate) use ort_training::OrtTraining;
pub use ort_training::{OrtArtifacts, ort_artifacts};
pub use state::State;
