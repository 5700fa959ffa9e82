//! Every candidate is trained for all epochs of the search.

use crate::run::TrialRequest;
use crate::search::SearchError;

use super::{Budget, Chooser, Scene};

pub(super) struct Exhaustive;

impl Chooser for Exhaustive {
    fn next(&self, scene: &Scene<'_>) -> Result<Vec<TrialRequest>, SearchError> {
        let epochs = Budget::once(scene.settings.most_search_epochs());
        let first = scene.first(scene.search(epochs));
        match first.is_empty() {
            false => Ok(first),
            true => scene.after_search(),
        }
    }
}
