//! The plan of trials, the runner, ranking, the run's folder.
//!
//! [`tune()`] does a whole run: every candidate of a strategy is trained on the search part of the
//! data and ranked on the validation part, the best is trained on the search and the training part,
//! and its model is written and checked.

mod card;
mod emit;
mod error;
mod guess;
mod head;
mod input;
mod opened;
mod outside;
mod paths;
mod plan;
mod pool;
mod predictions;
mod ranking;
mod read;
mod record;
mod repeats;
mod repetition;
mod results;
mod resume;
mod rundir;
mod runner;
mod settings;
mod state;
mod study;
mod trial;
mod trials;
mod tune;
mod watch;

pub use card::ModelCard;
pub use error::SearchError;
pub use input::{DEFAULT_PREPROCESS, ModelInput, Origin, at_image_size};
pub use paths::path_of_bytes;
pub use plan::{Obstacles, Phase, Plan, Skipped, StrategyPlan, trial_id};
pub use ranking::ranked;
pub use read::{RunFiles, StepLoss, TrialMetrics};
pub use record::{
    Configuration, DataRecord, FORMAT, LayerRecord, ModelFile, Parts, Planned, RunRecord,
    SkippedFile, Versions, skipped_summary,
};
pub use results::{
    Failure, HeldOut, Mistake, Repeat, RepeatResult, Results, Searched, Spread, StrategyResult,
    TrialRecord,
};
pub use rundir::{Begin, MetricsFile, REPORT, RunDir, TABLE, TENSORBOARD};
pub use settings::{Job, Settings};
pub use study::{Study, StudyJob, StudyModel, Subject, study};
pub use tune::tune;
pub use watch::{TrialStart, Watcher};
