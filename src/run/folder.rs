//! The folder of a run. Every write is atomic or appends whole lines.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::SplitFile;
pub(crate) use crate::hex::file_sha256;
use crate::onnx::{append, create_folder, partial, write_atomic};
use crate::strategy::StrategyName;

mod clean;
mod heads;
mod lock;
mod metrics;
mod replies;
mod search;
mod take;

use clean::remove;
pub(crate) use clean::remove_left;
pub(crate) use lock::lock;
pub use metrics::MetricsFile;
pub(crate) use replies::Parameters;

use super::RunError;
use super::config::config;
use super::read::{read, read_json, read_lines, read_run};
use super::record::RunRecord;
use super::results::{Results, StrategyResult, TrialRecord};

pub(super) const RUN: &str = "run.json";
const SPLIT: &str = "split.json";
const CONFIG: &str = "config.toml";
const SCORES: &str = "scores.json";
pub(super) const RESULTS: &str = "results.json";
pub(super) const TRIALS: &str = "trials.jsonl";
pub(super) const REQUESTS: &str = "requests.jsonl";
const LOCK: &str = ".lock";
/// Shared by the processes that carry out trials for another.
const TRIALS_LOCK: &str = ".trials.lock";
/// The heads with which trials begin.
const HEADS: &str = "heads";
const REPEATS: &str = "repeats";
/// What was handed to a cluster, and what its jobs have said: the room `cluster`'s.
pub(crate) const CLUSTER: &str = "cluster";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINT: &str = "checkpoint.safetensors";
const RANKING: &str = "ranking.json";
const REPLY: &str = "reply.json";
const PARAMETERS: &str = "parameters.safetensors";
/// What a run makes in its folder besides `run.json` and what it keeps to itself.
const OWN: [&str; 14] = [
    SPLIT,
    CONFIG,
    SCORES,
    RESULTS,
    TRIALS,
    REQUESTS,
    REPORT,
    TABLE,
    TENSORBOARD,
    HEADS,
    REPEATS,
    CLUSTER,
    "trials",
    "winners",
];

/// The folder that a run owns.
///
/// ```text
/// run.json                  configuration, versions, hashes; the first that is there
/// config.toml               what `tune --config` takes to make the run again
/// split.json                which sample is in which part
/// scores.json               what gradients said of where to train, for strategies that ask
/// requests.jsonl            the trials that were asked for, one a line
/// trials.jsonl              one finished trial a line
/// trials/ID/metrics.jsonl   one line per epoch, and per step if asked for
/// trials/ID/ranking.json    what a candidate makes of each sample that ranks it
/// trials/ID/checkpoint.safetensors   of a trial that has not ended
/// trials/ID/reply.json, trials/ID/parameters.safetensors   of a trial that another process has carried
///                           out, until the run has taken it over
/// heads/PHASE.safetensors   the heads with which trials begin, where they are found beforehand (`search`, `train`)
/// heads/PHASE.json          how each was found, and a checksum
/// heads/PHASE.checkpoint.safetensors   of one that is being trained
/// winners/STRATEGY.onnx     the tuned models
/// winners/STRATEGY.onnx.data   weights of a model that one file cannot hold
/// winners/STRATEGY.safetensors   what makes them of the backbone, where that is kept
/// winners/STRATEGY.predictions.csv   what they make of each held-out sample
/// results.json              what each strategy came to
/// repeats/N/                repetitions with other seeds, each such a folder
/// cluster/                  what was handed to a cluster, and what its jobs have said
/// report.html, trials.csv, tensorboard/   made from the above for people
/// .lock                     locked while a process works on the run; in trials/ID/, on that trial for another; in
///                           heads/, on a head
/// ```
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    /// What keeps other processes away; a repetition is under the locks of its run.
    _locks: Vec<File>,
}

/// The report for people, in a run's folder.
pub const REPORT: &str = "report.html";
/// All trials as a table, in a run's folder.
pub const TABLE: &str = "trials.csv";
/// TensorBoard's event files, in a run's folder, those of a trial in a folder of its own.
pub const TENSORBOARD: &str = "tensorboard";

/// How a run may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// In a new or empty folder.
    #[default]
    New,
    /// In place of the run that may be there.
    Replace,
    /// Where an earlier process left off.
    Resume,
}

impl RunDir {
    /// The folder of repetition `number`, from 2 on, which is made where it is not there; whether `others` may
    /// be carrying out trials for it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn repetition(&self, number: usize, others: bool) -> Result<Self, RunError> {
        let root = self.path(&Self::repetition_name(number));
        create_folder(&root).map_err(|e| RunError::write(&root, e))?;
        let run = RunDir {
            root,
            _locks: Vec::new(),
        };
        run.remove_left(!others)?;
        Ok(run)
    }

    /// The folder of a repetition, relative to the run's.
    pub fn repetition_name(number: usize) -> String {
        format!("{REPEATS}/{number}")
    }

    /// The number of the repetition, and the identity in it, of a trial by its identity in the whole run:
    /// `repeats/2/head-train`, or of the first `head-train`.
    pub(crate) fn repetition_of(id: &str) -> (usize, &str) {
        let parts = id.strip_prefix(REPEATS).and_then(|id| id.strip_prefix('/'));
        let parts = parts.and_then(|id| id.split_once('/'));
        let parts = parts.and_then(|(number, id)| Some((number.parse().ok()?, id)));
        parts.filter(|&(number, _)| number > 1).unwrap_or((1, id))
    }

    /// The identity of one of this folder's trials in the whole run.
    pub(crate) fn id_in_run(&self, number: usize, id: &str) -> String {
        match number {
            1 => id.to_owned(),
            number => format!("{}/{id}", Self::repetition_name(number)),
        }
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
    pub fn winner(strategy: StrategyName) -> String {
        format!("winners/{}.onnx", strategy.file_stem())
    }

    /// Name of the file beside a strategy's model that holds its weights where one file cannot.
    pub fn winner_data(strategy: StrategyName) -> String {
        format!("{}.onnx.data", strategy.file_stem())
    }

    /// Name of the file beside a strategy's model that makes it of its backbone.
    pub fn winner_adapter(strategy: StrategyName) -> String {
        format!("{}.safetensors", strategy.file_stem())
    }

    /// Path of what it makes of each held-out sample, relative to the folder.
    pub fn predictions(strategy: StrategyName) -> String {
        format!("winners/{}.predictions.csv", strategy.file_stem())
    }

    /// Writes `run.json`: where that is, a run has begun, and can be resumed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, run: &RunRecord) -> Result<(), RunError> {
        write_json(&self.path(RUN), run)
    }

    /// Writes `config.toml`, unless it is there and says the same: what the run was made with, as a file for
    /// `tune --config`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn keep_config(&self, run: &RunRecord) -> Result<(), RunError> {
        self.keep(CONFIG, config(run).as_bytes())
    }

    /// Writes `split.json`, unless it is there and says the same.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn keep_split(&self, split: &SplitFile) -> Result<(), RunError> {
        let text = text(split).map_err(|e| RunError::write(&self.path(SPLIT), e))?;
        self.keep(SPLIT, &text)
    }

    fn keep(&self, name: &str, text: &[u8]) -> Result<(), RunError> {
        let path = self.path(name);
        match read(&path)?.is_some_and(|there| there == text) {
            true => Ok(()),
            false => write_atomic(&path, text).map_err(|e| RunError::write(&path, e)),
        }
    }

    /// The content of `run.json`; `None` if no run has begun here.
    ///
    /// # Errors
    /// When it cannot be read, is not such a file, or one of another version's form.
    pub fn read_run(root: &Path) -> Result<Option<RunRecord>, RunError> {
        read_run(root)
    }

    /// The content of `results.json`, without strategies that have not [ended](StrategyResult::failure)
    /// and models that are not there or are not those that were written; empty if there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not such a file.
    pub fn read_results(&self) -> Result<Results, RunError> {
        let mut results: Results = read_json(&self.path(RESULTS))?.unwrap_or_default();
        results.strategies.retain(|s| self.has_model(s));
        Ok(results)
    }

    fn has_model(&self, result: &StrategyResult) -> bool {
        let (Some(model), Some(sha256)) = (&result.model, &result.sha256) else {
            return result.failure.is_some();
        };
        let path = self.path(model);
        let is = |path: &Path, hash: &str| file_sha256(path).is_ok_and(|found| found == hash);
        let mut beside = result.external.iter().chain(&result.adapter);
        is(&path, sha256) && beside.all(|b| is(&path.with_file_name(&b.location), &b.sha256))
    }

    /// The trials that have ended, by their identity. A last line that is not whole is taken off
    /// the file: the process was killed while it wrote. So are trials that have not
    /// [ended](TrialRecord::failure). Of a trial that went on, the last line counts.
    ///
    /// # Errors
    /// When the file cannot be read, or another line is not a trial.
    pub fn read_trials(&self) -> Result<HashMap<String, TrialRecord>, RunError> {
        let path = self.path(TRIALS);
        let bytes = read(&path)?.unwrap_or_default();
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        if whole < bytes.len() {
            let file = OpenOptions::new().write(true).open(&path);
            file.and_then(|f| f.set_len(whole as u64))
                .map_err(|e| RunError::write(&path, e))?;
        }
        let mut trials: Vec<TrialRecord> = read_lines(&path)?;
        let count = trials.len();
        trials.retain(|t| t.error.is_none() || t.failure.is_some());
        if trials.len() < count {
            lines(&trials)
                .and_then(|text| write_atomic(&path, &text))
                .map_err(|e| RunError::write(&path, e))?;
        }
        Ok(trials.into_iter().map(|t| (t.id.clone(), t)).collect())
    }

    /// Writes `results.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_results(&self, results: &Results) -> Result<(), RunError> {
        write_json(&self.path(RESULTS), results)
    }

    /// Appends a finished trial to `trials.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append_trial(&self, trial: &TrialRecord) -> Result<(), RunError> {
        let path = self.path(TRIALS);
        lines(std::slice::from_ref(trial))
            .and_then(|line| append(&path, &line))
            .map_err(|e| RunError::write(&path, e))
    }

    /// Where the state of a trial is kept until it ends.
    pub fn checkpoint(&self, trial: &str) -> PathBuf {
        self.root.join("trials").join(trial).join(CHECKPOINT)
    }

    /// Removes that file, if there is one.
    ///
    /// # Errors
    /// When it is there and stays.
    pub fn remove_checkpoint(&self, trial: &str) -> Result<(), RunError> {
        let file = self.checkpoint(trial);
        remove(&partial(&file))?;
        remove(&file)
    }

    /// Opens `trials/ID/metrics.jsonl`: empty, unless the trial goes on from a checkpoint.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn metrics(&self, trial: &str) -> Result<MetricsFile, RunError> {
        let folder = self.path("trials").join(trial);
        let path = folder.join(METRICS);
        let goes_on = self.checkpoint(trial).exists();
        create_folder(&folder)
            .and_then(|()| regular(&path))
            .and_then(|()| MetricsFile::open(&path, goes_on))
            .map_err(|e| RunError::write(&path, e))
    }
}

/// Writes a file of JSON in one step.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RunError> {
    text(value)
        .and_then(|text| write_atomic(path, &text))
        .map_err(|e| RunError::write(path, e))
}

fn text<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// One line of JSON for each value.
fn lines<T: Serialize>(values: &[T]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, value)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Fails where something other than a file has that name: to open a pipe waits for its other end.
fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
