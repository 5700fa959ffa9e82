//! A training step as onnxruntime's training API takes it: a graph of loss and gradients, one of the loss alone, one of the
//! optimizer, and a checkpoint of the parameters.
//!
//! Published onnxruntime packages have that API up to 1.19.2. Its own tool makes the gradients with what knows some
//! operators; here they are those of [`autodiff`](crate::autodiff), in standard operators. What the API asks of names,
//! types and order is in the file of each part. `docs/ort-training.md` has it in words.

mod checkpoint;
mod engine;
mod eval_model;
mod optimizer_model;
mod training_model;

#[cfg(test)]
mod tests;

use crate::graph::messages::names;
use crate::graph::{Graph, Value};
use crate::hex;
use crate::onnx::messages::ModelProto;
use crate::onnx::{EMPTY_GRAPH, Model, Tensor};
use crate::training::program::{LABELS as CLASSES, TARGETS};
use crate::training::{BatchNormMode, Objective};

use super::build::{Forward, Maker};
use super::contract::{LABELS, LOSS};
use super::{Role, State, TrainingGraphError, TrainingOptions, state};

pub(crate) use engine::OrtTraining;

pub(super) use checkpoint::{is_checkpoint, state as checkpoint_state};

/// The domain of onnxruntime's own operators, of version 1.
const MICROSOFT: &str = "com.microsoft";

/// Tensors by their names.
type Tensors = [(String, Tensor)];

/// The files of `onnxruntime.training`, and what goes in and comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct OrtArtifacts {
    /// `training_model.onnx`: loss and gradients, which are added to what was gathered since the last step. Opset 21, IR 10.
    pub training_model: ModelProto,
    /// `eval_model.onnx`: the model as it is in its file, with its parameters as inputs and the loss behind it.
    pub eval_model: ModelProto,
    /// `optimizer_model.onnx`: the update of all parameters.
    pub optimizer_model: ModelProto,
    /// `checkpoint`: the parameters before the first step.
    pub checkpoint: Vec<u8>,
    /// Inputs of both models, as the training model has them: the model's own, the data first, then what the loss is held
    /// against, where the model does not make the loss itself.
    pub inputs: Vec<Value>,
    /// The first output of both models: the loss, a float32 scalar.
    pub loss: String,
    /// The second output of the evaluation: what the model says; `None` where that is the loss.
    pub scores: Option<String>,
    /// Trained parameters: name and dimensions.
    pub trained: Vec<(String, Vec<usize>)>,
    /// Frozen ones.
    pub frozen: Vec<(String, Vec<usize>)>,
    /// The batch size of the export, where the model had to be freed from it; see
    /// [`samples_stay_apart`](crate::training::samples_stay_apart).
    pub freed: Option<usize>,
}

/// The files with which onnxruntime's training API trains the parameters `trainable` of `model`, for samples of dimensions
/// `sample`, where `backbone` is the [hash](crate::adapter::backbone_sha256) of the file that the model was read from.
/// Other `parameters` of the model are frozen ones in the checkpoint; all else (running statistics, constants) stays in the
/// graphs.
///
/// Gradients, loss and update are as in [`training_graph`](super::training_graph), of whose options the API does not have
/// all: there is no average, no statistics of the batch, no momentum, no weight decay but that of AdamW. The evaluation is
/// the model of the file, so that what `export_model_for_inferencing` makes of it is that model with other values.
///
/// # Errors
/// As [`training_graph`](super::training_graph), for an option that the API does not have, and where a parameter is no
/// float32 tensor of the file's main graph, the file is of an opset that onnxruntime 1.19 does not read, or a name means
/// something else to the API.
pub fn ort_artifacts(
    model: &Model,
    backbone: &str,
    (trainable, parameters): (&[String], &[String]),
    sample: &[usize],
    options: &TrainingOptions,
) -> Result<OrtArtifacts, TrainingGraphError> {
    let mismatch = |what: &str| Err(TrainingGraphError::Mismatch(what.to_owned()));
    if trainable.is_empty() {
        return mismatch("there is no parameter to train");
    }
    if options.ema.is_some() {
        return mismatch("onnxruntime's training API keeps no average of the parameters");
    }
    if options.batch_norm == BatchNormMode::Batch {
        return mismatch(
            "onnxruntime's training API keeps no running statistics; BatchNormalization takes the stored ones there",
        );
    }
    let optimizer_model = optimizer_model::optimizer_model(&options.optimizer, options.clip_norm)?;
    let maker = Maker {
        model,
        trainable,
        sample,
        options,
    };
    let Forward { prepared, program } = maker.differentiated()?;
    let others = parameters.iter().filter(|name| !trainable.contains(name));
    let frozen = others.filter(|name| program.graph.initializers.contains_key(*name));
    let frozen: Vec<String> = frozen.cloned().collect();
    let tensors = |names: &[String]| -> Result<Vec<(String, Tensor)>, TrainingGraphError> {
        let of = |name: &String| {
            let tensor = prepared.graph.initializers.get(name).cloned();
            let tensor = tensor.map(|tensor| (name.clone(), tensor));
            tensor.ok_or_else(|| TrainingGraphError::Mismatch(format!("there is no `{name}`")))
        };
        names.iter().map(of).collect()
    };
    let (trained, frozen) = (tensors(trainable)?, tensors(&frozen)?);

    let all = trained.iter().chain(&frozen);
    let all: Vec<(&str, &Tensor)> = all.map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let file = eval_model::file(model, &prepared, &all)?;
    let mut taken = names(file.graph.as_ref().unwrap_or(&EMPTY_GRAPH));
    let (labels, loss) = (taken.fresh(LABELS), taken.fresh(LOSS));
    let freed = prepared.freed;
    let own = prepared.graph.inputs.iter().map(|v| v.name.clone());
    let is_input = |name: &&str| program.graph.inputs.iter().any(|v| v.name == **name);
    let held = [CLASSES, TARGETS].into_iter().find(is_input);
    let own: Vec<String> = own.chain(held.map(str::to_owned)).collect();
    let ports = training_model::Ports {
        inputs: &own,
        labels: &labels,
        loss: &loss,
    };
    let graph = training_model::training_model(program, &frozen, &ports)?;
    let inputs = graph.inputs[..own.len()].to_vec();
    let scores = match options.objective {
        Objective::Output => None,
        _ => Graph::from_model(model)?.outputs.first().cloned(),
    };
    let eval = eval_model::Eval {
        prepared: &prepared,
        inputs: &inputs,
        labels: held.is_some().then_some(labels.as_str()),
        parameters: &all,
        loss: &loss,
        scores: scores.as_ref(),
    };
    let mut state = State::default();
    for (name, tensor) in &trained {
        state.put(Role::Parameter(name.clone()), tensor.clone());
    }
    let hash = hex::decode(backbone).unwrap_or_default();
    state.put(Role::Backbone, state::backbone(hash));
    let dims = |of: &Tensors| {
        let all = of
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.dims.clone()));
        all.collect()
    };
    Ok(OrtArtifacts {
        training_model: graph.to_model(usize::MAX).0,
        eval_model: eval.model(file)?,
        optimizer_model,
        checkpoint: checkpoint::checkpoint(&state, &frozen)?,
        inputs,
        loss,
        scores: scores.map(|scores| scores.name),
        trained: dims(&trained),
        frozen: dims(&frozen),
        freed,
    })
}
