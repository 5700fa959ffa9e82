//! Where and how a lab computes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::autodiff::Operators;
use crate::data::{Augment, FeaturePrecision, default_memory_budget};
use crate::runtime::Device;

/// Where and within which limits trials run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LabOptions {
    /// The device.
    pub device: Device,
    /// Threads per session of the frozen prefix and of predictions; 0 for all cores. A trial's own
    /// sessions have [`TrialSpec::threads`](crate::training::TrialSpec::threads).
    pub threads: usize,
    /// Bytes of frozen features that may be held in memory; beyond it they are held in files.
    pub memory_budget: u64,
    /// Folder for those files.
    pub spill_dir: PathBuf,
    /// The type in which frozen features are held.
    pub feature_precision: FeaturePrecision,
    /// How images are changed while they are trained on.
    pub augment: Augment,
    /// Number of augmented versions of each image, which epochs take in turn and whose features are
    /// kept; without it every epoch makes its own.
    pub views: Option<NonZeroUsize>,
    /// What the step graphs may be made of; devices other than the processor have standard
    /// operators alone.
    pub operators: Operators,
    /// Whether a GPU may multiply in [TF32](crate::runtime::SessionOptions::tf32).
    pub tf32: bool,
}

impl Default for LabOptions {
    /// On the processor with all cores, the [default memory](default_memory_budget) and the system's
    /// folder for temporary files.
    fn default() -> Self {
        LabOptions {
            device: Device::default(),
            threads: 0,
            memory_budget: default_memory_budget(),
            spill_dir: std::env::temp_dir(),
            feature_precision: FeaturePrecision::default(),
            augment: Augment::default(),
            views: None,
            operators: Operators::Kernels,
            tf32: false,
        }
    }
}

impl LabOptions {
    setters! {
        device: Device,
        threads: usize,
        memory_budget: u64,
        spill_dir: PathBuf,
        feature_precision: FeaturePrecision,
        augment: Augment,
        views: Option<NonZeroUsize>,
        operators: Operators,
        tf32: bool,
    }
}
