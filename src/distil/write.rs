//! Writing a repaired model, and proving the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::classifier::{Inference, ModelCard, outputs_agree};
use crate::onnx::{LARGEST_FILE, Model, rename, save_within};
use crate::runtime::{Device, Runtime};
use crate::surgery::{Edited, Editor, Manifest, export, holds, taken_in};
use crate::task::Task;

use super::{DistilError, Distilled, Pictures};

/// Pictures on which a written model is held against the network.
const CHECKED: usize = 16;

impl Distilled {
    /// Writes `model` with the new values to `path`, in one step. Weights that one file cannot hold go to a file of that name and
    /// `.data` beside it. Before it gets its name the file is held against all that is said to have changed, and run in
    /// onnxruntime on some of the pictures that were held back.
    ///
    /// # Errors
    /// [`DistilError::SelfCheck`] when the file is not as it should be; when it cannot be written or run.
    pub fn write(
        &self,
        runtime: &Runtime,
        (model, task): (&Model, Task),
        pictures: Pictures<'_>,
        metadata: &[(&str, String)],
        path: &Path,
    ) -> Result<(), DistilError> {
        let Edited { proto, manifest } = export(Editor::new(model)?, &self.values, metadata)?;
        let mut unchecked = path.as_os_str().to_owned();
        unchecked.push(".unchecked");
        let unchecked = PathBuf::from(unchecked);
        let location = path.file_name().unwrap_or_default().to_string_lossy();
        let location = format!("{location}.data");
        let has_more = save_within(LARGEST_FILE, proto, &unchecked, &location)?;
        let checked = self.check(runtime, (model, task), pictures, (&unchecked, &manifest));
        let failed = |source| DistilError::Write {
            path: path.to_owned(),
            source,
        };
        match checked {
            Ok(()) => rename(&unchecked, path).map_err(failed),
            Err(error) => {
                // It is no result; that it may stay behind is the lesser evil.
                let _ = fs::remove_file(&unchecked);
                if has_more {
                    let _ = fs::remove_file(path.with_file_name(&location));
                }
                Err(error)
            }
        }
    }

    fn check(
        &self,
        runtime: &Runtime,
        (model, task): (&Model, Task),
        pictures: Pictures<'_>,
        (path, manifest): (&Path, &Manifest),
    ) -> Result<(), DistilError> {
        let fail = |reason: String| DistilError::SelfCheck {
            path: path.to_owned(),
            reason,
        };
        let written = Model::open(path)?.with_scores(model.scores());
        holds(model, &taken_in(&written)?, manifest).map_err(|e| fail(e.to_string()))?;
        let card = ModelCard::read(&written)?;
        let inference = Inference::new(runtime, &written, Device::Cpu, 0)?;
        let mut inference = inference.of_task(card.task.or(Some(task)));
        let some = &self.held_back[..self.held_back.len().min(CHECKED)];
        let outputs = inference.run_dataset(pictures.dataset, some, pictures.input)?;
        let width = self.scores.len() / self.held_back.len().max(1);
        let mut scores = self.scores[..some.len() * width].to_vec();
        let mut classes = width;
        if task == Task::Binary {
            scores = scores.iter().flat_map(|&z| [0.0, z]).collect();
            classes = 2;
        }
        outputs_agree(&outputs, (&scores, classes), inference.is_half()).map_err(fail)
    }
}
