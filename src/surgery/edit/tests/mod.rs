//! Tests of the editor and of what holds its results against its manifests.

mod differences;
mod operations;
mod random;
pub(crate) mod rich;
mod splice;
mod tensors;
