//! What models give in the runtimes at hand, and how far that lies apart.
//!
//! Each runtime has a process of its own, for a model that brings one down must not end the command: it reads a job, and
//! leaves its answer.

mod inputs;
mod job;
mod own;
mod process;
mod runners;
mod tract;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::classifier::harm;
use crate::diff::ValueChange;
use crate::onnx::{Model, Tensor};

use super::VerifyError;
use job::{Answer, Job};

pub use inputs::inputs;
pub use own::answer_job;
pub use runners::{Runner, runners};

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The model and, where there is one, that with which it is compared.
    pub models: Vec<PathBuf>,
    /// Inputs by name.
    pub inputs: &'a [(String, Tensor)],
    /// How far outputs may lie apart, see [`Gap::holds`].
    pub tolerance: f64,
    /// How long a runtime may take.
    pub limit: Duration,
    /// How long each model is timed; `None`: not at all.
    pub latency: Option<Duration>,
}

/// What the runtimes came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outputs {
    /// How far outputs may lie apart.
    pub tolerance: f64,
    /// Each runtime.
    pub runtimes: Vec<Report>,
}

impl Outputs {
    /// Whether outputs lie apart no further than they may, wherever there are any, and there are some.
    pub fn holds(&self) -> bool {
        let ran = self.runtimes.iter().filter(|runtime| runtime.ran());
        let gaps = self.runtimes.iter().flat_map(|runtime| &runtime.gaps);
        ran.count() > 0 && gaps.into_iter().all(|gap| gap.holds)
    }
}

/// What one runtime came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub runtime: String,
    /// Its version, where it is there.
    pub version: Option<String>,
    /// Why it is not there, or did not come to an end, in a line.
    pub trouble: Option<String>,
    /// Of each model why it does not run there.
    pub refused: Vec<Option<String>>,
    /// How long each model takes, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<Option<Latency>>,
    /// How far its outputs lie from others.
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Whether all models ran.
    pub fn ran(&self) -> bool {
        self.trouble.is_none() && self.refused.iter().all(Option::is_none)
    }
}

/// How far an output lies from the one that it is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    /// Name of the output.
    pub output: String,
    /// What it is held against: the first model, or another runtime.
    pub against: String,
    /// How the two differ; `None` where they have other dimensions or types.
    pub change: Option<ValueChange>,
    /// The largest difference, over the largest size of what it is held against where that is above 1.
    pub apart: Option<f64>,
    /// Whether [`Gap::apart`] is within the tolerance, and the same elements are numbers. Whatever it is, it is within an
    /// infinite one.
    pub holds: bool,
}

/// How long runs take, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Runs that were timed.
    pub runs: usize,
    /// Half of them took less.
    pub median: f64,
    /// Nineteen of twenty took less.
    pub p95: f64,
    /// Samples in a second, by the median.
    pub samples_per_second: f64,
}

impl Latency {
    /// Of single times in seconds, of runs of `batch` samples.
    fn of(mut times: Vec<f64>, batch: usize) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * times.len() as f64).ceil() as usize;
            times.get(place.saturating_sub(1)).copied()
        };
        let median = at(0.5)?;
        Some(Latency {
            runs: times.len(),
            median,
            p95: at(0.95)?,
            samples_per_second: batch as f64 / median,
        })
    }
}

/// Runs the models in each runtime. One that is not there, or refuses a model, is told and no error, and so is a model that
/// is given to none, as a value of it is beyond the memory that there is, or a window beyond any map.
///
/// With one model, each runtime is held against the first that runs it; with two, the second model against the first in
/// each.
///
/// # Errors
/// When the temporary folder cannot be written or read.
pub fn outputs(asked: &Asked<'_>, runners: &[Runner]) -> Result<Outputs, VerifyError> {
    let folder = tempfile::tempdir().map_err(|source| VerifyError::Io {
        path: std::env::temp_dir(),
        source,
    })?;
    let harmful = asked.models.iter().find_map(|path| harmful(path));
    let mut runtimes = Vec::with_capacity(runners.len());
    let mut first: Option<(String, Vec<(String, Tensor)>)> = None;
    for (place, runner) in runners.iter().enumerate() {
        let own = folder.path().join(place.to_string());
        let answer = match &harmful {
            Some(why) => Err(why.clone()),
            None => run(asked, runner, &own)?,
        };
        runtimes.push(report(asked, runner, answer, &mut first));
    }
    Ok(Outputs {
        tolerance: asked.tolerance,
        runtimes,
    })
}

/// Why a model is given to no runtime: it would not come back from it, or take all memory.
fn harmful(path: &Path) -> Option<String> {
    let model = Model::open_outline(path).ok()?;
    let error = harm(&model)?;
    Some(format!("not given the model: {error}"))
}

fn run(
    asked: &Asked<'_>,
    runner: &Runner,
    folder: &Path,
) -> Result<Result<Answer, String>, VerifyError> {
    let job = Job::write(asked, runner, folder)?;
    // What is timed takes longer by that.
    let timing = asked.latency.unwrap_or_default() * asked.models.len() as u32;
    if let Err(why) = process::run(runner, &job, asked.limit + timing) {
        return Ok(Err(why));
    }
    Ok(Answer::read(folder))
}

fn report(
    asked: &Asked<'_>,
    runner: &Runner,
    answer: Result<Answer, String>,
    first: &mut Option<(String, Vec<(String, Tensor)>)>,
) -> Report {
    let mut report = Report {
        runtime: runner.name.clone(),
        version: None,
        trouble: None,
        refused: Vec::new(),
        latency: Vec::new(),
        gaps: Vec::new(),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            report.trouble = Some(why);
            return report;
        }
    };
    report.version = Some(answer.version);
    let batch = asked
        .inputs
        .first()
        .and_then(|(_, tensor)| tensor.dims.first().copied());
    let mut given = Vec::new();
    for model in answer.models {
        if asked.latency.is_some() {
            report
                .latency
                .push(Latency::of(model.times, batch.unwrap_or(1)));
        }
        report.refused.push(model.error);
        given.push(model.tensors);
    }
    if !report.ran() {
        return report;
    }
    let tolerance = asked.tolerance;
    match (&given[..], &first) {
        ([before, after, ..], _) => {
            report.gaps = gaps(after, before, "the first model", tolerance);
        }
        ([own], Some((name, reference))) => report.gaps = gaps(own, reference, name, tolerance),
        ([own], None) => {
            let version = report.version.as_deref().unwrap_or_default();
            *first = Some((format!("{} {version}", runner.name), own.clone()));
        }
        ([], _) => {}
    }
    report
}

/// Outputs against others: of the same name, else at the same place.
fn gaps(
    own: &[(String, Tensor)],
    others: &[(String, Tensor)],
    against: &str,
    tolerance: f64,
) -> Vec<Gap> {
    let pairs = own.iter().enumerate().map(|(place, (name, tensor))| {
        let named = others.iter().find(|(other, _)| other == name);
        let other = named
            .or_else(|| others.get(place))
            .map(|(_, tensor)| tensor);
        (name, tensor, other)
    });
    pairs
        .map(|(name, tensor, other)| {
            let change = other.and_then(|other| crate::diff::between(other, tensor));
            let apart = change
                .as_ref()
                .map(|change| change.largest / change.size.max(1.0));
            let same_numbers = change.as_ref().is_some_and(|change| change.nan_apart == 0);
            Gap {
                output: name.clone(),
                against: against.to_owned(),
                holds: tolerance == f64::INFINITY
                    || same_numbers && apart.is_some_and(|apart| apart <= tolerance),
                change,
                apart,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_hold_within_the_tolerance_of_their_size_and_with_the_same_numbers() {
        let of = |values: &[f32]| vec![("y".to_owned(), Tensor::f32(&[values.len()], values))];
        let held = |a: &[f32], b: &[f32]| gaps(&of(a), &of(b), "b", 1e-3)[0].clone();
        assert!(held(&[1.0, 0.5], &[1.0, 0.5009]).holds);
        assert!(!held(&[1.0, 0.5], &[1.0, 0.502]).holds);
        // Of a thousand, one is a thousandth.
        assert!(held(&[1000.0, 1.0], &[1000.0, 1.9]).holds);
        let nan = f32::NAN;
        assert!(held(&[nan, 1.0], &[nan, 1.0]).holds);
        assert!(!held(&[nan, 1.0], &[1.0, 1.0]).holds);
        assert!(!held(&[nan, 1.0], &[1.0, nan]).holds);
        let other = held(&[1.0], &[1.0, 2.0]);
        assert!(!other.holds && other.change.is_none());
    }

    #[test]
    fn half_of_the_runs_are_faster_than_the_median() {
        let times = (1..=100).rev().map(f64::from).collect();
        let latency = Latency::of(times, 8).unwrap();
        assert_eq!((latency.median, latency.p95), (50.0, 95.0));
        assert_eq!((latency.runs, latency.samples_per_second), (100, 0.16));
        assert_eq!(Latency::of(vec![], 1), None);
    }
}
