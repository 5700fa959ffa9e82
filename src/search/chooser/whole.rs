//! Every candidate is trained as a winner is, and the best is the winner.

use crate::run::{Phase, TrialRequest};
use crate::search::SearchError;

use super::{Budget, Chooser, Scene};

pub(super) struct Whole;

impl Chooser for Whole {
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError> {
        let first = scene.first(Vec::new());
        if !first.is_empty() {
            return Ok(first);
        }
        let epochs = Budget::once(scene.settings.most_epochs());
        let candidates = scene.requests(scene.plan.begun(), Phase::Train, epochs);
        match candidates.is_empty() {
            false => Ok(candidates),
            true => scene.after_search(),
        }
    }
}
