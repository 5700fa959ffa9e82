//! A whole run: from a model and data to tuned models.

use std::num::NonZeroUsize;

use crate::data::default_memory_budget;
use crate::run::{Begin, Results, RunDir, RunRecord, Settings, outside, same_settings};
use crate::runtime::{self, Runtime};

use super::opened::Opened;
use super::repeats;
use super::watch::Watcher;
use super::{Job, SearchError};

/// Tunes a model by every strategy asked for.
///
/// A strategy that fails, for instance by a loss that is not a number, is recorded in the results,
/// and the others go on. A run that is resumed comes to the same results as one that was never
/// interrupted, and to the same models, byte by byte.
///
/// # Errors
/// When model, data and settings do not fit, or are not those of the run that is resumed; the run's
/// folder cannot be written or is in use; or no strategy works for this input.
pub fn tune(runtime: &Runtime, job: &Job, watcher: &dyn Watcher) -> Result<Results, SearchError> {
    outside(&job.out, &job.data)?;
    RunDir::check(&job.out, job.begin)?;
    let began = match job.begin {
        Begin::Resume => RunDir::read_run(&job.out)?,
        Begin::New | Begin::Replace => None,
    };
    let settings = &Settings {
        threads: threads(job.settings.threads, began.as_ref()),
        memory_budget: Some(memory_budget(job.settings.memory_budget, began.as_ref())),
        ..job.settings.clone()
    };
    if let Some(began) = &began {
        same_settings(&began.configuration, settings)?;
        let now = runtime::instructions();
        let was = &began.versions.instructions;
        if was != now {
            watcher.warning(&format!(
                "the run began on another kind of processor ({}, and this one has {now}): its \
                 results may differ in their last bits from those of a run that stayed there",
                if was.is_empty() { "unknown" } else { was }
            ));
        }
    }
    settings.device.check(runtime)?;
    if settings.split.train_fraction <= 0.0 {
        return Err(SearchError::Setting(
            "the train fraction is 0: there is nothing to train on".to_owned(),
        ));
    }
    let opened = Opened::new(runtime, job, settings, watcher)?;
    let mut root: Option<RunDir> = None;
    let mut results = Results::default();
    for number in 1..=settings.repeats.max(1) {
        let seed = settings.split.seed.wrapping_add(number as u64 - 1);
        if settings.repeats > 1 {
            watcher.repetition(number, settings.repeats, seed);
        }
        let came_to = opened.run(seed, number, &mut root)?;
        let interrupted = came_to.interrupted;
        if settings.repeats > 1 {
            repeats::add(&mut results, came_to, seed, number);
            if let Some(root) = &root {
                root.write_results(&results)?;
            }
        } else {
            results = came_to;
        }
        if interrupted {
            break;
        }
    }
    Ok(results)
}

/// The number of threads of a run: as asked for, else as it `began`, else all cores. More than there
/// are cores only take longer; another number would change the last bits.
fn threads(asked: usize, began: Option<&RunRecord>) -> usize {
    match (asked, began) {
        (0, Some(began)) => began.configuration.threads,
        (0, None) => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        (threads, _) => threads,
    }
}

/// Bytes for samples and features: as asked for, else as the run `began`, else the default.
fn memory_budget(asked: Option<u64>, began: Option<&RunRecord>) -> u64 {
    let began = began.and_then(|began| began.configuration.memory_budget);
    asked.or(began).unwrap_or_else(default_memory_budget)
}
