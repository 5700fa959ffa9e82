//! The plan of trials and the runner.
//!
//! [`tune()`] does a whole run: every candidate of a strategy is trained on the search part of the
//! data and ranked on the validation part, the best is trained on the search and the training part,
//! and its model is written and checked.

mod allowance;
mod average;
mod chooser;
mod clock;
mod cost;
mod effort;
mod emit;
mod error;
mod executor;
mod field;
mod gates;
mod head;
mod job;
mod kept;
mod opened;
mod outcome;
mod pixels;
mod plan;
mod pool;
mod recorded;
mod repeats;
mod repetition;
mod room;
mod round;
mod runner;
mod scores;
mod start;
mod state;
mod study;
mod told;
mod trial;
mod tune;
mod watch;
mod winner;

pub use error::SearchError;
pub use job::Job;
pub use plan::{Obstacles, Plan, StrategyPlan, trial_id};
pub use round::AskedTrial;
pub use scores::{ScoredModel, scores};
pub use study::{StudyJob, Subject, study};
pub use tune::{Collected, carry_out, collect, tune};
pub use watch::{Doing, RoundStart, TrialStart, Watcher, Work, head_of};
