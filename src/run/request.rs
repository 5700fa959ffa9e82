//! Trials as they are asked for and answered, so that any process can carry them out.

use serde::{Deserialize, Serialize};

use crate::strategy::{Candidate, StrategyName};

use super::results::{Phase, TrialRecord, is_zero};

/// A trial that is wanted: a line of `requests.jsonl`.
///
/// Together with `run.json`, the model and the data it says all that the trial's result depends on,
/// wherever and whenever it is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// The trial's identity, and its folder's name under `trials/`. A trial that is asked to go on keeps it.
    pub id: String,
    /// The requests of one round, from 1, are planned together: which frozen values are kept and on how many
    /// threads each trial runs follow from all of them, whichever of them a process carries out.
    pub round: usize,
    /// What it is for.
    pub phase: Phase,
    /// The strategy it belongs to; of several, the first.
    pub strategy: StrategyName,
    /// What is trained.
    pub candidate: Candidate,
    /// Epochs, at most, since the trial began.
    pub epochs: usize,
    /// Of a trial that is asked to go on again and again, how often it was asked, from 1; 0 of all others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rung: usize,
    /// The learning rate that its candidate's search has found; `None` where it is given, or to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f32>,
    /// Whether it may be asked to go on from where it ends, so that its state is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
}

impl TrialRequest {
    /// Whether `record` is of this trial and has come as far as is asked.
    pub fn is_met_by(&self, record: &TrialRecord) -> bool {
        record.id == self.id && record.rung >= self.rung
    }
}

/// What a trial came to: the content of `trials/ID/reply.json`, where another process than that which
/// collects the results carried it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialReply {
    /// What was asked.
    pub request: TrialRequest,
    /// The trial's record.
    pub record: TrialRecord,
    /// SHA-256 of `trials/ID/parameters.safetensors`, in hexadecimal: what a winner has trained. `None` of
    /// a trial of the search, and of one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}
