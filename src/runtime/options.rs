//! How sessions compute.

use std::path::PathBuf;
use std::time::Duration;

use ort::session::builder::PrepackedWeights;

use super::{Device, Runtime};

/// How a session computes.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// What error messages call the session.
    pub label: String,
    /// Where it computes.
    pub device: Device,
    /// Threads of one run, the caller included; 0 is one for each core that the process may use.
    pub threads: usize,
    /// Whether onnxruntime rewrites the graph (all its optimisations) or runs it as it stands.
    pub optimize: bool,
    /// Where the session keeps the copies of its external initializers that kernels rearrange for
    /// speed; `None` keeps them in the session.
    pub packing: Option<Packing>,
    /// Bytes of external initializers up to which kernels may keep copies of them that are rearranged for
    /// speed; more are read as they lie, so that a large model is not in memory twice.
    pub most_packed: usize,
    /// Whether the graph may use the operators of [`crate::kernels`] (on the processor alone).
    pub kernels: bool,
    /// Whether a GPU may multiply in TF32, with 10 bits behind the point in place of 23.
    pub tf32: bool,
    /// Whether a GPU records its work at the first run on each binding, as a CUDA graph, and replays it from then on. All
    /// of the graph must run on the GPU; elsewhere it changes nothing but where numbers are kept.
    pub replay: bool,
    /// How long an unbound run may take; it is ended then.
    pub limit: Option<Duration>,
    /// Prefix of the file that gets the times of every node; see
    /// [`Session::end_profile`](super::Session::end_profile).
    pub profile: Option<PathBuf>,
}

impl Default for SessionOptions {
    /// On the processor, with all cores, optimised, without a limit or a profile.
    fn default() -> Self {
        Self {
            label: "model".to_owned(),
            device: Device::Cpu,
            threads: 0,
            optimize: true,
            packing: None,
            most_packed: 1 << 30,
            kernels: false,
            tf32: false,
            replay: false,
            limit: None,
            profile: None,
        }
    }
}

/// Rearranged weights that sessions share: those that are given the same `Packing` and the same
/// [`SharedTensor`](super::SharedTensor) keep one copy between them. It lives as long as a handle or a session has it.
#[derive(Debug, Clone)]
pub struct Packing(pub(super) PrepackedWeights);

impl Packing {
    /// An empty one.
    pub fn new(_loaded: &Runtime) -> Self {
        Self(PrepackedWeights::new())
    }
}

/// The number of threads that this option stands for: the kernels cut their work for as many as there
/// are.
pub(super) fn threads(option: usize) -> usize {
    match option {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
