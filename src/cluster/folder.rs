//! `RUN/cluster`: what was submitted, and what came of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::onnx::{create_folder, write_atomic};
use crate::run::{CLUSTER, RunError, absolute};
use crate::search::AskedTrial;

/// Trials that were handed to a cluster together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Submission {
    /// The array job that carries them out.
    pub array: String,
    /// The job behind it.
    pub collect: String,
    /// Whether a person has asked for it; else the job behind the one before.
    pub by_person: bool,
    /// Each trial's round and identity.
    pub trials: Vec<(usize, String)>,
}

/// The folder.
///
/// ```text
/// settings.json     what the cluster was asked for
/// task.sh, collect.sh, on_ray.py   what runs there
/// 1.tasks           the trials of submission 1, a line for each task, separated by spaces
/// 1.json            the submission, once all of it is submitted
/// 1-0.out, 1-0.begun, 1-collect.out   what its task 0 has said; when its last attempt began; the job behind
/// ```
pub(super) struct Folder {
    /// The run's, absolute: jobs begin elsewhere.
    pub root: PathBuf,
}

impl Folder {
    pub fn of(root: &Path) -> Self {
        Folder {
            root: absolute(root),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(CLUSTER).join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.path(name);
        create_folder(&self.root.join(CLUSTER))
            .and_then(|()| write_atomic(&path, bytes))
            .map_err(|source| RunError::Write {
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let bytes = serde_json::to_vec(value).map_err(|e| RunError::Write {
            path: self.path(name),
            source: e.into(),
        })?;
        self.write(name, &bytes).map(drop)
    }

    /// The value that a file holds; `None` if there is no such file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RunError> {
        let path = self.path(name);
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunError::Read { path, source }),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(Some(value)),
                Err(e) => Err(RunError::Damaged {
                    path,
                    reason: e.to_string(),
                }),
            },
        }
    }

    /// The submissions so far, by number, from 1.
    pub fn submissions(&self) -> Result<Vec<Submission>, RunError> {
        let mut all = Vec::new();
        while let Some(submission) = self.read_json(&format!("{}.json", all.len() + 1))? {
            all.push(submission);
        }
        Ok(all)
    }

    /// The last lines of a file, for people.
    pub fn tail(&self, name: &str) -> String {
        let text = fs::read(self.path(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(4)..].join(" / ")
    }
}

/// How often a trial was submitted since a person has last asked for it.
pub(super) fn times(submissions: &[Submission], trial: &AskedTrial) -> usize {
    let since = submissions.iter().rposition(|s| s.by_person).unwrap_or(0);
    let is_it = |(round, id): &(usize, String)| *round == trial.round && *id == trial.id;
    let with = submissions[since..]
        .iter()
        .filter(|s| s.trials.iter().any(is_it));
    with.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(by_person: bool, trials: &[(usize, &str)]) -> Submission {
        Submission {
            array: "30".to_owned(),
            collect: "31".to_owned(),
            by_person,
            trials: trials.iter().map(|&(r, id)| (r, id.to_owned())).collect(),
        }
    }

    #[test]
    fn submissions_are_found_in_their_order_up_to_one_that_was_not_completed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::of(root.path());
        assert!(folder.submissions().unwrap().is_empty());
        let all: Vec<_> = (1..=11).map(|n| submission(n == 1, &[(n, "a")])).collect();
        for (number, submission) in (1..).zip(&all) {
            folder
                .write_json(&format!("{number}.json"), submission)
                .unwrap();
        }
        folder.write("12.tasks", b"b").unwrap();
        assert_eq!(folder.submissions().unwrap(), all);
        folder.write("3.json", b"{").unwrap();
        assert!(folder.submissions().is_err());
    }

    #[test]
    fn a_trial_that_goes_on_in_a_later_round_was_not_submitted_for_it_before() {
        let trial = |round, id: &str| AskedTrial {
            id: id.to_owned(),
            round,
            stage: 0,
            threads: 1,
            side_by_side: 1,
            epochs: 1,
            flops: None,
            bytes: None,
        };
        let mut all = vec![
            submission(true, &[(1, "a"), (1, "b")]),
            submission(false, &[(1, "a")]),
            submission(false, &[(2, "a")]),
        ];
        assert_eq!(times(&all, &trial(1, "a")), 2);
        assert_eq!(times(&all, &trial(1, "b")), 1);
        assert_eq!(times(&all, &trial(2, "a")), 1);
        assert_eq!(times(&all, &trial(2, "b")), 0);
        // A person who asks again means it.
        all.push(submission(true, &[(1, "b")]));
        assert_eq!(times(&all, &trial(1, "a")), 0);
        assert_eq!(times(&all, &trial(1, "b")), 1);
    }
}
