//! What a training graph is asked to do.

use crate::autodiff::Targets;
use crate::training::{BatchNormMode, Objective, Optimizer};

/// Samples per step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// This many, at least 1: all shapes are fixed.
    Fixed(usize),
    /// Any number.
    Any,
}

/// What a training graph is made for, beside its model and what is trained.
///
/// There is no learning rate in it, which is an input of the graph: that of the optimizer does not matter.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// What is made smaller.
    pub objective: Objective,
    /// Class weights and label smoothing of a classifier's loss.
    pub targets: Targets,
    /// The update rule, its weight decay and momentum.
    pub optimizer: Optimizer,
    /// See [`TrialSpec::clip_norm`](crate::training::TrialSpec::clip_norm).
    pub clip_norm: Option<f32>,
    /// See [`TrialSpec::ema`](crate::training::TrialSpec::ema).
    pub ema: Option<f32>,
    /// Whose statistics a trained BatchNormalization takes.
    pub batch_norm: BatchNormMode,
    /// Samples per step.
    pub batch: Batch,
}

impl TrainingOptions {
    /// For this objective and optimizer, a batch of one sample, and nothing else.
    pub fn new(objective: impl Into<Objective>, optimizer: Optimizer) -> Self {
        TrainingOptions {
            objective: objective.into(),
            targets: Targets::default(),
            optimizer,
            clip_norm: None,
            ema: None,
            batch_norm: BatchNormMode::Frozen,
            batch: Batch::Fixed(1),
        }
    }

    setters! {
        targets: Targets,
        clip_norm: Option<f32>,
        ema: Option<f32>,
        batch_norm: BatchNormMode,
        batch: Batch,
    }
}
