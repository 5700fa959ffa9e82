//! A tuned model's file, freed from the batch size of its export.

use crate::batch::{self, Freed};
use crate::onnx::Model;
use crate::surgery::Editor;
use crate::surgery::edit::Rework;

use super::TrainingError;

/// What changes in the file of a model that was exported for a fixed batch size.
#[derive(Debug)]
pub struct FreedFile(Freed);

impl FreedFile {
    /// Of `model`; `None` where it takes batches of any size.
    ///
    /// # Errors
    /// When it cannot be freed, or not by what an editor can change in its file.
    pub fn of(model: &Model) -> Result<Option<Self>, TrainingError> {
        Ok(batch::freed(model)?.map(FreedFile))
    }

    /// The batch size of the export.
    pub fn exported(&self) -> usize {
        self.0.exported
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// When the editor's model is another one.
    pub fn apply(&self, editor: &mut Editor<'_>) -> Result<(), TrainingError> {
        let Freed {
            exported,
            tensors,
            changes,
        } = &self.0;
        let changes = changes.iter().map(|change| Rework {
            ahead: &change.ahead,
            was: &change.was,
            now: &change.now,
        });
        editor.rework(tensors, &Vec::from_iter(changes))?;
        editor.open_batch(*exported);
        Ok(())
    }
}
