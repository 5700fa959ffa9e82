//! What a tuned model says of itself in its metadata.

use crate::data::{Dataset, Overlap, Preprocess, Seen};
use crate::onnx::Model;
use crate::task::Task;

use super::names::size_elsewhere;
use super::{Beside, ClassifierError, names_elsewhere, parse_image_size};

/// Metadata key of the class names, a JSON list in the order of the outputs.
pub const CLASSES: &str = "ftsurgery.classes";
/// Metadata key of the preprocessing, a [`Preprocess`] as JSON.
pub const PREPROCESS: &str = "ftsurgery.preprocess";
/// Metadata key of what it was trained on, a [`Seen`] as JSON.
pub const DATA: &str = "ftsurgery.data";
/// Metadata key of the image size, `HEIGHTxWIDTH` in pixels.
pub const IMAGE_SIZE: &str = "ftsurgery.image_size";

/// Metadata key of the preprocessing that the model does itself, of pictures of any size: a [`Preprocess`] as JSON.
pub const EMBEDDED: &str = "ftsurgery.embedded_preprocess";
/// Metadata key of what it tells of a sample, a [`Task`] by its name.
pub const TASK: &str = "ftsurgery.task";
/// Metadata key of the probabilities from which on a class is taken to apply, where a sample may have several labels: a
/// JSON list in the order of the outputs.
pub const THRESHOLDS: &str = "ftsurgery.thresholds";

/// Class names, preprocessing, image size and training samples of a tuned model, where its metadata
/// have them, and what [files beside it](Beside) say of what they lack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCard {
    /// Names of the classes, in the order of the outputs; also where another tool has written them (`names`, `classes`,
    /// `labels`, `id2label`, …), else as a file beside the model has them.
    pub classes: Option<Vec<String>>,
    /// How its input is made from pixels.
    pub preprocess: Option<Preprocess>,
    /// Height and width of its input in pixels; also where Ultralytics has written them (`imgsz`).
    pub image_size: Option<(usize, usize)>,
    /// The samples that it was trained or chosen on, in whichever run.
    pub trained_on: Option<Seen>,
    /// What it tells of a sample. Outputs of [`Task::MultiLabel`] and [`Task::Binary`] that are no probabilities are
    /// so by their sigmoid.
    pub task: Option<Task>,
    /// Where a sample may have several labels, for each class the probability from which on it is taken to apply, chosen
    /// on validation samples.
    pub thresholds: Option<Vec<f64>>,
    /// What the model does itself with pictures of any size, which are its input.
    pub embedded: Option<Preprocess>,
    /// What files beside the model say of what its metadata lack.
    pub beside: Beside,
}

impl ModelCard {
    /// Reads the metadata of a model, and where they lack preprocessing or classes, the files beside it.
    ///
    /// # Errors
    /// When an entry is there but malformed.
    pub fn read(model: &Model) -> Result<Self, ClassifierError> {
        let broken = |key: &str, reason: String| {
            ClassifierError::Mismatch(format!(
                "{} has an unusable metadata entry `{key}`: {reason}",
                model.path().display()
            ))
        };
        let mut card = ModelCard::default();
        if let Some(text) = model.metadata(CLASSES) {
            let classes: Vec<String> =
                serde_json::from_str(text).map_err(|e| broken(CLASSES, e.to_string()))?;
            card.classes = Some(classes);
        } else if let Some(names) = names_elsewhere(model) {
            card.classes = Some(names);
        }
        let preprocess = |key: &str| -> Result<Option<Preprocess>, ClassifierError> {
            let Some(text) = model.metadata(key) else {
                return Ok(None);
            };
            let preprocess: Preprocess =
                serde_json::from_str(text).map_err(|e| broken(key, e.to_string()))?;
            let sound = preprocess.validate();
            sound.map_err(|e| broken(key, e.to_string()))?;
            Ok(Some(preprocess))
        };
        card.preprocess = preprocess(PREPROCESS)?;
        card.embedded = preprocess(EMBEDDED)?;
        if let Some(text) = model.metadata(DATA) {
            let seen = serde_json::from_str(text).map_err(|e| broken(DATA, e.to_string()))?;
            card.trained_on = Some(seen);
        }
        if let Some(text) = model.metadata(TASK) {
            let task = text.parse().map_err(|reason| broken(TASK, reason))?;
            card.task = Some(task);
        }
        if let Some(text) = model.metadata(THRESHOLDS) {
            let thresholds: Vec<f64> =
                serde_json::from_str(text).map_err(|e| broken(THRESHOLDS, e.to_string()))?;
            card.thresholds = Some(thresholds).filter(|given| !given.is_empty());
        }
        if let Some(text) = model.metadata(IMAGE_SIZE) {
            let size = parse_image_size(text).map_err(|reason| broken(IMAGE_SIZE, reason))?;
            card.image_size = Some(size);
        } else {
            card.image_size = size_elsewhere(model);
        }
        if card.classes.is_none() || card.preprocess.is_none() {
            let mut beside = Beside::read(model);
            if card.preprocess.is_some() {
                beside.forget_pixels();
            }
            match card.classes {
                Some(_) => beside.forget_classes(),
                None => card.classes.clone_from(&beside.classes),
            }
            card.task = card.task.or(beside.task);
            card.beside = beside;
        }
        Ok(card)
    }

    /// How many of these samples the model was trained or chosen on; `None` where nothing says so.
    pub fn overlap(&self, dataset: &Dataset, samples: &[usize]) -> Option<Overlap> {
        let digests = samples.iter().filter_map(|&i| dataset.digest(i));
        Some(self.trained_on.as_ref()?.overlap(digests))
    }

    /// The samples that it was trained or chosen on with these, which it is now.
    pub fn having_seen<'s>(
        &self,
        dataset: &Dataset,
        samples: impl IntoIterator<Item = &'s usize>,
    ) -> Seen {
        let digests = samples.into_iter().filter_map(|&i| dataset.digest(i));
        let seen = Seen::of(digests);
        match &self.trained_on {
            Some(before) => before.union(&seen),
            None => seen,
        }
    }

    /// The metadata entries of this card.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn entries(&self) -> Result<Vec<(&'static str, String)>, ClassifierError> {
        let failed = |e: serde_json::Error| ClassifierError::Mismatch(e.to_string());
        let mut entries = Vec::new();
        if let Some(classes) = &self.classes {
            entries.push((CLASSES, serde_json::to_string(classes).map_err(failed)?));
        }
        for (key, preprocess) in [(PREPROCESS, &self.preprocess), (EMBEDDED, &self.embedded)] {
            if let Some(preprocess) = preprocess {
                entries.push((key, serde_json::to_string(preprocess).map_err(failed)?));
            }
        }
        if let Some(seen) = &self.trained_on {
            entries.push((DATA, serde_json::to_string(seen).map_err(failed)?));
        }
        // Models that tell one class say so by nothing.
        if let Some(task) = self.task.filter(|task| *task != Task::SingleLabel) {
            entries.push((TASK, task.to_string()));
        }
        if let Some(thresholds) = &self.thresholds {
            entries.push((
                THRESHOLDS,
                serde_json::to_string(thresholds).map_err(failed)?,
            ));
        }
        if let Some((height, width)) = self.image_size {
            entries.push((IMAGE_SIZE, format!("{height}x{width}")));
        }
        Ok(entries)
    }
}
