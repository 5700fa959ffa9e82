//! The content of `run.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::analysis::{Analysis, Delimiter};
use crate::autodiff::Operators;
use crate::data::{Dataset, Layout, Preprocess, Skipped, Split};
use crate::onnx::Model;
use crate::runtime::{self, Runtime};
use crate::strategy::{Candidate, Strategy};
use crate::training::{BatchNormMode, Monitor, Optimizer, Plateau};

use super::plan::{self, Plan};
use super::{Job, ModelInput, Origin, Settings};

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
    pub skipped: Vec<plan::Skipped>,
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

    pub(super) fn new(
        (job, settings): (&Job, &Settings),
        runtime: &Runtime,
        original: &Model,
        analysis: &Analysis,
        (dataset, split): (&Dataset, &Split),
        input: &ModelInput,
        plan: &Plan,
    ) -> Self {
        let digest = Sha256::digest(original.file_bytes());
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        RunRecord {
            format: FORMAT,
            command: job.command.clone(),
            versions: Versions {
                ftsurgery: env!("CARGO_PKG_VERSION").to_owned(),
                onnxruntime: runtime.version().to_string(),
                instructions: runtime::instructions().to_owned(),
            },
            model: ModelFile {
                path: absolute(&job.model),
                sha256: hexadecimal(&digest),
                external: external(original),
            },
            layers: layers(analysis),
            data: DataRecord {
                path: absolute(&job.data),
                fingerprint: dataset.fingerprint(),
                samples: dataset.len(),
                images: dataset.is_images(),
                classes: dataset.classes().to_vec(),
                skipped: dataset.skipped().iter().map(skipped).collect(),
                notes: dataset.notes().to_vec(),
                parts: Parts {
                    search: split.search.len(),
                    validation: split.validation.len(),
                    train: split.train.len(),
                    held_out: split.held_out.len(),
                },
            },
            strategies: plan.strategies.iter().map(planned).collect(),
            configuration: Configuration::of(
                settings,
                Resolved {
                    features: analysis.backbone.as_ref().ok().map(|b| b.features.clone()),
                    delimiters: analysis.delimiters.clone(),
                    preprocess: dataset.is_images().then(|| input.spec.preprocess.clone()),
                    preprocess_from: dataset.is_images().then_some(input.origin),
                    image_size: [input.height, input.width],
                    layout: input.spec.layout,
                },
            ),
        }
    }
}

/// Settings that model and data decide where they are not given.
pub(super) struct Resolved {
    features: Option<String>,
    delimiters: Vec<Delimiter>,
    preprocess: Option<Preprocess>,
    preprocess_from: Option<Origin>,
    image_size: [usize; 2],
    layout: Layout,
}

impl Configuration {
    pub(super) fn of(settings: &Settings, resolved: Resolved) -> Self {
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

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn external(model: &Model) -> Vec<ExternalFile> {
    let record = |(location, parts): (String, Vec<_>)| {
        let hash = parts.iter().fold(Sha256::new(), Sha256::chain_update);
        ExternalFile {
            location,
            sha256: hexadecimal(&hash.finalize()),
        }
    };
    model.external_files().into_iter().map(record).collect()
}

fn layers(analysis: &Analysis) -> Vec<LayerRecord> {
    let layer = |&index: &usize| {
        let layer = &analysis.weighted[index];
        let block = analysis.blocks.get(layer.block);
        LayerRecord {
            name: layer.name.clone(),
            parameters: layer.elements,
            block: block.map(|b| b.name.clone()).unwrap_or_default(),
        }
    };
    analysis.backbone_layers().iter().map(layer).collect()
}

fn skipped(file: &Skipped) -> SkippedFile {
    SkippedFile {
        path: file.path.clone(),
        reason: file.reason.clone(),
    }
}

fn planned(plan: &plan::StrategyPlan) -> Planned {
    Planned {
        name: plan.strategy,
        candidates: plan.candidates.clone(),
        skipped: plan.skipped.clone(),
    }
}

/// One warning that sums up the files left out of a data set and names the first of them; `None`
/// if none was.
pub fn skipped_summary(dataset: &Dataset) -> Option<String> {
    const NAMED: usize = 3;
    let skipped = dataset.skipped();
    if skipped.is_empty() {
        return None;
    }
    let total = skipped.len() + dataset.len();
    let mut text = format!("{} of {total} files skipped:", skipped.len());
    for file in skipped.iter().take(NAMED) {
        text.push_str(&format!("\n  {}: {}", file.path, file.reason));
    }
    if skipped.len() > NAMED {
        text.push_str(&format!("\n  and {} more", skipped.len() - NAMED));
    }
    Some(text)
}
