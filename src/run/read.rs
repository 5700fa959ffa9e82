//! Reading a run's folder back.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::strategy::Candidate;
use crate::training::EpochMetrics;

use super::RunError;
use super::folder::{REQUESTS, RESULTS, RUN, RunDir, TRIALS};
use super::record::{FORMAT, Planned, RunRecord};
use super::request::TrialRequest;
use super::results::{Phase, Results, TrialRecord};
use super::scores::Scores;

/// The files of a run, finished or not.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFiles {
    /// The run's folder.
    pub root: PathBuf,
    /// `run.json`.
    pub run: RunRecord,
    /// `results.json`; `None` while no strategy has ended.
    pub results: Option<Results>,
    /// `trials.jsonl`, in the order in which the trials ended, each once.
    pub trials: Vec<TrialRecord>,
    /// All of its lines: of a trial that went on, each time that it ended.
    pub ended: Vec<TrialRecord>,
    /// `requests.jsonl`.
    pub requests: Vec<TrialRequest>,
    /// `scores.json`; `None` where no strategy asked for it.
    pub scores: Option<Scores>,
    /// `trials/ID/metrics.jsonl` by the ID of the trial. A trial that is the
    /// [same as](TrialRecord::same_as) another has none.
    pub metrics: BTreeMap<String, TrialMetrics>,
}

/// What a trial's `metrics.jsonl` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrialMetrics {
    /// One entry per epoch.
    pub epochs: Vec<EpochMetrics>,
    /// One entry per step, where steps are logged.
    pub steps: Vec<StepLoss>,
}

/// The loss of one step: a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLoss {
    /// Step over all epochs, from 1.
    pub step: usize,
    /// Loss before its update.
    pub loss: f32,
}

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
#[serde(untagged)]
enum MetricsLine {
    Epoch(EpochMetrics),
    Step(StepLoss),
}

impl RunFiles {
    /// Reads the folder of a run. A last line that a crash has cut off is left out.
    ///
    /// # Errors
    /// When `root` is not the folder of a run, is one of another [`FORMAT`], or one of these files is
    /// damaged.
    pub fn read(root: &Path) -> Result<Self, RunError> {
        let Some(run) = read_run(root)? else {
            return Err(RunError::NotARun {
                path: root.to_owned(),
            });
        };
        let ended: Vec<TrialRecord> = read_lines(&root.join(TRIALS))?;
        let trials = last_of_each(ended.clone());
        let mut metrics = BTreeMap::new();
        for trial in &trials {
            // The ID becomes part of paths, here and in what is made of the run.
            if !is_file_name(&trial.id) {
                return Err(RunError::Damaged {
                    path: root.join(TRIALS),
                    reason: format!("`{}` is no trial's ID", trial.id),
                });
            }
            let path = root.join("trials").join(&trial.id).join("metrics.jsonl");
            let mut of_trial = TrialMetrics::default();
            for line in read_lines(&path)? {
                match line {
                    MetricsLine::Epoch(epoch) => of_trial.epochs.push(epoch),
                    MetricsLine::Step(step) => of_trial.steps.push(step),
                }
            }
            if of_trial != TrialMetrics::default() {
                metrics.insert(trial.id.clone(), of_trial);
            }
        }
        Ok(RunFiles {
            root: root.to_owned(),
            run,
            results: read_json(&root.join(RESULTS))?,
            trials,
            ended,
            requests: read_lines(&root.join(REQUESTS))?,
            scores: RunDir::read_scores(root, 1)?,
            metrics,
        })
    }

    /// What the search of a strategy tried: the candidates that it began with, then those that were joined of them.
    pub fn candidates<'s>(&'s self, planned: &'s Planned) -> Vec<&'s Candidate> {
        let mut all: Vec<&Candidate> = planned.candidates.iter().collect();
        let further = self
            .requests
            .iter()
            .filter(|r| r.phase == Phase::Search && r.strategy == planned.name && r.rung > 1);
        for request in further.filter(|_| planned.allowance.is_some()) {
            if all.iter().all(|known| known.id != request.candidate.id) {
                all.push(&request.candidate);
            }
        }
        all
    }

    /// The metrics of a trial, or of the trial that it is the same as.
    pub fn metrics_of(&self, trial: &str) -> Option<&TrialMetrics> {
        self.metrics.get(trial).or_else(|| {
            let record = self.trials.iter().find(|t| t.id == trial)?;
            self.metrics.get(record.same_as.as_ref()?)
        })
    }
}

/// The trials in the order in which they ended: of one that went on, where it ended last.
fn last_of_each(trials: Vec<TrialRecord>) -> Vec<TrialRecord> {
    let last: HashMap<String, usize> = (0..).zip(&trials).map(|(i, t)| (t.id.clone(), i)).collect();
    let all = trials.into_iter().enumerate();
    let ended = all.filter(|(place, trial)| last.get(&trial.id) == Some(place));
    ended.map(|(_, trial)| trial).collect()
}

pub(super) fn is_file_name(id: &str) -> bool {
    let mut parts = Path::new(id).components();
    matches!(parts.next(), Some(Component::Normal(_)))
        && parts.next().is_none()
        && !id.contains(['/', '\\'])
}

/// The bytes of a file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, RunError> {
    // To read a pipe waits for its writer.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return Err(RunError::Damaged {
            path: path.to_owned(),
            reason: "it is not a regular file".to_owned(),
        });
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(RunError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The content of `run.json` in the folder `root`; `None` if there is none.
pub(super) fn read_run(root: &Path) -> Result<Option<RunRecord>, RunError> {
    read_numbered(&root.join(RUN))
}

/// The content of a file that has the number of its form, which is looked at first; `None` if there is no
/// such file.
pub(super) fn read_numbered<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RunError> {
    /// What every version has, but for the first.
    #[derive(Deserialize)]
    struct Numbered {
        format: Option<u32>,
    }
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    match parsed::<Numbered>(path, &bytes)?.format {
        Some(FORMAT) => parsed(path, &bytes).map(Some),
        found => Err(RunError::Format {
            path: path.to_owned(),
            found,
            reads: FORMAT,
        }),
    }
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RunError> {
    let bytes = read(path)?;
    bytes.map(|bytes| parsed(path, &bytes)).transpose()
}

fn parsed<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, RunError> {
    serde_json::from_slice(bytes).map_err(|e| RunError::Damaged {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

/// One value per line; none if there is no such file. A last line without its end is left out
/// unless it is whole.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RunError> {
    let bytes = read(path)?.unwrap_or_default();
    let mut values = Vec::new();
    for (number, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(value) => values.push(value),
            Err(_) if !line.ends_with(b"\n") => {}
            Err(e) => {
                return Err(RunError::Damaged {
                    path: path.to_owned(),
                    reason: format!("line {}: {e}", number + 1),
                });
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<MetricsLine>, RunError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, text).unwrap();
        read_lines(&path)
    }

    #[test]
    fn a_cut_off_last_line_is_left_out_and_a_whole_one_kept() {
        let step = r#"{"step":1,"loss":0.5}"#;
        for (text, count) in [
            (format!("{step}\n"), 1),
            (format!("{step}\n{step}"), 2),
            (format!("{step}\n{{\"step\":2,\"lo"), 1),
            (String::new(), 0),
        ] {
            assert_eq!(lines(&text).unwrap().len(), count, "{text}");
        }
    }

    #[test]
    fn a_damaged_line_is_an_error_that_names_file_and_line() {
        let error = lines("{\"step\":1,\"loss\":0.5}\n{\"ste\n{}\n")
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(error.is_bad_input());
        assert!(
            text.contains("metrics.jsonl") && text.contains("line 2"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_without_a_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunFiles::read(folder.path()).unwrap_err();
        assert!(matches!(error, RunError::NotARun { .. }) && error.is_bad_input());
        let error = RunFiles::read(&folder.path().join("absent")).unwrap_err();
        assert!(matches!(error, RunError::NotARun { .. }));
    }

    #[test]
    fn a_run_of_another_version_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = |text: &str| {
            fs::write(folder.path().join(RUN), text).unwrap();
            RunFiles::read(folder.path()).unwrap_err()
        };
        for (text, said) in [
            (r#"{"command": [], "versions": {}}"#, "an older one"),
            (r#"{"format": 4000}"#, "format 4000"),
        ] {
            let error = error(text);
            let text = error.to_string();
            assert!(matches!(error, RunError::Format { .. }) && error.is_bad_input());
            assert!(
                text.contains("another version") && text.contains(said),
                "{text}"
            );
            assert!(error.hint().is_some());
        }
        let damaged = error(&format!(r#"{{"format": {FORMAT}, "command": 3}}"#));
        assert!(matches!(damaged, RunError::Damaged { .. }), "{damaged}");
        let damaged = error(r#"{"format": 1, "comm"#);
        assert!(matches!(damaged, RunError::Damaged { .. }), "{damaged}");
    }

    #[test]
    fn ids_that_leave_the_folder_are_none() {
        assert!(is_file_name("blocks-block5-search"));
        for wrong in ["", ".", "..", "../x", "a/b", "a/", "/", "a\\b"] {
            assert!(!is_file_name(wrong), "{wrong}");
        }
    }
}
