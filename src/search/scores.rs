//! What a few gradients say of where to train, before anything is trained.

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::classifier::{Origin, Witness};
use crate::data::{Preprocess, Split};
use crate::run::{Begin, Phase, RunDir, RunError, Scores, SkippedFile};
use crate::runtime::Runtime;
use crate::strategy::{Candidate, Network, StrategyName};
use crate::surgery::{HeadKind, Rewrite};
use crate::task::Task;
use crate::training::{BatchNormMode, Lab, SolvedHead, Trained, TrainingError};

use super::opened::Opened;
use super::recorded::skipped;
use super::repetition::Ready;
use super::start::{HeadObserver, head_spec};
use super::tune::resolved;
use super::watch::{Doing, Scored, Stop, Watcher, go_on};
use super::{Job, SearchError};

/// The scores of a model on data, and how both were read.
#[derive(Clone, Debug, Serialize)]
pub struct ScoredModel {
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// How images became the model's input; `None` of arrays.
    pub preprocess: Option<Preprocess>,
    /// Who says so; `None` of arrays.
    pub preprocess_from: Option<Origin>,
    /// What images said of the presets, where that was asked.
    pub preprocess_scores: Option<Witness>,
    /// What is told of a sample.
    pub task: Task,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// Files that were left out.
    pub skipped: Vec<SkippedFile>,
    /// What was told of the data; see [`Dataset::notes`](crate::data::Dataset::notes).
    pub notes: Vec<String>,
}

/// The scores of the model of a job on its data, from the gradients of `count` samples of the training part, spread
/// over the classes. A head that is to be solved is, on the search part; nothing else is trained, and no folder is
/// made.
///
/// # Errors
/// As [`tune`](super::tune()), before the first trial.
pub fn scores(
    runtime: &Runtime,
    job: &Job,
    count: usize,
    watcher: &dyn Watcher,
) -> Result<ScoredModel, SearchError> {
    job.settings.validate()?;
    let settings = resolved(&job.settings.with_given_parts(&job.data), None);
    let opened = Opened::new(runtime, job, &settings, None, watcher)?;
    let ready = opened.ready(1)?;
    watcher.begin(&opened.described(&ready.split));
    let lab = opened.lab(&ready.settings, &ready.grafted)?;
    let network = opened.network(&ready)?;
    let found = opened.scores(&ready, &lab, &network, count)?;
    let (dataset, input) = (&opened.dataset, &opened.input);
    let images = dataset.is_images();
    Ok(ScoredModel {
        scores: found.scores,
        preprocess: images.then(|| input.spec.preprocess.clone()),
        preprocess_from: images.then_some(input.origin),
        preprocess_scores: input.witness().cloned(),
        task: ready.grafted.task,
        classes: opened.classes.clone(),
        skipped: dataset.skipped().iter().map(skipped).collect(),
        notes: [dataset.told(), dataset.notes()].concat(),
    })
}

/// Samples whose gradients say which blocks strategies try.
pub(super) const SAMPLES: usize = 64;

/// Scores, and what was found on the way.
pub(super) struct Found {
    pub scores: Scores,
    /// The head with which the trials of the search begin, where it was found for the scores.
    pub head: Option<SolvedHead>,
}

impl Opened<'_> {
    /// Finds out which blocks are promising, where a strategy asks for that. Gives the scores that say so: those
    /// with which the repetition began, where it is resumed, since another processor may rank nearly equal ones
    /// differently, and the head that was found for them.
    pub(super) fn look_for_promising(
        &self,
        number: usize,
        (ready, lab): (&Ready, &Lab<'_>),
        network: &mut Network<'_>,
    ) -> Result<Option<Found>, SearchError> {
        if !ready.settings.wants_promising() {
            return Ok(None);
        }
        let known = match self.job.begin {
            Begin::Resume => match RunDir::read_scores(&self.job.out, number) {
                Err(RunError::Damaged { path, reason }) => {
                    let path = path.display();
                    self.watcher
                        .warning(&format!("{path} is made again: {reason}"));
                    None
                }
                known => known?,
            },
            Begin::New | Begin::Replace => None,
        };
        let found = match known {
            Some(scores) => Found { scores, head: None },
            None => self.scores(ready, lab, network, SAMPLES)?,
        };
        network.promising = found.scores.promising(&self.analysis);
        Ok(Some(found))
    }

    /// The scores of the network as it stands in `lab`.
    pub(super) fn scores(
        &self,
        ready: &Ready,
        lab: &Lab<'_>,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Found, SearchError> {
        let labels = self.dataset.labels();
        let Ready {
            settings, split, ..
        } = ready;
        // The head fits what it was solved on: the others tell what is to be learnt.
        let is_whole = split.search.is_empty() || split.train.is_empty();
        let (fitted, others) = match is_whole {
            true => (split.retraining(), split.retraining()),
            false => (split.search.clone(), split.train.clone()),
        };
        let observer = &mut HeadObserver {
            watcher: self.watcher,
            phase: Phase::Search,
        };
        let head = match settings.head {
            _ if !settings.solves_head() => None,
            HeadKind::Linear => Some(lab.solve_head(&fitted, settings.head_weights(), observer)?),
            _ => {
                let parts = [fitted.as_slice(), &split.validation];
                let spec = head_spec(settings, lab, &split.validation);
                Some(lab.train_head(&spec, parts, None, observer)?)
            }
        };
        let start = head.as_ref().map(|head| head.start.clone());
        let start = start.unwrap_or_default();
        let samples = Split::spread(&others, labels, count);
        let mut names = trainable(network, lab, self.watcher)?;
        // What begins elsewhere than in the model has to be among what is trained.
        names.extend(network.head.iter().cloned());
        let trained = Trained {
            parameters: &names,
            batch_norm: BatchNormMode::Frozen,
            rewrite: &Rewrite::None,
        };
        let observer = &mut Scored {
            stop: Stop {
                watcher: self.watcher,
                abandoned: &AtomicBool::new(false),
            },
            of: "",
            what: Doing::Gradients,
        };
        let found = lab.sensitivity(trained, &start, &samples, observer)?;
        Ok(Found {
            scores: Scores::of(&self.analysis, &found, samples.len()),
            head: head.filter(|_| !is_whole),
        })
    }
}

/// The parameters of all blocks that can be differentiated, without those of the head.
fn trainable(
    network: &Network<'_>,
    lab: &Lab<'_>,
    watcher: &dyn Watcher,
) -> Result<Vec<String>, SearchError> {
    let blocks: Vec<Candidate> = StrategyName::BLOCKS.candidates(network)?;
    let all = blocks.iter().map(|candidate| Trained {
        parameters: &candidate.trainable,
        batch_norm: BatchNormMode::Frozen,
        rewrite: &candidate.rewrite,
    });
    let all: Vec<Trained<'_>> = all.collect();
    let obstacles = lab.obstacles(&[1], &all, &|| go_on(watcher))?;
    let mut first = None;
    let mut names = indexmap::IndexSet::new();
    for (block, obstacle) in blocks.iter().zip(obstacles) {
        match obstacle {
            None => names.extend(block.trainable.iter().filter(|n| !network.head.contains(n))),
            Some(reason) => {
                first.get_or_insert(reason);
            }
        }
    }
    match (names.is_empty(), first) {
        (true, Some(reason)) => Err(TrainingError::from(reason).into()),
        _ => Ok(names.into_iter().cloned().collect()),
    }
}
