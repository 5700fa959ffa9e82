//! Writing a repaired model, and proving the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::classifier::{Inference, ModelCard, Outputs, outputs_agree, relative_error};
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
    /// onnxruntime on pictures that were held back: against the network that was trained or, where values are rounded
    /// between its layers, by how far it is from the original, which may be no further than `model` is.
    ///
    /// # Errors
    /// [`DistilError::SelfCheck`] when the file is not as it should be, [`DistilError::Worse`] when it is further from the
    /// original; when it cannot be written or run.
    pub fn write(
        &self,
        runtime: &Runtime,
        (model, task): (&Model, Task),
        pictures: Pictures<'_>,
        metadata: &[(&str, String)],
        path: &Path,
    ) -> Result<(), DistilError> {
        let mut editor = Editor::new(model)?;
        for (name, tensor) in &self.integers {
            editor.set_tensor(name, tensor)?;
        }
        let Edited { proto, manifest } = export(editor, &self.values, metadata)?;
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
        let run = |model: &Model, samples: &[usize]| -> Result<(Outputs, bool), DistilError> {
            let card = ModelCard::read(model)?;
            let inference = Inference::new(runtime, model, Device::Cpu, 0)?;
            let mut inference = inference.of_task(card.task.or(Some(task)));
            let outputs = inference.run_dataset(pictures.dataset, samples, pictures.input)?;
            Ok((outputs, inference.is_half()))
        };
        if self.figures.rounded_values == 0 {
            let some = &self.held_back[..self.held_back.len().min(CHECKED)];
            let (outputs, is_half) = run(&written, some)?;
            let (scores, classes) = self.logits(&self.scores, (some.len(), task));
            return outputs_agree(&outputs, (&scores, classes), is_half).map_err(fail);
        }
        // Before a softmax, where the file has that value, as its numbers are finer than rounded probabilities.
        let value = self.figures.outputs.value.as_str();
        let made = model.graph().node.iter().flat_map(|n| &n.output);
        let scores = match made.into_iter().any(|made| made == value) {
            true => Some(value),
            false => model.scores(),
        };
        let proto = |model: &Model| model.with_proto(model.proto.clone());
        let (wanted, classes) = self.logits(&self.wanted, (self.held_back.len(), task));
        let error = |of: &Model| -> Result<f64, DistilError> {
            let (outputs, _) = run(&proto(of).with_scores(scores), &self.held_back)?;
            let error = relative_error(&outputs, (&wanted, classes));
            error.ok_or_else(|| fail(format!("it has {} classes", outputs.classes)))
        };
        let (before, after) = (error(model)?, error(&written)?);
        match after <= before {
            true => Ok(()),
            false => Err(DistilError::Worse {
                model: model.path().to_owned(),
                before,
                after,
            }),
        }
    }

    /// The logits of the first samples that were held back, and how many there are of each.
    fn logits(&self, scores: &[f32], (samples, task): (usize, Task)) -> (Vec<f32>, usize) {
        let width = scores.len() / self.held_back.len().max(1);
        let scores = &scores[..samples * width];
        match task {
            Task::Binary => (scores.iter().flat_map(|&z| [0.0, z]).collect(), 2),
            _ => (scores.to_vec(), width),
        }
    }
}
