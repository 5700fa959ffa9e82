//! A whole run: from a model and data to tuned models.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use indexmap::IndexSet;

use crate::choice::Choice;
use crate::data::{Fold, default_memory_budget};
use crate::run::{Begin, Results, RunDir, RunRecord, Settings, same_settings};
use crate::runtime::{self, Runtime, RuntimeError};
use crate::strategy::StrategyName;
use crate::training::{Engine, Optimizer, StepMaker};
use crate::training_graph::OrtTraining;

use super::executor::{Elsewhere, Executor, Local};
use super::opened::Opened;
use super::repeats;
use super::round::AskedTrial;
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
    tune_by(runtime, job, watcher, &Local).map(|(results, _)| results)
}

/// What there is of a run whose trials other processes carry out. No other process collects the run before this
/// is dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct Collected {
    /// What it has come to so far.
    pub results: Results,
    /// The trials that can be carried out now, and have not ended; none at the end.
    pub asked: Vec<AskedTrial>,
    _lock: Option<RunDir>,
}

/// Begins a run whose trials are carried out by other processes, each with [`carry_out`], on this machine or
/// others that share the run's folder, and says which are wanted first.
///
/// A run that is [resumed](Job::resume) goes on: what has ended meanwhile is taken over, and the trials are
/// given that are wanted next. When none are wanted any more, the run has ended, and its models are there.
///
/// # Errors
/// As [`tune`].
pub fn collect(
    runtime: &Runtime,
    job: &Job,
    watcher: &dyn Watcher,
) -> Result<Collected, SearchError> {
    let others = Elsewhere::default();
    let (results, lock) = tune_by(runtime, job, watcher, &others)?;
    Ok(Collected {
        results,
        asked: others.asked(),
        _lock: lock,
    })
}

/// Carries out some of the trials that [`collect`] wants, and leaves what they came to in the run's folder.
///
/// What has a reply already is passed over, and what was interrupted goes on where it was, so that the same
/// call may be made again. A trial comes to the same wherever it is carried out, and beside whichever others.
///
/// # Errors
/// [`RunError::InUse`](crate::run::RunError::InUse) when another process carries out one of them; as [`tune`].
pub fn carry_out(
    runtime: &Runtime,
    root: &Path,
    ids: &[String],
    watcher: &dyn Watcher,
) -> Result<(), SearchError> {
    let job = Job::resume(root)?;
    let (settings, began) = begin(runtime, &job, watcher)?;
    let origin = began.and_then(|began| began.configuration.preprocess_from);
    let opened = Opened::new(runtime, &job, &settings, origin, watcher)?;
    let mut of_repetitions: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for id in ids {
        let (number, id) = RunDir::repetition_of(id);
        of_repetitions
            .entry(number)
            .or_default()
            .push(id.to_owned());
    }
    for (number, ids) in of_repetitions {
        let run = RunDir::take_part(root, number)?;
        opened.carry_out(number, &run, &ids)?;
    }
    Ok(())
}

/// Gives the run's folder, too, which is this process's until it is dropped.
fn tune_by(
    runtime: &Runtime,
    job: &Job,
    watcher: &dyn Watcher,
    executor: &dyn Executor,
) -> Result<(Results, Option<RunDir>), SearchError> {
    let (settings, began) = begin(runtime, job, watcher)?;
    let origin = began.and_then(|began| began.configuration.preprocess_from);
    let opened = Opened::new(runtime, job, &settings, origin, watcher)?;
    let mut root: Option<RunDir> = None;
    let mut results = Results::default();
    let repetitions = settings.repetitions();
    if settings.folds.is_some() {
        // What one of them cannot do is told before the first begins.
        (1..=repetitions).try_for_each(|number| opened.split_of(number).map(drop))?;
    }
    for number in 1..=repetitions {
        let seed = opened.seed(number);
        let fold = opened.fold(number);
        match fold {
            Some(fold) => watcher.fold(fold),
            None if repetitions > 1 => watcher.repetition(number, repetitions, seed),
            None => {}
        }
        let came_to = opened.run(number, &mut root, executor)?;
        let interrupted = came_to.interrupted;
        if repetitions > 1 {
            repeats::add(&mut results, came_to, (seed, fold), number);
            if let Some(root) = &root {
                root.write_results(&results)?;
            }
        } else {
            results = came_to;
        }
        // Others can carry out all repetitions at once.
        if interrupted && (watcher.stopped() || !executor.has_others()) {
            break;
        }
    }
    Ok((results, root))
}

/// Looks at what is asked, before model and data are opened. Gives the settings in force, and the record of
/// the run if it is resumed.
fn begin(
    runtime: &Runtime,
    job: &Job,
    watcher: &dyn Watcher,
) -> Result<(Settings, Option<RunRecord>), SearchError> {
    job.validate()?;
    job.outside_data()?;
    RunDir::check(&job.out, job.begin)?;
    let began = match job.begin {
        Begin::Resume => RunDir::read_run(&job.out)?,
        Begin::New | Begin::Replace => None,
    };
    let recorded = began.as_ref().map(|b| &b.configuration.settings);
    let mut settings = resolved(&job.settings.with_given_parts(&job.data), recorded);
    if let Some(began) = &began {
        // Records from before there was a choice have it in the preprocessing alone.
        let noted = began.configuration.settings.preprocess.as_ref();
        settings.resize = settings.resize.or(noted.map(|noted| noted.resize));
        same_settings(&began.configuration, &settings)?;
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
    step_maker(runtime, &settings)?;
    Ok((settings, began))
}

/// Who makes the steps of trials with these settings; `None` where trials make them themselves.
///
/// # Errors
/// When the library does not have what it takes.
pub(super) fn step_maker(
    runtime: &Runtime,
    settings: &Settings,
) -> Result<Option<Box<dyn StepMaker>>, RuntimeError> {
    Ok(match settings.engine {
        Engine::Graph => None,
        Engine::OrtTraining => Some(Box::new(OrtTraining::new(runtime)?)),
    })
}

/// Settings with what the machine decides where they do not say: as it `began`, else all cores and the
/// default memory; and with the strategies that it began with before those asked for. More threads than there are cores only take longer; another number would change
/// the last bits.
pub(super) fn resolved(asked: &Settings, began: Option<&Settings>) -> Settings {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let began_with = began.and_then(|began| began.memory_budget);
    let memory_budget = asked.memory_budget.or(began_with);
    let began_with = began.map_or(&[][..], |began| &began.strategies);
    let strategies: IndexSet<StrategyName> = began_with
        .iter()
        .chain(&asked.strategies)
        .copied()
        .collect();
    // What the data decided when it began.
    let known = began.unwrap_or(asked);
    let mut split = asked.split.clone();
    let folds = asked.folds.map(|of| Fold { number: 1, of });
    split.fold = split.fold.or(folds);
    if split.given_parts.is_empty() {
        split.given_parts.clone_from(&known.split.given_parts);
    }
    if split.search_fraction == Choice::Auto {
        split.search_fraction = known.split.search_fraction;
        let validates = split.validation_fraction;
        split.validation_fraction = validates.or(known.split.validation_fraction);
    }
    Settings {
        threads: match asked.threads {
            0 => began.map_or_else(cores, |began| began.threads),
            threads => threads,
        },
        memory_budget: Some(memory_budget.unwrap_or_else(default_memory_budget)),
        search: asked.search.or(known.search),
        search_epochs: asked.search_epochs.or_open(known.search_epochs),
        monitor: Some(asked.watched()),
        rank_by: Some(asked.ranks_by()),
        augment: asked.augment.or_open(known.augment),
        bn: asked.bn.or_open(known.bn),
        early_stopping: Choice::Given(asked.patience()),
        optimizer_in_graph: Choice::Given(asked.updates_in_graph()),
        optimizer: Optimizer {
            learning_rate: asked.learning_rate(),
            ..asked.optimizer
        },
        epochs: asked.epochs.or_open(known.epochs),
        split,
        strategies: strategies.into_iter().collect(),
        ..asked.clone()
    }
}
