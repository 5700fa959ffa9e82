//! Runs whose trials are carried out by a cluster: a real Slurm and a real Ray, each of two nodes on this
//! machine, to which happens what happens to clusters. What a run comes to must not show any of it.
//!
//! Optimised only: what takes time here are trials and clusters, and no other check of a debug build is.
#![cfg(all(target_os = "linux", not(debug_assertions)))]

mod ray;
mod scene;
mod slurm;
#[allow(
    dead_code,
    unused_imports,
    reason = "it holds more than is needed here"
)]
#[path = "../tune/support.rs"]
mod support;
