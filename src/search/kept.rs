//! Keeping what makes a winner of its backbone, and proving it.

use std::fs;

use crate::adapter::{
    Adapter, AdapterError, Makes, NewHead, Preparation, Recipe, Tuned, backbone_sha256,
};
use crate::graph::float_tensors;
use crate::onnx::Model;
use crate::run::{RunDir, Settings, WeightsFile};
use crate::surgery::{HeadKind, Rewrite};

use super::SearchError;
use super::emit::{Emitter, Winner, hash};
use super::opened::{Opened, preparation};

/// What the adapters of a run have in common.
pub(super) struct Kept<'a> {
    file: &'a Model,
    /// SHA-256 of that.
    backbone: String,
    prepared: Preparation,
    head: Option<NewHead>,
}

impl Opened<'_> {
    /// What the adapters of a run have in common; `None` where none are kept.
    pub(super) fn kept(&self, settings: &Settings) -> Result<Option<Kept<'_>>, SearchError> {
        if !settings.keep_adapter {
            return Ok(None);
        }
        let head = self.features.as_ref().map(|features| NewHead {
            kind: settings.head,
            classes: self.classes.len(),
            task: settings.task(),
            logits: settings.logits,
            features: features.clone(),
        });
        Ok(Some(Kept {
            file: &self.file,
            backbone: backbone_sha256(&self.file)?,
            prepared: Preparation {
                // As it is recorded: also where it was not asked for, and the file has it.
                image_size: Some((self.input.height, self.input.width)),
                ..preparation(settings)
            },
            head: head.filter(|head| head.kind != HeadKind::Keep),
        }))
    }
}

impl Emitter<'_> {
    /// Writes `winners/STRATEGY.safetensors`, which makes the model that says this of itself of its backbone: that it
    /// does is tried. Nothing, where adapters are not kept.
    pub(super) fn keep(
        &self,
        run: &RunDir,
        winner: &Winner<'_>,
        (metadata, makes): (Vec<(String, String)>, Makes),
    ) -> Result<Option<WeightsFile>, SearchError> {
        let Some(kept) = &self.kept else {
            return Ok(None);
        };
        // Updates are smaller than what they are merged into; all else is as the file has it.
        let (rewrite, values) = match winner.rewrite {
            Rewrite::LowRank(_) => (winner.rewrite, winner.parameters),
            _ => (&winner.merged.rewrite, winner.merged.values.as_slice()),
        };
        let graph = rewrite.graph(self.grafted)?;
        let mut dims = float_tensors(&graph);
        let tensors = values.iter().map(|(name, values)| Tuned {
            dims: dims
                .remove(name.as_str())
                .unwrap_or_else(|| vec![values.len()]),
            name: name.clone(),
            values: values.clone(),
        });
        let adapter = Adapter {
            backbone: kept.backbone.clone(),
            makes,
            recipe: Recipe {
                prepared: kept.prepared.clone(),
                head: kept.head.clone(),
                rewrite: rewrite.clone(),
                frees_batch: self.freed.is_some(),
                metadata,
            },
            tensors: tensors.collect(),
        };
        let location = RunDir::winner_adapter(winner.strategy);
        let path = run.path(&RunDir::winner(winner.strategy));
        let path = path.with_file_name(&location);
        adapter.write(&path)?;
        let tried = Adapter::read(&path).and_then(|read| read.apply(kept.file)?.check());
        if let Err(error) = tried {
            // It is no result; that it may stay behind is the lesser evil.
            let _ = fs::remove_file(&path);
            return Err(match error {
                AdapterError::OtherModel { .. } | AdapterError::Misfit { .. } => {
                    SearchError::SelfCheck {
                        strategy: winner.strategy,
                        reason: format!("its adapter does not make it: {error}"),
                    }
                }
                error => error.into(),
            });
        }
        Ok(Some(WeightsFile {
            location,
            sha256: hash(&path)?,
        }))
    }
}
