//! The folder of a run: what stands in it, and how it is read and written.
//!
//! [`RunDir`] is the folder while a process works on it, [`RunFiles`] what is read of it afterwards,
//! [`RunRecord`] the content of `run.json`, which says what is run, and [`Results`] that of
//! `results.json`.

mod budget;
mod certainty;
mod config;
mod error;
mod folder;
mod gates;
mod method;
mod outside;
pub(crate) mod paths;
mod predictions;
mod ranking;
mod read;
mod recipe;
mod record;
mod request;
mod results;
mod scores;
mod settings;
mod study;
mod unchanged;

pub use budget::{Allowance, PlannedCost, SearchBudget, SearchCost, Span};
pub use certainty::{Certainty, Ranking, Standing};
pub use config::{FlagValue, flags};
pub use error::RunError;
pub use folder::{Begin, MetricsFile, REPORT, RunDir, TABLE, TENSORBOARD};
pub(crate) use folder::{CLUSTER, Parameters, file_sha256, lock, remove_left};
pub use gates::{Gated, Gates, LayerGates, SampleGates};
pub use method::SearchMethod;
pub(crate) use outside::outside;
pub use paths::{absolute, path_of_bytes};
pub(crate) use predictions::csv;
pub use ranking::{TieBreak, ranked, tie_break};
pub use read::{RunFiles, StepLoss, TrialMetrics};
pub use recipe::Recipe;
pub use record::{
    Configuration, DataRecord, ExternalFile, FORMAT, LayerRecord, ModelFile, Parts, Planned,
    RunRecord, Skipped, SkippedFile, Versions,
};
pub use request::{TrialReply, TrialRequest};
pub use results::{
    Failure, HeldOut, Mistake, Phase, Repeat, RepeatResult, Results, Searched, Spread,
    StrategyResult, TrialRecord, WeightsFile,
};
pub use scores::{Scores, UnitScores};
pub use settings::Settings;
pub use study::{Study, StudyModel};
pub(crate) use unchanged::{extended, same_input, same_settings, same_study, unchanged};
