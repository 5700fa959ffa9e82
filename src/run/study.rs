//! The content of `study.json`: the same run on several models.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::Preprocess;
use crate::strategy::StrategyName;
use crate::task::Task;

use super::folder::write_json;
use super::read::read_numbered;
use super::{RunError, Settings, Spread};

/// The study's record, in its folder.
const STUDY: &str = "study.json";

/// The content of `study.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Number of the form of this file and of those of its runs; see [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// How each model is tuned, with threads and memory as they were taken.
    pub settings: Settings,
    /// The command line that made the study; empty where there was none.
    pub command: Vec<String>,
    /// Absolute path of the data.
    #[serde(with = "super::paths")]
    pub data: PathBuf,
    /// The models: its rows.
    pub models: Vec<StudyModel>,
    /// Mean and variance of each strategy over the models that have all strategies.
    pub spread: Vec<Spread>,
    /// Whether the study was stopped before its end.
    pub interrupted: bool,
}

/// A model of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyModel {
    /// Its name: the file's, without its ending.
    pub name: String,
    /// Absolute path of its file.
    #[serde(with = "super::paths")]
    pub model: PathBuf,
    /// How pixels become its input; `None` for what its metadata name, else what the settings name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<Preprocess>,
    /// The folder of its run, relative to the study's.
    pub folder: String,
    /// Accuracy of each strategy on the held-out part (the validation part where nothing is held
    /// out), its mean where a run is repeated; `None` where there is none. Of samples that may have several labels
    /// the share of which all are right.
    pub accuracies: Vec<Option<f64>>,
    /// What was told of a sample, see [`Results::task`](super::Results::task).
    #[serde(default)]
    pub task: Task,
    /// Why the model could not be tuned at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Study {
    /// The strategies: the columns of the table.
    pub fn strategies(&self) -> &[StrategyName] {
        &self.settings.strategies
    }

    /// What was told of a sample: each class by itself where any model's run did so.
    pub fn task(&self) -> Task {
        match self.models.iter().any(|m| m.task.is_multi_label()) {
            true => Task::MultiLabel,
            false => Task::SingleLabel,
        }
    }

    /// The record in the folder of a study; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or one of another [`FORMAT`](super::FORMAT).
    pub fn read(root: &Path) -> Result<Option<Self>, RunError> {
        read_numbered(&root.join(STUDY))
    }

    /// Writes the record into the folder of the study.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, root: &Path) -> Result<(), RunError> {
        write_json(&root.join(STUDY), self)
    }
}
