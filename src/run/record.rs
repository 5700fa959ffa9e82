//! The content of `run.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::analysis::Delimiter;
use crate::autodiff::Operators;
use crate::classifier::Origin;
use crate::data::{Layout, Preprocess};
use crate::strategy::{Candidate, Strategy};
use crate::training::{BatchNormMode, Monitor, Optimizer, Plateau};

use super::Settings;

/// The number of the form in which this version of ftsurgery writes the files of a run. It is raised when
/// files of the old form cannot be read any more.
pub const FORMAT: u32 = 1;

/// What was run, on what, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Number of the form of a run's files; see [`FORMAT`].
    pub format: u32,
    /// The command line that made the run.
    pub command: Vec<String>,
    /// What made it.
    pub versions: Versions,
    /// The model that was tuned.
    pub model: ModelFile,
    /// Its weighted layers before the classifier, from input to output.
    pub layers: Vec<LayerRecord>,
    /// The data.
    pub data: DataRecord,
    /// What each strategy tries.
    pub strategies: Vec<Planned>,
    /// The settings in force.
    pub configuration: Configuration,
}

/// Versions of what computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Versions {
    pub ftsurgery: String,
    pub onnxruntime: String,
    /// The processor's, see [`runtime::instructions`].
    #[serde(default)]
    pub instructions: String,
}

/// A model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Absolute path.
    #[serde(with = "super::paths")]
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The files beside it that hold weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalFile>,
}

/// A file with external data of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalFile {
    /// Where it lies, as the model says.
    pub location: String,
    /// SHA-256 of what the model reads of it, in hexadecimal.
    pub sha256: String,
}

/// A weighted layer of the backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Name of its node.
    pub name: String,
    /// Number of trainable values.
    pub parameters: usize,
    /// Name of the block it lies in.
    pub block: String,
}

/// The data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Absolute path.
    #[serde(with = "super::paths")]
    pub path: PathBuf,
    /// See [`Dataset::fingerprint`].
    pub fingerprint: String,
    /// Number of samples.
    pub samples: usize,
    /// Whether they are images, named by their files.
    pub images: bool,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Files that were left out.
    pub skipped: Vec<SkippedFile>,
    /// What was told of the data; see [`Dataset::notes`].
    #[serde(default)]
    pub notes: Vec<String>,
    /// Number of samples in each part of the split.
    pub parts: Parts,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SkippedFile {
    pub path: String,
    pub reason: String,
}

/// Number of samples in each part of the split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Parts {
    pub search: usize,
    pub validation: usize,
    pub train: usize,
    pub held_out: usize,
}

/// What a strategy tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The strategy.
    pub name: Strategy,
    /// Its candidates.
    pub candidates: Vec<Candidate>,
    /// Those left out, with the reason.
    pub skipped: Vec<Skipped>,
}

/// A candidate that cannot be trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The candidate's [`Candidate::id`].
    pub id: String,
    /// What stands in the way.
    pub reason: String,
}

/// The settings in force, by the names of the flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Configuration {
    pub strategies: Vec<Strategy>,
    pub train: Vec<String>,
    pub head: String,
    pub dropout: f32,
    pub features: Option<String>,
    pub delimiters: Vec<Delimiter>,
    pub preprocess: Option<Preprocess>,
    /// Who says so; `None` of arrays.
    pub preprocess_from: Option<Origin>,
    pub image_size: [usize; 2],
    pub layout: Layout,
    pub augment: String,
    pub views: Option<usize>,
    pub search_fraction: f64,
    pub train_fraction: f64,
    #[serde(default)]
    pub validation_fraction: Option<f64>,
    /// True of runs that do not say.
    #[serde(default = "yes")]
    pub search_apart: bool,
    #[serde(default)]
    pub min_per_class: usize,
    pub seed: u64,
    pub repeats: usize,
    pub shuffle: bool,
    pub bn: BatchNormMode,
    pub optimizer: Optimizer,
    pub monitor: Monitor,
    pub plateau: Option<Plateau>,
    pub early_stopping: Option<usize>,
    pub class_weights: String,
    pub batch_size: usize,
    pub epochs: usize,
    pub search_epochs: usize,
    pub threads: usize,
    pub operators: Operators,
    pub device: String,
    pub memory_budget: Option<u64>,
    pub feature_precision: String,
    pub log_steps: bool,
}

fn yes() -> bool {
    true
}

impl RunRecord {
    /// Number of samples that winners are trained on.
    pub fn retraining_samples(&self) -> usize {
        let Parts { search, train, .. } = self.data.parts;
        match self.configuration.search_apart {
            true => train,
            false => search + train,
        }
    }
}

/// Settings that model and data decide where they are not given.
pub(crate) struct Resolved {
    pub(crate) features: Option<String>,
    pub(crate) delimiters: Vec<Delimiter>,
    pub(crate) preprocess: Option<Preprocess>,
    pub(crate) preprocess_from: Option<Origin>,
    pub(crate) image_size: [usize; 2],
    pub(crate) layout: Layout,
}

impl Configuration {
    pub(crate) fn of(settings: &Settings, resolved: Resolved) -> Self {
        Configuration {
            strategies: settings.strategies.clone(),
            train: settings.selection.clone(),
            head: settings.head.to_string(),
            dropout: settings.dropout,
            features: resolved.features,
            delimiters: resolved.delimiters,
            preprocess: resolved.preprocess,
            preprocess_from: resolved.preprocess_from,
            image_size: resolved.image_size,
            layout: resolved.layout,
            augment: settings.augment.to_string(),
            views: settings.views,
            search_fraction: settings.split.search_fraction,
            train_fraction: settings.split.train_fraction,
            validation_fraction: settings.split.validation_fraction,
            search_apart: settings.split.search_apart,
            min_per_class: settings.min_per_class,
            seed: settings.split.seed,
            repeats: settings.repeats,
            shuffle: settings.split.shuffle,
            bn: settings.batch_norm,
            optimizer: settings.optimizer,
            monitor: settings.monitor,
            plateau: settings.plateau,
            early_stopping: settings.early_stopping,
            class_weights: settings.class_weights.to_string(),
            batch_size: settings.batch_size,
            epochs: settings.epochs,
            search_epochs: settings.search_epochs,
            threads: settings.threads,
            operators: settings.operators,
            device: settings.device.to_string(),
            memory_budget: settings.memory_budget,
            feature_precision: settings.feature_precision.to_string(),
            log_steps: settings.log_steps,
        }
    }

    /// This, with whatever `settings` alone decide taken from them.
    pub(super) fn with(&self, settings: &Settings) -> Self {
        let resolved = Resolved {
            features: self.features.clone(),
            delimiters: self.delimiters.clone(),
            preprocess: self.preprocess.clone(),
            preprocess_from: self.preprocess_from,
            image_size: self.image_size,
            layout: self.layout,
        };
        Configuration::of(settings, resolved)
    }
}
