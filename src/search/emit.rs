//! Writing a winner's model, and proving the file.

use std::fs;
use std::path::Path;

use crate::adapter::{Beside, Body, Makes, TunedModel, tuned};
use crate::classifier::{Inference, InputSpec, ModelCard, TASK, THRESHOLDS, outputs_agree};
use crate::data::Dataset;
use crate::onnx::{Model, OUTPUT, create_folder, rename, save_within};
use crate::run::{RunDir, RunError, WeightsFile, file_sha256};
use crate::runtime::{Device, Runtime};
use crate::strategy::StrategyName;
use crate::surgery::rewrite::Merged;
use crate::surgery::{Edited, Grafted, Manifest, Rewrite, holds, taken_in};
use crate::training::{BatchNormMode, FreedFile, Lab};

use super::SearchError;
use super::kept::Kept;

/// Samples on which a written model is held against training.
const CHECKED_SAMPLES: usize = 16;
/// What all winners of a run are made from.
pub(super) struct Emitter<'a> {
    pub runtime: &'a Runtime,
    pub device: Device,
    pub threads: usize,
    pub original: &'a Model,
    pub grafted: &'a Grafted,
    pub dataset: &'a Dataset,
    pub input: &'a InputSpec,
    pub batch_norm: BatchNormMode,
    pub card: ModelCard,
    /// Metadata of other tools, and what they are to say.
    pub restated: Vec<(String, String)>,
    /// What frees the file from the batch size of its export, where that is to be.
    pub freed: Option<FreedFile>,
    /// Bytes that one file may have.
    pub largest_file: usize,
    /// What adapters say of where they come from; `None` where none are kept.
    pub kept: Option<Kept<'a>>,
}

/// A winner's model as it was written.
pub(super) struct Emitted {
    /// Its path, relative to the run's folder.
    pub model: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The file beside it that holds weights, if there is one.
    pub external: Option<WeightsFile>,
    /// The file beside it that makes it of its backbone, if there is one.
    pub adapter: Option<WeightsFile>,
    /// Whether functions that the model carries are written out in it.
    pub writes_out_functions: bool,
    /// Why it stays made for the batch size of the export, where the network without the strategy's own nodes would not.
    pub stays_fixed: Option<String>,
}

/// A winner.
pub(super) struct Winner<'a> {
    pub strategy: StrategyName,
    pub candidate: &'a str,
    /// What was changed in the network before it was trained.
    pub rewrite: &'a Rewrite,
    /// Trained parameters and updated running statistics.
    pub parameters: &'a [(String, Vec<f32>)],
    /// What both come to in the file.
    pub merged: &'a Merged,
    /// The share of held-out samples it gets right; `None` where nothing is held out.
    pub held_out_accuracy: Option<f64>,
    /// The same of the validation samples, by which its epoch was chosen.
    pub validation_accuracy: Option<f64>,
    /// Where samples may have several labels, the probabilities from which on a class applies.
    pub thresholds: Option<&'a [f64]>,
}

impl Emitter<'_> {
    /// Writes `winners/STRATEGY.onnx`, and the file of weights beside it where one cannot hold all. The
    /// model gets its name only after it has been checked against the lab on some of the samples, and
    /// `may_be_kept` has agreed.
    pub fn emit(
        &self,
        run: &RunDir,
        winner: &Winner<'_>,
        (lab, samples): (&Lab<'_>, &[usize]),
        may_be_kept: &dyn Fn() -> Result<(), SearchError>,
    ) -> Result<Emitted, SearchError> {
        let card = ModelCard {
            thresholds: winner.thresholds.map(<[f64]>::to_vec),
            ..self.card.clone()
        };
        let mut metadata = self.restated.clone();
        let mut say = |key: &str, value: String| metadata.push((key.to_owned(), value));
        let entries = card.entries()?;
        // What an earlier run said does not hold any more.
        let mut outdated = Vec::new();
        for (key, nothing) in [(TASK, "single-label"), (THRESHOLDS, "[]")] {
            if self.original.metadata(key).is_some() && entries.iter().all(|(k, _)| *k != key) {
                outdated.push((key, nothing.to_owned()));
            }
        }
        entries
            .into_iter()
            .chain(outdated)
            .for_each(|(key, value)| say(key, value));
        say("ftsurgery.version", env!("CARGO_PKG_VERSION").to_owned());
        say("ftsurgery.strategy", winner.strategy.to_string());
        say("ftsurgery.candidate", winner.candidate.to_owned());
        say("ftsurgery.bn", self.batch_norm.to_string());
        if self.original.scores().is_some() {
            say(OUTPUT, self.grafted.output.clone());
        }
        for (key, accuracy) in [
            ("ftsurgery.held_out_accuracy", winner.held_out_accuracy),
            ("ftsurgery.validation_accuracy", winner.validation_accuracy),
        ] {
            if let Some(share) = accuracy {
                say(key, share.to_string());
            }
        }
        let body = Body {
            original: self.original,
            grafted: self.grafted,
            freed: self.freed.as_ref(),
        };
        let TunedModel {
            edited: Edited { proto, manifest },
            stays_fixed,
        } = tuned(body, winner.merged, &metadata)?;
        let relative = RunDir::winner(winner.strategy);
        let path = run.path(&relative);
        if let Some(folder) = path.parent() {
            create_folder(folder).map_err(|e| RunError::write(folder, e))?;
        }
        let unchecked = run.path(&format!("{relative}.unchecked"));
        let location = RunDir::winner_data(winner.strategy);
        let beside = path.with_file_name(&location);
        let writes_out_functions = manifest.writes_out_functions();
        let has_more = save_within(self.largest_file, proto, &unchecked, &location)?;
        let checked = Model::open(&unchecked)
            .map_err(SearchError::from)
            .and_then(|written| self.check((&written, &manifest), winner, lab, samples))
            .and_then(|()| may_be_kept())
            // `run.json` names a file: what is made of another is not its result.
            .and_then(|()| Ok(self.original.ensure_unchanged()?));
        let described = checked.and_then(|()| {
            let made = Makes {
                sha256: hash(&unchecked)?,
                data: match has_more {
                    false => None,
                    true => Some(Beside {
                        location,
                        sha256: hash(&beside)?,
                    }),
                },
            };
            let adapter = self.keep(run, winner, (metadata, made.clone()))?;
            Ok((made, adapter))
        });
        let (made, adapter) = match described {
            Ok(described) => described,
            Err(error) => {
                // They are not a result; that they may stay behind is the lesser evil.
                let _ = fs::remove_file(&unchecked);
                if has_more {
                    let _ = fs::remove_file(&beside);
                }
                return Err(error);
            }
        };
        rename(&unchecked, &path).map_err(|e| RunError::write(&path, e))?;
        if !has_more {
            // Of a run that went on with another limit; nothing reads it any more.
            let _ = fs::remove_file(&beside);
        }
        let external = made
            .data
            .map(|Beside { location, sha256 }| WeightsFile { location, sha256 });
        Ok(Emitted {
            model: relative,
            sha256: made.sha256,
            external,
            adapter,
            writes_out_functions,
            stays_fixed,
        })
    }

    fn check(
        &self,
        (written, manifest): (&Model, &Manifest),
        winner: &Winner<'_>,
        lab: &Lab<'_>,
        samples: &[usize],
    ) -> Result<(), SearchError> {
        let fail = |reason: String| SearchError::SelfCheck {
            strategy: winner.strategy,
            reason,
        };
        let whole = taken_in(written)?;
        holds(self.original, &whole, manifest).map_err(|e| fail(e.to_string()))?;
        // What follows reads the weights of one of the two at a time.
        whole.release();
        let samples = &samples[..samples.len().min(CHECKED_SAMPLES)];
        let Merged { rewrite, values } = winner.merged;
        let mut logits = vec![lab.logits(rewrite, values, samples)?];
        if rewrite != winner.rewrite {
            // What was merged must also be what was trained.
            logits.push(lab.logits(winner.rewrite, winner.parameters, samples)?);
        }
        self.original.release();
        let mut inference = Inference::new(self.runtime, written, self.device, self.threads)?;
        let outputs = inference.run_dataset(self.dataset, samples, self.input)?;
        let half = inference.is_half();
        for logits in &logits {
            outputs_agree(&outputs, (&logits.values, logits.classes), half).map_err(fail)?;
        }
        Ok(())
    }
}

pub(super) fn hash(file: &Path) -> Result<String, RunError> {
    file_sha256(file).map_err(|e| RunError::write(file, e))
}
