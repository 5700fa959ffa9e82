//! The folder of a run. Every write is atomic or appends whole lines.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::{DataError, SplitFile};
use crate::onnx::write_atomic;
use crate::strategy::Strategy;

use super::SearchError;
use super::record::RunRecord;
use super::results::{Results, TrialRecord};

pub(super) const RUN: &str = "run.json";
const SPLIT: &str = "split.json";
pub(super) const RESULTS: &str = "results.json";
pub(super) const TRIALS: &str = "trials.jsonl";

/// The folder that a run owns.
///
/// ```text
/// run.json                  configuration, versions, hashes
/// split.json                which sample is in which part
/// trials.jsonl              one finished trial a line
/// trials/ID/metrics.jsonl   one line per epoch, and per step if asked for
/// winners/STRATEGY.onnx     the tuned models
/// results.json              what each strategy came to
/// ```
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Fails if `root` may not become the folder of a new run. Changes nothing.
    ///
    /// # Errors
    /// When it is not a folder, or not empty and `force` is not set.
    pub fn check(root: &Path, force: bool) -> Result<(), SearchError> {
        match fs::read_dir(root).map(|mut entries| entries.next().is_some()) {
            Ok(true) if !force => Err(SearchError::NotEmpty {
                path: root.to_owned(),
            }),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => Err(SearchError::Setting(
                format!("{} is not a folder", root.display()),
            )),
            Err(e) => Err(SearchError::write(root, e)),
        }
    }

    /// Makes the folder. With `force`, the files of an earlier run in it are removed, and nothing
    /// else.
    ///
    /// # Errors
    /// As [`RunDir::check`], and when the folder cannot be made.
    pub fn create(root: &Path, force: bool) -> Result<Self, SearchError> {
        Self::check(root, force)?;
        let run = RunDir {
            root: root.to_owned(),
        };
        run.remove_earlier()?;
        for folder in [root.to_owned(), run.path("trials"), run.path("winners")] {
            fs::create_dir_all(&folder).map_err(|e| SearchError::write(&folder, e))?;
        }
        Ok(run)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Path of a strategy's model, relative to the folder.
    pub fn winner(strategy: Strategy) -> String {
        format!("winners/{strategy}.onnx")
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_run(&self, run: &RunRecord) -> Result<(), SearchError> {
        self.write_json(RUN, run)
    }

    /// Writes `split.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_split(&self, split: &SplitFile) -> Result<(), SearchError> {
        self.write_json(SPLIT, split)
    }

    /// Writes `results.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_results(&self, results: &Results) -> Result<(), SearchError> {
        self.write_json(RESULTS, results)
    }

    /// Appends a finished trial to `trials.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append_trial(&self, trial: &TrialRecord) -> Result<(), SearchError> {
        let path = self.path(TRIALS);
        let append = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(trial)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(&line)?;
            file.sync_data()
        };
        append().map_err(|e| SearchError::write(&path, e))
    }

    /// Opens `trials/ID/metrics.jsonl`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn metrics(&self, trial: &str) -> Result<MetricsFile, SearchError> {
        let folder = self.path("trials").join(trial);
        let path = folder.join("metrics.jsonl");
        let file = fs::create_dir_all(&folder)
            .and_then(|()| File::create(&path))
            .map_err(|e| SearchError::write(&path, e))?;
        Ok(MetricsFile {
            path,
            file: BufWriter::new(file),
        })
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), SearchError> {
        let path = self.path(name);
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec_pretty(value)?;
            text.push(b'\n');
            write_atomic(&path, &text)
        };
        write().map_err(|e| SearchError::write(&path, e))
    }

    /// The files in `winners` that have the name of a strategy.
    fn winners(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("winners")) else {
            return Vec::new();
        };
        let is_winner = |path: &PathBuf| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            name.strip_suffix(".onnx")
                .is_some_and(|s| s.parse::<Strategy>().is_ok())
        };
        entries
            .flatten()
            .map(|e| e.path())
            .filter(is_winner)
            .collect()
    }

    fn remove_earlier(&self) -> Result<(), SearchError> {
        let mut files: Vec<PathBuf> = [RESULTS, TRIALS, SPLIT, RUN]
            .iter()
            .map(|name| self.path(name))
            .collect();
        files.extend(self.winners());
        if let Ok(entries) = fs::read_dir(self.path("trials")) {
            files.extend(entries.flatten().map(|e| e.path().join("metrics.jsonl")));
        }
        for file in files {
            match fs::remove_file(&file) {
                Err(e) if !is_absent(&e) => return Err(SearchError::write(&file, e)),
                _ => {}
            }
            if file.ends_with("metrics.jsonl")
                && let Some(folder) = file.parent()
            {
                // A folder that holds anything else stays.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(())
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// The metrics of one trial, one JSON object a line. Lines of steps have `step`, lines of epochs
/// have `epoch`.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsFile {
    /// Appends a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line<T: Serialize>(&mut self, value: &T) -> Result<(), DataError> {
        let write = |file: &mut BufWriter<File>| -> std::io::Result<()> {
            serde_json::to_writer(&mut *file, value)?;
            file.write_all(b"\n")
        };
        write(&mut self.file).map_err(|source| self.failed(source))
    }

    /// Hands all lines to the system.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn flush(&mut self) -> Result<(), DataError> {
        self.file.flush().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> DataError {
        DataError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_anything_in_it_is_refused_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        RunDir::create(root, false).unwrap();
        let error = RunDir::create(root, false).unwrap_err();
        assert!(error.is_bad_input());
        assert!(matches!(error, SearchError::NotEmpty { .. }));
        RunDir::create(root, true).unwrap();
        let file = root.join("file");
        fs::write(&file, "").unwrap();
        assert!(RunDir::check(&file, true).unwrap_err().is_bad_input());
    }

    #[test]
    fn force_removes_the_files_of_an_earlier_run_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), false).unwrap();
        run.write_results(&Results::default()).unwrap();
        run.metrics("full-train").unwrap().flush().unwrap();
        run.metrics("head-train").unwrap().flush().unwrap();
        let mine = [
            "winners/mine.onnx",
            "trials/head-train/notes.txt",
            "notes.txt",
        ];
        for name in mine {
            fs::write(run.path(name), "mine").unwrap();
        }
        fs::write(run.path("winners/full.onnx"), "old").unwrap();
        let run = RunDir::create(folder.path(), true).unwrap();
        for name in mine {
            assert_eq!(fs::read_to_string(run.path(name)).unwrap(), "mine");
        }
        for name in ["results.json", "winners/full.onnx", "trials/full-train"] {
            assert!(!run.path(name).exists(), "{name}");
        }
    }
}
