//! The flag of a task, where a model keeps its own classifier.

use crate::classifier::ModelCard;
use crate::onnx::Model;
use crate::task::Task;
use crate::training::own_task;
use clap::Args;

use super::CliError;

/// What a model's own classifier tells of a sample, and so which loss is taken.
#[derive(Args)]
pub struct TaskArg {
    /// What is told of a sample: `single-label`, which one class it is of (softmax, cross-entropy); `multi-label`, each
    /// class by itself (a sigmoid for each, binary cross-entropy, the mean over samples and classes); `binary`, which of
    /// two classes, by one output (its sigmoid, binary cross-entropy) [default: as the model's metadata say; else binary
    /// where it has one output, else single-label]
    #[arg(long, value_name = "TASK")]
    task: Option<Task>,
}

impl TaskArg {
    /// What is asked for, else what the model says, for samples of dimensions `sample`.
    ///
    /// # Errors
    /// As [`own_task`].
    pub fn of(&self, model: &Model, sample: &[usize]) -> Result<Task, CliError> {
        let said = self.task.or(ModelCard::read(model)?.task);
        Ok(own_task(model, sample, said)?)
    }

    /// What is asked for.
    pub fn asked(&self) -> Option<Task> {
        self.task
    }
}
