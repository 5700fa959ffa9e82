//! A whole run: from a model and data to tuned models.

use std::num::NonZeroUsize;

use crate::data::default_memory_budget;
use crate::run::{Begin, Results, RunDir, Settings, outside, same_settings};
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
    job.validate()?;
    outside(&job.out, &job.data)?;
    RunDir::check(&job.out, job.begin)?;
    let began = match job.begin {
        Begin::Resume => RunDir::read_run(&job.out)?,
        Begin::New | Begin::Replace => None,
    };
    let settings = &resolved(
        &job.settings,
        began.as_ref().map(|b| &b.configuration.settings),
    );
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
    let origin = began.and_then(|began| began.configuration.preprocess_from);
    let opened = Opened::new(runtime, job, settings, origin, watcher)?;
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

/// Settings with what the machine decides where they do not say: as it `began`, else all cores and the
/// default memory. More threads than there are cores only take longer; another number would change
/// the last bits.
pub(super) fn resolved(asked: &Settings, began: Option<&Settings>) -> Settings {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let began_with = began.and_then(|began| began.memory_budget);
    let memory_budget = asked.memory_budget.or(began_with);
    Settings {
        threads: match asked.threads {
            0 => began.map_or_else(cores, |began| began.threads),
            threads => threads,
        },
        memory_budget: Some(memory_budget.unwrap_or_else(default_memory_budget)),
        monitor: Some(asked.watched()),
        ..asked.clone()
    }
}
