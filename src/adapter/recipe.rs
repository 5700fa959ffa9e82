//! All that makes a tuned model of its backbone but for the tuned values.

use serde::{Deserialize, Serialize};

use crate::classifier::at_image_size;
use crate::onnx::Model;
use crate::surgery::{
    Dequantised, Features, Grafted, HeadKind, HeadSpec, Rewrite, dequantised, graft,
    in_inference_mode,
};
use crate::task::Task;

use super::AdapterError;

/// What is done to a backbone, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// In which form it is tuned.
    pub prepared: Preparation,
    /// The head that it gets; `None` where it keeps its own.
    pub head: Option<NewHead>,
    /// What is changed in the network before it is trained.
    pub rewrite: Rewrite,
    /// Whether the file is freed from the batch size of its export.
    pub frees_batch: bool,
    /// The metadata properties that are set: what the model says of itself, the
    /// [card](crate::classifier::ModelCard) included.
    pub metadata: Vec<(String, String)>,
}

/// What is made of a model's file before its head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// The value that is taken as its class scores; `None` for what is [found](crate::graph::Graph::from_model).
    pub output: Option<String>,
    /// The height and width that its input is made for, in pixels; `None` as it is.
    pub image_size: Option<(usize, usize)>,
    /// Whether it is [dequantised].
    pub dequantise: bool,
    /// Whether it is put [in inference mode](in_inference_mode).
    pub inference_mode: bool,
}

/// A model as it is tuned.
#[derive(Debug)]
pub struct Prepared {
    /// The model.
    pub model: Model,
    /// How many tensors were dequantised, and how many pairs on data became bounds, where that was asked for.
    pub dequantised: Option<(usize, usize)>,
    /// How many nodes infer that were exported in training mode, where that was asked for.
    pub inferring: Option<usize>,
}

/// A head in place of a model's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHead {
    /// Which.
    pub kind: HeadKind,
    /// Number of classes.
    pub classes: usize,
    /// What it tells of a sample.
    pub task: Task,
    /// Whether it ends in logits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logits: bool,
    /// What it stands on.
    pub features: Features,
}

impl Recipe {
    /// A metadata property that is set.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut all = self.metadata.iter();
        all.find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

impl Preparation {
    /// A model that was read from its file as it is tuned.
    ///
    /// # Errors
    /// When its graph is malformed, its file has fields that would be lost, or it cannot be dequantised.
    pub fn of(&self, file: &Model) -> Result<Prepared, AdapterError> {
        file.ensure_fully_known()?;
        let scored = file.with_proto(file.proto.clone());
        let scored = scored.with_scores(self.output.as_deref());
        let mut prepared = Prepared {
            model: at_image_size(&scored, self.image_size)?,
            dequantised: None,
            inferring: None,
        };
        if self.dequantise {
            let Dequantised {
                model,
                tensors,
                clips,
            } = dequantised(&prepared.model)?;
            prepared.model = model;
            prepared.dequantised = Some((tensors, clips));
        }
        if self.inference_mode {
            let (model, changed) = in_inference_mode(&prepared.model)?;
            prepared.model = model;
            prepared.inferring = Some(changed);
        }
        Ok(prepared)
    }
}

impl NewHead {
    /// The head, to be built: its first values are another's, and training's dropout is left out.
    pub(super) fn spec(&self) -> HeadSpec {
        HeadSpec {
            task: self.task,
            logits: self.logits,
            dropout: 0.0,
            ..HeadSpec::new(self.kind, self.classes, 0)
        }
    }
}

/// The model with the head of `recipe`.
pub(super) fn with_head(model: &Model, recipe: &Recipe) -> Result<Grafted, AdapterError> {
    let kept = HeadSpec {
        // One output, which every classifier has.
        task: Task::Binary,
        ..HeadSpec::new(HeadKind::Keep, 2, 0)
    };
    Ok(match &recipe.head {
        Some(head) => graft(model, Some(&head.features), &head.spec())?,
        None => graft(model, None, &kept)?,
    })
}
