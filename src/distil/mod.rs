//! Repairing a changed model by the one that it was made of, without labels.
//!
//! What rounding, pruning, merging or noise did to a network shows in the values inside of it. [`distil`] goes through the
//! network block by block, from the input on. A block ends at a value through which all paths go, and which both networks
//! have. It gets what the changed network, repaired so far, computes of some pictures at its beginning, and learns to give what
//! the original has at its end: its own parameters are trained on kept values, by the mean squared error. So errors of
//! earlier blocks are mended where they can be, and none is trained through more than one block.
//!
//! Part of the pictures is held back. Of them are all figures, and by them the epoch of each block is chosen, or what it had
//! before. What comes out is never further from the original's scores on them than what went in: a block with which it would
//! be is left as it was.
//!
//! A model of integers is repaired as [what these stand for](crate::surgery::rounding): rounded in each step as its file
//! rounds, and written back in integers by the scales that the file has.

mod blocks;
mod compare;
mod ends;
mod error;
mod figures;
mod repair;
mod work;
mod write;

pub use error::DistilError;
pub use figures::{BlockFigures, Figures, OutputFigures};
pub use repair::{Distilled, Pictures, distil};

use std::path::PathBuf;

use crate::autodiff::Operators;
use crate::data::default_memory_budget;
use crate::runtime::Device;

/// How a model is repaired.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DistilOptions {
    /// Passes over the pictures with each block.
    pub epochs: usize,
    /// Pictures per step, where there are as many to train on.
    pub batch_size: usize,
    /// The learning rate that each block begins with, as a share of the size of each parameter's values; `None` where each
    /// finds its own.
    pub rate: Option<f32>,
    /// The share of pictures that is held back, at least one.
    pub held_back: f64,
    /// Seed of which pictures are held back, and of their order in training.
    pub seed: u64,
    /// The device.
    pub device: Device,
    /// Threads; 0 for all cores.
    pub threads: usize,
    /// What steps may be made of.
    pub operators: Operators,
    /// Bytes of values that may be held in memory; beyond it they are held in files.
    pub memory_budget: u64,
    /// Folder for those files.
    pub spill_dir: PathBuf,
}

impl Default for DistilOptions {
    /// 10 epochs of batches of 8, a fifth held back, on the processor with all cores.
    fn default() -> Self {
        DistilOptions {
            epochs: 10,
            batch_size: 8,
            rate: None,
            held_back: 0.2,
            seed: 0,
            device: Device::default(),
            threads: 0,
            operators: Operators::Kernels,
            memory_budget: default_memory_budget(),
            spill_dir: std::env::temp_dir(),
        }
    }
}

impl DistilOptions {
    setters! {
        epochs: usize,
        batch_size: usize,
        rate: Option<f32>,
        held_back: f64,
        seed: u64,
        device: Device,
        threads: usize,
        operators: Operators,
        memory_budget: u64,
        spill_dir: PathBuf,
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pictures pass through both networks.
    Values,
    /// Learning rates are tried.
    Rates,
    /// A block is trained.
    Training,
}

/// Hears how far the work is, and may stop it.
pub trait Watch {
    /// `done` of `total` of what takes a while with block `block`, from 1, are done; a `total` of 0 where nothing is counted.
    fn doing(&self, block: usize, stage: Stage, done: usize, total: usize) {
        let _ = (block, stage, done, total);
    }
    /// So many blocks were found.
    fn found(&self, blocks: usize) {
        let _ = blocks;
    }
    /// A block is done.
    fn block(&self, figures: &BlockFigures) {
        let _ = figures;
    }
    /// Whether the work is to be stopped.
    fn stopped(&self) -> bool {
        false
    }
}

impl Watch for () {}
