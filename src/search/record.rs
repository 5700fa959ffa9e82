//! The content of `run.json`.

use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::analysis::{Analysis, Delimiter};
use crate::autodiff::Operators;
use crate::data::{Dataset, Layout, Preprocess, Skipped};
use crate::onnx::Model;
use crate::runtime::Runtime;
use crate::strategy::{Candidate, Strategy};
use crate::training::{BatchNormMode, Optimizer, Plateau};

use super::plan::{self, Plan};
use super::{Job, ModelInput};

/// What was run, on what, and how.
#[derive(Debug, Serialize)]
pub struct RunRecord<'a> {
    command: &'a [String],
    versions: Versions,
    model: ModelFile<'a>,
    data: Data<'a>,
    strategies: Vec<Planned<'a>>,
    configuration: Configuration<'a>,
}

#[derive(Debug, Serialize)]
struct Versions {
    ftsurgery: &'static str,
    onnxruntime: String,
}

#[derive(Debug, Serialize)]
struct ModelFile<'a> {
    path: &'a Path,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    path: &'a Path,
    fingerprint: String,
    samples: usize,
    classes: &'a [String],
    skipped: Vec<SkippedFile<'a>>,
}

#[derive(Debug, Serialize)]
struct SkippedFile<'a> {
    path: &'a str,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct Planned<'a> {
    name: Strategy,
    candidates: &'a [Candidate],
    /// Those left out, with the reason.
    skipped: &'a [plan::Skipped],
}

#[derive(Debug, Serialize)]
struct Configuration<'a> {
    head: String,
    dropout: f32,
    features: Option<&'a str>,
    delimiters: &'a [Delimiter],
    preprocess: Option<&'a Preprocess>,
    image_size: [usize; 2],
    layout: Layout,
    search_fraction: f64,
    train_fraction: f64,
    seed: u64,
    shuffle: bool,
    bn: BatchNormMode,
    optimizer: Optimizer,
    plateau: Option<Plateau>,
    batch_size: usize,
    epochs: usize,
    search_epochs: usize,
    threads: usize,
    operators: Operators,
    device: String,
    memory_budget: u64,
    log_steps: bool,
}

impl<'a> RunRecord<'a> {
    pub(super) fn new(
        job: &'a Job,
        runtime: &Runtime,
        original: &Model,
        analysis: &'a Analysis,
        dataset: &'a Dataset,
        input: &'a ModelInput,
        plan: &'a Plan,
    ) -> Self {
        let settings = &job.settings;
        let digest = Sha256::digest(original.file_bytes());
        let skipped = |s: &'a Skipped| SkippedFile {
            path: &s.path,
            reason: &s.reason,
        };
        RunRecord {
            command: &job.command,
            versions: Versions {
                ftsurgery: env!("CARGO_PKG_VERSION"),
                onnxruntime: runtime.version().to_string(),
            },
            model: ModelFile {
                path: &job.model,
                sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
            data: Data {
                path: &job.data,
                fingerprint: dataset.fingerprint(),
                samples: dataset.len(),
                classes: dataset.classes(),
                skipped: dataset.skipped().iter().map(skipped).collect(),
            },
            strategies: plan
                .strategies
                .iter()
                .map(|p| Planned {
                    name: p.strategy,
                    candidates: &p.candidates,
                    skipped: &p.skipped,
                })
                .collect(),
            configuration: Configuration {
                head: settings.head.to_string(),
                dropout: settings.dropout,
                features: analysis.backbone.as_ref().ok().map(|b| b.features.as_str()),
                delimiters: &analysis.delimiters,
                preprocess: dataset.is_images().then_some(&input.spec.preprocess),
                image_size: [input.height, input.width],
                layout: input.spec.layout,
                search_fraction: settings.split.search_fraction,
                train_fraction: settings.split.train_fraction,
                seed: settings.split.seed,
                shuffle: settings.split.shuffle,
                bn: settings.batch_norm,
                optimizer: settings.optimizer,
                plateau: settings.plateau,
                batch_size: settings.batch_size,
                epochs: settings.epochs,
                search_epochs: settings.search_epochs,
                threads: settings.threads,
                operators: settings.operators,
                device: settings.device.to_string(),
                memory_budget: settings.memory_budget,
                log_steps: settings.log_steps,
            },
        }
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
