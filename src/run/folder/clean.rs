//! Removing what an earlier process made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::onnx::{self, TEMPORARY_PREFIX, partial};
use crate::run::RunError;
use crate::run::results::Phase;
use crate::strategy::StrategyName;

use super::{
    CHECKPOINT, CLUSTER, CONFIG, HEADS, LOCK, METRICS, PARAMETERS, RANKING, REPEATS, REPLY, REPORT,
    REQUESTS, RESULTS, RUN, RunDir, SCORES, SPLIT, TABLE, TENSORBOARD, TRIALS,
};

impl RunDir {
    /// The files in `winners` that have the name of a strategy.
    fn winners(&self) -> Vec<PathBuf> {
        let is_winner = |path: &PathBuf| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            let endings = [
                ".onnx",
                ".onnx.unchecked",
                ".onnx.data",
                ".onnx.data.partial",
                ".safetensors",
                ".safetensors.partial",
                ".predictions.csv",
            ];
            let strategy = endings.iter().find_map(|e| name.strip_suffix(e));
            strategy.and_then(StrategyName::from_file_stem).is_some()
        };
        entries(&self.path("winners")).filter(is_winner).collect()
    }

    /// Removes the half-written files that a killed process left, except those of repetitions, and those of
    /// `trials` only if it says so.
    pub(super) fn remove_left(&self, trials: bool) -> Result<(), RunError> {
        let folders = ["", "winners"].map(|name| self.path(name));
        let mut parents = vec![self.path(TENSORBOARD)];
        parents.extend(trials.then(|| self.path("trials")));
        let of_trials = parents.iter().flat_map(|folder| entries(folder));
        folders
            .into_iter()
            .chain(of_trials)
            .try_for_each(|folder| remove_left(&folder))
    }

    /// Removes what an earlier run came to, and nothing else. Its `run.json` and `split.json` stay,
    /// for the new run to replace: until it does, the folder is that of the earlier run, which has
    /// come to nothing yet.
    pub(super) fn remove_earlier(&self) -> Result<(), RunError> {
        for name in [RESULTS, TRIALS, REQUESTS] {
            remove(&self.path(name))?;
        }
        for file in self.winners() {
            remove(&file)?;
        }
        for folder in entries(&self.path("trials")) {
            for name in [METRICS, RANKING, REPLY, LOCK] {
                remove(&folder.join(name))?;
            }
            for file in [CHECKPOINT, PARAMETERS].map(|name| folder.join(name)) {
                remove(&partial(&file))?;
                remove(&file)?;
            }
            // A folder that holds anything else stays.
            let _ = fs::remove_dir(folder);
        }
        for phase in [Phase::Search, Phase::Train] {
            self.remove_head_checkpoint(phase)?;
            remove(&partial(&self.head(phase)))?;
            remove(&self.head(phase))?;
            remove(&partial(&self.head_entry(phase)))?;
            remove(&self.head_entry(phase))?;
        }
        remove(&self.path(HEADS).join(LOCK))?;
        let _ = fs::remove_dir(self.path(HEADS));
        for name in [REPORT, TABLE, CONFIG, SCORES] {
            remove(&self.path(name))?;
        }
        for folder in entries(&self.path(TENSORBOARD)) {
            let is_events = |p: &PathBuf| p.to_string_lossy().contains("tfevents");
            for file in entries(&folder).filter(is_events) {
                remove(&file)?;
            }
            let _ = fs::remove_dir(folder);
        }
        let _ = fs::remove_dir(self.path(TENSORBOARD));
        // Those of a submission begin with its number.
        let is_ours = |p: &PathBuf| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
            ["settings.json", "task.sh", "collect.sh", "on_ray.py"].contains(&name)
                || name.starts_with(|c: char| c.is_ascii_digit())
        };
        for file in entries(&self.path(CLUSTER)).filter(is_ours) {
            remove(&file)?;
        }
        let _ = fs::remove_dir(self.path(CLUSTER));
        for root in entries(&self.path(REPEATS)) {
            let repetition = RunDir {
                root,
                _locks: Vec::new(),
            };
            repetition.remove_left(true)?;
            repetition.remove_earlier()?;
            for name in [RUN, SPLIT] {
                remove(&repetition.path(name))?;
            }
            for folder in [HEADS, "trials", "winners", ""] {
                let _ = fs::remove_dir(repetition.path(folder));
            }
        }
        let _ = fs::remove_dir(self.path(REPEATS));
        Ok(())
    }
}

/// Removes the half-written files in a folder.
pub(crate) fn remove_left(folder: &Path) -> Result<(), RunError> {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(TEMPORARY_PREFIX) && path.is_file()
    };
    entries(folder)
        .filter(is_left)
        .try_for_each(|file| remove(&file))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|e| e.path())
}

pub(super) fn remove(file: &Path) -> Result<(), RunError> {
    match onnx::remove(file) {
        Err(e) if !is_absent(&e) => Err(RunError::write(file, e)),
        _ => Ok(()),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}
