//! The heads with which trials begin, where they are found beforehand.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::onnx::{create_folder, partial, write_atomic_with};
use crate::run::read::{read, read_json};
use crate::run::results::Phase;
use crate::training::{HeadFigures, SolvedHead, Start};

use super::clean::remove;
use super::replies::{load, save};
use super::{HEADS, RunDir, RunError, lock, write_json};

/// What is said of the values of a head, in a file of its own: the clock shows in it, and not in the values' file, which
/// has the same bytes wherever the head is found.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// What the head is of: samples, settings, network.
    of: String,
    /// CRC-32C of the values' bytes, one tensor after the other.
    checksum: u32,
    figures: HeadFigures,
}

impl RunDir {
    /// The file of the head of a phase.
    pub(crate) fn head(&self, phase: Phase) -> PathBuf {
        self.path(HEADS)
            .join(format!("{}.safetensors", phase.name()))
    }

    /// What is said of it.
    pub(super) fn head_entry(&self, phase: Phase) -> PathBuf {
        self.path(HEADS).join(format!("{}.json", phase.name()))
    }

    /// Where the state of such a head is kept while it is trained.
    pub(crate) fn head_checkpoint(&self, phase: Phase) -> PathBuf {
        let name = format!("{}.checkpoint.safetensors", phase.name());
        self.path(HEADS).join(name)
    }

    /// Removes that file, if there is one.
    ///
    /// # Errors
    /// When it is there and stays.
    pub(crate) fn remove_head_checkpoint(&self, phase: Phase) -> Result<(), RunError> {
        let file = self.head_checkpoint(phase);
        remove(&partial(&file))?;
        remove(&file)
    }

    /// Whether there is a file of that name, whatever it is.
    pub(crate) fn has_head(&self, phase: Phase) -> bool {
        self.head(phase).exists()
    }

    /// Takes possession of the heads, for as long as the file is open.
    ///
    /// # Errors
    /// [`RunError::InUse`] when another process has them.
    pub(crate) fn lock_heads(&self) -> Result<File, RunError> {
        lock(&self.path(HEADS))
    }

    /// Writes the head of a phase, which is `of` some samples and settings; its checkpoint goes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_head(
        &self,
        phase: Phase,
        of: &str,
        head: &SolvedHead,
    ) -> Result<(), RunError> {
        let path = self.head(phase);
        let values = head.start.values();
        let failed = |e| RunError::write(&path, e);
        let entry = Entry {
            of: of.to_owned(),
            checksum: checksum(values),
            figures: head.figures,
        };
        create_folder(&self.path(HEADS)).map_err(failed)?;
        write_json(&self.head_entry(phase), &entry)?;
        // There is a head once this is there.
        write_atomic_with(&path, |file| save(values, HashMap::new(), file)).map_err(failed)?;
        self.remove_head_checkpoint(phase)
    }

    /// The head of a phase that is `of` these samples and settings; `None` where there is none, or it is not as it
    /// was written.
    ///
    /// # Errors
    /// When a file is there, but cannot be read.
    pub(crate) fn read_head(&self, phase: Phase, of: &str) -> Result<Option<SolvedHead>, RunError> {
        let entry = match read_json::<Entry>(&self.head_entry(phase)) {
            Err(RunError::Damaged { .. }) => None,
            read => read?,
        };
        let Some((entry, bytes)) = entry.zip(read(&self.head(phase))?) else {
            return Ok(None);
        };
        let is_whole = |values: &Vec<_>| entry.of == of && entry.checksum == checksum(values);
        Ok(load(&bytes).filter(is_whole).map(|values| SolvedHead {
            start: Start::new(values),
            figures: entry.figures,
        }))
    }
}

fn checksum(values: &[(String, Vec<f32>)]) -> u32 {
    let all = values.iter().flat_map(|(_, values)| values);
    let chunks = all.map(|v| v.to_le_bytes());
    chunks.fold(0, |sum, bytes| crc32c::crc32c_append(sum, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Begin;

    #[test]
    fn a_head_comes_back_where_it_is_of_the_same_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::take(folder.path(), Begin::New).unwrap();
        let head = SolvedHead {
            start: Start::new(vec![
                ("w".to_owned(), vec![0.5, -1.0, 2.5]),
                ("b".to_owned(), vec![0.0]),
            ]),
            figures: HeadFigures {
                strength: Some(0.1),
                loss: Some(0.25),
                epochs: None,
                seconds: 1.5,
            },
        };
        let read = |of| run.read_head(Phase::Search, of).unwrap();
        assert_eq!(read("x"), None);
        run.write_head(Phase::Search, "x", &head).unwrap();
        assert_eq!(read("x").as_ref(), Some(&head));
        assert_eq!(read("y"), None, "of other samples");
        assert_eq!(run.read_head(Phase::Train, "x").unwrap(), None);
        let path = run.head(Phase::Search);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for bytes in [&damaged[..], &whole[..whole.len() / 2], b""] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read("x"), None);
        }
        run.write_head(Phase::Search, "x", &head).unwrap();
        assert_eq!(read("x").as_ref(), Some(&head));
        std::fs::write(run.head_entry(Phase::Search), "{").unwrap();
        assert_eq!(read("x"), None);
        // The clock does not show in its bytes, nor does what a map makes of an order.
        for seconds in 0..8 {
            let mut again = head.clone();
            again.figures.seconds = f64::from(seconds);
            run.write_head(Phase::Search, "x", &again).unwrap();
            assert!(std::fs::read(&path).unwrap() == whole);
            assert_eq!(read("x").unwrap().figures.seconds, f64::from(seconds));
        }
    }
}
