//! Taking possession of a folder.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::onnx::TEMPORARY_PREFIX;
use crate::run::RunError;
use crate::run::read::read_json;

use super::lock::{exclude_trials, lock, share_trials};
use super::{Begin, LOCK, OWN, RUN, RunDir, SPLIT, TRIALS_LOCK};

impl RunDir {
    /// Fails if `root` may not become the folder of a run that begins in this way. Changes nothing.
    ///
    /// # Errors
    /// When it is not a folder; not empty, for a new run; without a run, to resume.
    pub fn check(root: &Path, begin: Begin) -> Result<(), RunError> {
        if begin == Begin::Resume {
            return match root.join(RUN).is_file() {
                true => Ok(()),
                false => Err(RunError::NotARun {
                    path: root.to_owned(),
                }),
            };
        }
        let entries: Vec<_> = match fs::read_dir(root) {
            Ok(entries) => entries.flatten().map(|e| e.file_name()).collect(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(RunError::NotAFolder {
                    path: root.to_owned(),
                });
            }
            Err(e) => return Err(RunError::write(root, e)),
        };
        let has = |name: &str| entries.iter().any(|e| e == name);
        // What a process leaves that was killed before the run began.
        let is_left = |name: &OsString| {
            name == LOCK
                || name == TRIALS_LOCK
                || name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
                || name == SPLIT && has(LOCK) && !has(RUN)
        };
        let mut used = entries.iter().filter(|name| !is_left(name));
        match begin {
            Begin::Replace if has(RUN) => match is_record(&root.join(RUN)) {
                true => Ok(()),
                false => Err(not_a_runs(root, RUN)),
            },
            // To be replaced, a file has to be of a run.
            Begin::Replace => match used.find_map(|name| OWN.into_iter().find(|own| name == own)) {
                Some(name) => Err(not_a_runs(root, name)),
                None => Ok(()),
            },
            _ if used.next().is_some() => Err(RunError::NotEmpty {
                path: root.to_owned(),
                resumable: root.join(RUN).is_file(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes possession of the folder, which is made where it is not there. To replace, the files
    /// of the earlier run in it are removed, and nothing else.
    ///
    /// # Errors
    /// As [`RunDir::check`]; when another process works on it, or on a trial of it; when it cannot be made.
    pub fn take(root: &Path, begin: Begin) -> Result<Self, RunError> {
        Self::take_with(root, begin, false)
    }

    /// As [`RunDir::take`], while other processes may carry out trials for the run.
    ///
    /// # Errors
    /// As [`RunDir::check`]; when another process works on the run; when it cannot be made.
    pub(crate) fn take_beside(root: &Path, begin: Begin) -> Result<Self, RunError> {
        Self::take_with(root, begin, true)
    }

    /// The folder of the run, or of one of its repetitions, for a process that carries out trials for another.
    /// Nobody else may begin to work on all of it meanwhile.
    ///
    /// # Errors
    /// When a process works on the run that carries out its trials itself.
    pub(crate) fn take_part(root: &Path, repetition: usize) -> Result<Self, RunError> {
        let shared = share_trials(root)?;
        Ok(RunDir {
            root: match repetition {
                1 => root.to_owned(),
                number => root.join(Self::repetition_name(number)),
            },
            _locks: vec![shared],
        })
    }

    fn take_with(root: &Path, begin: Begin, others: bool) -> Result<Self, RunError> {
        Self::check(root, begin)?;
        let file = lock(root)?;
        let mut run = RunDir {
            root: root.to_owned(),
            _locks: vec![file],
        };
        if !others || begin == Begin::Replace {
            run._locks.push(exclude_trials(root)?);
        }
        // Another process may have been faster.
        Self::check(root, begin)?;
        // Of a trial that another process works on, what looks left is not.
        run.remove_left(!others)?;
        if begin == Begin::Replace {
            run.remove_earlier()?;
        }
        Ok(run)
    }
}

/// Whether this is a `run.json` of this program, of whatever version.
fn is_record(path: &Path) -> bool {
    let record: Option<serde_json::Value> = read_json(path).ok().flatten();
    record.is_some_and(|r| r["versions"]["ftsurgery"].is_string())
}

fn not_a_runs(root: &Path, name: &'static str) -> RunError {
    RunError::NotOurs {
        path: root.to_owned(),
        name,
    }
}
