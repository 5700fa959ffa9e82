//! Who carries out the trials of a round.

use std::sync::Mutex;

use crate::run::TrialRequest;

use super::SearchError;
use super::pool::lock;
use super::round::{AskedTrial, OnBegin, OnEnd, Round};

/// Carries out trials, or has them carried out.
pub(super) trait Executor: Sync {
    /// Has `requests`, trials of `round`, carried out. `begin` is called when one begins in this process. Those
    /// that did not end are with others when this returns.
    ///
    /// # Errors
    /// The first error; those of `end`.
    fn run(
        &self,
        round: &Round<'_>,
        requests: &[TrialRequest],
        begin: &OnBegin<'_>,
        end: &OnEnd<'_>,
    ) -> Result<(), SearchError>;

    /// Whether other processes may be carrying out trials of the run.
    fn has_others(&self) -> bool;
}

/// This process, with threads.
pub(super) struct Local;

impl Executor for Local {
    fn run(
        &self,
        round: &Round<'_>,
        requests: &[TrialRequest],
        begin: &OnBegin<'_>,
        end: &OnEnd<'_>,
    ) -> Result<(), SearchError> {
        round.carry_out(requests, begin, end)
    }

    fn has_others(&self) -> bool {
        false
    }
}

/// Other processes, whichever: what is asked for is noted here, and their replies are found in the run's
/// folder.
#[derive(Default)]
pub(super) struct Elsewhere {
    asked: Mutex<Vec<AskedTrial>>,
}

impl Elsewhere {
    /// The trials that have not ended.
    pub fn asked(self) -> Vec<AskedTrial> {
        self.asked.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

impl Executor for Elsewhere {
    fn run(
        &self,
        round: &Round<'_>,
        requests: &[TrialRequest],
        _: &OnBegin<'_>,
        _: &OnEnd<'_>,
    ) -> Result<(), SearchError> {
        let asked = requests.iter().filter_map(|r| round.describe(r));
        lock(&self.asked).extend(asked);
        Ok(())
    }

    fn has_others(&self) -> bool {
        true
    }
}
