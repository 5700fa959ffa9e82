//! What a model's own classifier tells of a sample, as far as the model says.

use crate::graph::{Dim, Graph};
use crate::onnx::Model;
use crate::surgery::{Scores, ending};
use crate::task::Task;

use super::TrainingError;
use super::program::Prepared;

/// What a model's own head puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnHead {
    /// How many numbers for a sample.
    pub outputs: usize,
    /// What they are; `None` where that is not told.
    pub scores: Option<Scores>,
}

impl OwnHead {
    /// What the head of `model`, whose graph this is, puts out for samples of dimensions `sample`, from which follows
    /// how many outputs there are where the model does not declare it.
    ///
    /// # Errors
    /// When that many cannot be told, because the model cannot be brought to normal form.
    pub fn of(model: &Model, graph: &Graph, sample: &[usize]) -> Result<Self, TrainingError> {
        // What is wrong with it is told when it is prepared.
        let scores = ending(graph).ok().map(|ending| ending.scores);
        let task = match scores {
            Some(Scores::Independent) => Task::MultiLabel,
            _ => Task::SingleLabel,
        };
        let declared = graph.outputs.first().and_then(|o| o.dims.as_ref());
        let row = declared.filter(|dims| dims.iter().skip(2).all(|d| *d == Dim::Known(1)));
        let outputs = match row.and_then(|dims| dims.get(1)) {
            Some(Dim::Known(n)) => *n,
            _ => Prepared::of(model, 1, sample, task)?.classes,
        };
        Ok(OwnHead { outputs, scores })
    }
}

/// What the own classifier of `model` tells of a sample, of dimensions `sample`: what is `said` of it, by its metadata for
/// one, else by one output which of two classes a sample is of, and by several which one.
///
/// # Errors
/// When the model cannot be brought to normal form, or has another number of outputs.
pub fn own_task(
    model: &Model,
    sample: &[usize],
    said: Option<Task>,
) -> Result<Task, TrainingError> {
    let OwnHead { outputs, .. } = OwnHead::of(model, &Graph::from_model(model)?, sample)?;
    match (said, outputs) {
        (None, 1) => Ok(Task::Binary),
        (Some(Task::SingleLabel | Task::MultiLabel), 1) => Err(TrainingError::Mismatch(
            "the model has one output, which tells two classes apart (--task binary)".to_owned(),
        )),
        (Some(Task::Binary), 2..) => Err(TrainingError::Mismatch(format!(
            "the model has {outputs} outputs; one that tells two classes apart (--task binary) has 1"
        ))),
        _ => Ok(said.unwrap_or_default()),
    }
}
