//! The record of a run that is about to begin.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::analysis::{Analysis, Delimiters};
use crate::classifier::ModelInput;
use crate::data::{Dataset, Skipped, Split};
use crate::hex;
use crate::onnx::Model;
use crate::run::{
    Configuration, DataRecord, ExternalFile, FORMAT, LayerRecord, ModelFile, Parts, Planned,
    RunRecord, Settings, SkippedFile, Versions, absolute,
};
use crate::runtime::{self, Runtime};

use super::Job;
use super::plan::{Plan, StrategyPlan};

/// What `run.json` says of this run.
pub(super) fn record(
    (job, settings): (&Job, &Settings),
    runtime: &Runtime,
    original: &Model,
    analysis: &Analysis,
    (dataset, split): (&Dataset, &Split),
    input: &ModelInput,
    plan: &Plan,
) -> RunRecord {
    let digest = Sha256::digest(original.file_bytes());
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
            sha256: hex::encode(digest),
            external: external(original),
        },
        layers: layers(analysis),
        data: DataRecord {
            path: absolute(&job.data),
            fingerprint: dataset.fingerprint(),
            samples: dataset.len(),
            images: dataset.is_named(),
            roots: match dataset.roots().values().all(|root| *root == job.data) {
                true => BTreeMap::new(),
                false => {
                    let roots = dataset.roots().iter();
                    let roots = roots.map(|(prefix, root)| (prefix.clone(), absolute(root)));
                    roots.collect()
                }
            },
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
        configuration: Configuration {
            settings: Settings {
                features: analysis.backbone.as_ref().ok().map(|b| b.features.clone()),
                delimiters: Delimiters::Kinds(analysis.delimiters.iter().copied().collect()),
                preprocess: dataset.is_images().then(|| input.spec.preprocess.clone()),
                resize: dataset.is_images().then_some(input.spec.preprocess.resize),
                image_size: Some((input.height, input.width)),
                sources: settings.sources.absolute(),
                ..settings.clone()
            },
            preprocess_from: dataset.is_images().then_some(input.origin),
            preprocess_scores: input.witness().cloned(),
            layout: input.spec.layout,
        },
    }
}

fn external(model: &Model) -> Vec<ExternalFile> {
    let record = |(location, parts): (String, Vec<_>)| {
        let hash = parts.iter().fold(Sha256::new(), Sha256::chain_update);
        ExternalFile {
            location,
            sha256: hex::encode(hash.finalize()),
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

pub(super) fn skipped(file: &Skipped) -> SkippedFile {
    SkippedFile {
        path: file.path.clone(),
        reason: file.reason.clone(),
    }
}

fn planned(plan: &StrategyPlan) -> Planned {
    Planned {
        name: plan.strategy,
        candidates: plan.candidates.clone(),
        skipped: plan.skipped.clone(),
        allowance: plan.allowance.clone(),
    }
}
