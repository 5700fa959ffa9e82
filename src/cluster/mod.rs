//! Runs whose trials a cluster carries out.
//!
//! [`Slurm`] and [`Ray`] hand out what [`collect`](crate::search::collect) asks for; the processes that they
//! start are those of `ftsurgery trial` and `ftsurgery collect`, and all that these share is the run's folder.
//! No result depends on it.

mod divide;
mod error;
mod folder;
mod ray;
mod slurm;

pub use error::ClusterError;
pub use ray::{RAY_SCRIPT, Ray};
pub use slurm::Slurm;
