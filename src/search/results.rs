//! What a run leaves behind, as it stands in its files.

use serde::Serialize;

use crate::strategy::Strategy;
use crate::training::Score;

use super::plan::Phase;

/// A finished trial: one line of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialRecord {
    /// The trial's folder under `trials/`.
    pub id: String,
    /// The strategy it belongs to.
    pub strategy: Strategy,
    /// What it was for.
    pub phase: Phase,
    /// Label of the candidate.
    pub candidate: String,
    /// Names of the backbone layers that were trained.
    pub layers: Vec<String>,
    /// Number of trained values; `None` if the trial failed.
    pub trained_parameters: Option<usize>,
    /// At the best epoch; `None` without validation samples.
    pub validation: Option<Score>,
    /// The epoch the parameters were taken after, from 1.
    pub best_epoch: usize,
    /// Epochs that were trained.
    pub epochs: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a strategy came to: one entry of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StrategyResult {
    /// Name of the strategy.
    pub name: Strategy,
    /// Label of the winning candidate.
    pub candidate: Option<String>,
    /// Of the winner after retraining; `None` without validation samples.
    pub validation_accuracy: Option<f64>,
    /// Of the winner after retraining; `None` without held-out samples.
    pub held_out_accuracy: Option<f64>,
    /// Number of trained values.
    pub trained_parameters: Option<usize>,
    /// Wall-clock seconds of the search and the retraining.
    pub seconds: f64,
    /// Path of the model, relative to the run's folder.
    pub model: Option<String>,
    /// Why there is no model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The content of `results.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Results {
    /// Finished strategies, in the order they were run.
    pub strategies: Vec<StrategyResult>,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
}

impl Results {
    /// The strategies that gave no model.
    pub fn failed(&self) -> impl Iterator<Item = &StrategyResult> {
        self.strategies.iter().filter(|s| s.error.is_some())
    }
}
