//! A trained state in the model that it is of.

use std::path::Path;

use crate::adapter::{ensure_apart, ensure_backbone};
use crate::graph::{Graph, float_tensors};
use crate::hex;
use crate::onnx::messages::ModelProto;
use crate::onnx::{LARGEST_FILE, Model, save_within};
use crate::surgery::{Edited, Editor, Manifest, export, holds};

use super::{Role, State, TrainingGraphError};

/// A model with the values of a state, not yet written.
#[derive(Debug)]
pub struct Trained<'a> {
    backbone: &'a Model,
    proto: ModelProto,
    manifest: Manifest,
}

impl State {
    /// `backbone`, which is read from its file and nothing else, with what was trained in it: the averages where there are
    /// any, else parameters and running statistics, each in the type that it has in the file. All else is encoded
    /// as it was.
    ///
    /// # Errors
    /// [`AdapterError::OtherBackbone`](crate::adapter::AdapterError::OtherBackbone) when the state is of another model; [`TrainingGraphError::Misfit`] when the
    /// model does not have such tensors; when a value is not finite.
    pub fn apply<'a>(&self, backbone: &'a Model) -> Result<Trained<'a>, TrainingGraphError> {
        let hash = self.get(&Role::Backbone);
        let hash = hash.map(|hash| hex::encode(&hash.data));
        ensure_backbone(backbone, &hash.unwrap_or_default())?;
        backbone.ensure_fully_known()?;
        let graph = Graph::from_model(backbone)?;
        let known = float_tensors(&graph);
        let mut values = Vec::new();
        for (name, tensor) in self.trained() {
            match known.get(name) {
                Some(dims) if *dims == tensor.dims => {}
                Some(dims) => {
                    return Err(TrainingGraphError::Misfit(format!(
                        "its tensor `{name}` is {:?}, and that of the model {dims:?}",
                        tensor.dims
                    )));
                }
                None => {
                    return Err(TrainingGraphError::Misfit(format!(
                        "the model has no float tensor `{name}`"
                    )));
                }
            }
            values.push((name.to_owned(), tensor.to_f32().unwrap_or_default()));
        }
        let Edited { proto, manifest } = export(Editor::new(backbone)?, &values, &[])?;
        Ok(Trained {
            backbone,
            proto,
            manifest,
        })
    }
}

impl Trained<'_> {
    /// The model.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// Fails unless the model is the one that was trained but for the values that were.
    ///
    /// # Errors
    /// [`SurgeryError::NotAsClaimed`](crate::surgery::SurgeryError::NotAsClaimed).
    pub fn check(&self) -> Result<(), TrainingGraphError> {
        let made = self.backbone.with_proto(self.proto.clone());
        Ok(holds(self.backbone, &made, &self.manifest)?)
    }

    /// Writes the model to `path`, and the weights that one file cannot hold to a file of that name and `.data` beside it;
    /// both in one step each, in place of what is there. Gives whether there are any.
    ///
    /// # Errors
    /// As [`Trained::check`]; when one of them is a file of the backbone, or cannot be written.
    pub fn write(self, path: &Path) -> Result<bool, TrainingGraphError> {
        self.check()?;
        let location = path.file_name().unwrap_or_default();
        let location = format!("{}.data", location.to_string_lossy());
        ensure_apart(self.backbone, path)?;
        ensure_apart(self.backbone, &path.with_file_name(&location))?;
        Ok(save_within(LARGEST_FILE, self.proto, path, &location)?)
    }
}
