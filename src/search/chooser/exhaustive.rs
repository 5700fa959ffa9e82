//! Every candidate is trained for all epochs of the search.

use crate::run::{Phase, TrialRequest};
use crate::search::SearchError;

use super::{Budget, Chooser, Scene};

pub(super) struct Exhaustive;

impl Chooser for Exhaustive {
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError> {
        let epochs = Budget::once(scene.settings.search_epochs);
        let search = scene.requests(scene.plan.searched(), Phase::Search, epochs);
        let first = scene.first(search);
        match first.is_empty() {
            false => Ok(first),
            true => scene.after_search(),
        }
    }
}
