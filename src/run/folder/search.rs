//! What a search looks at, in files.

use std::path::Path;

use crate::run::certainty::Ranking;
use crate::run::read::read_json;
use crate::run::scores::Scores;

use super::{RANKING, RunDir, RunError, SCORES, text, write_json};

impl RunDir {
    /// Writes `scores.json`, unless it is there and says the same.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn keep_scores(&self, scores: &Scores) -> Result<(), RunError> {
        let text = text(scores).map_err(|e| RunError::write(&self.path(SCORES), e))?;
        self.keep(SCORES, &text)
    }

    /// The content of `scores.json` of the repetition with this number, from 1, of the run in `root`; `None`
    /// where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a file.
    pub fn read_scores(root: &Path, number: usize) -> Result<Option<Scores>, RunError> {
        let folder = match number {
            1 => root.to_owned(),
            number => root.join(Self::repetition_name(number)),
        };
        read_json(&folder.join(SCORES))
    }

    /// Writes what a candidate makes of the samples that rank it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_ranking(&self, trial: &str, ranking: &Ranking) -> Result<(), RunError> {
        write_json(&self.path("trials").join(trial).join(RANKING), ranking)
    }

    /// What a candidate makes of the samples that rank it; `None` where its trial has left no such file.
    ///
    /// # Errors
    /// When it cannot be read or is not such a file.
    pub(crate) fn read_ranking(&self, trial: &str) -> Result<Option<Ranking>, RunError> {
        read_json(&self.path("trials").join(trial).join(RANKING))
    }
}
