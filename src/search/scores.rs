//! What a few gradients say of where to train, before anything is trained.

use crate::data::Split;
use crate::run::Scores;
use crate::runtime::Runtime;
use crate::strategy::{Candidate, Network, StrategyName};
use crate::surgery::Rewrite;
use crate::training::{BatchNormMode, Lab, Observer, Trained, TrainingError};

use super::opened::Opened;
use super::repetition::Ready;
use super::tune::resolved;
use super::watch::{Watcher, go_on};
use super::{Job, SearchError};

/// The scores of the model of a job on its data, from the gradients of `count` samples of the part that winners are
/// trained on, spread over the classes. Nothing is trained, and no folder is made.
///
/// # Errors
/// As [`tune`](super::tune()), before the first trial.
pub fn scores(
    runtime: &Runtime,
    job: &Job,
    count: usize,
    watcher: &dyn Watcher,
) -> Result<Scores, SearchError> {
    job.settings.validate()?;
    let settings = resolved(&job.settings, None);
    let opened = Opened::new(runtime, job, &settings, None, watcher)?;
    let ready = opened.ready(1)?;
    watcher.begin(&opened.described(&ready.split));
    let lab = opened.lab(&ready.settings, &ready.grafted)?;
    let network = opened.network(&ready)?;
    opened.scores(&ready, &lab, &network, count)
}

impl Opened<'_> {
    /// The scores of the network as it stands in `lab`.
    pub(super) fn scores(
        &self,
        ready: &Ready,
        lab: &Lab<'_>,
        network: &Network<'_>,
        count: usize,
    ) -> Result<Scores, SearchError> {
        let labels = self.dataset.labels();
        let samples = Split::spread(&ready.split.retraining(), labels, count);
        let names = trainable(network, lab, self.watcher)?;
        let trained = Trained {
            parameters: &names,
            batch_norm: BatchNormMode::Frozen,
            rewrite: &Rewrite::None,
        };
        let found = lab.sensitivity(trained, &samples, &mut Watched(self.watcher))?;
        Ok(Scores::of(&self.analysis, &found, samples.len()))
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

/// Passes a watcher's wish to stop on.
struct Watched<'a>(&'a dyn Watcher);

impl Observer for Watched<'_> {
    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        self.0.features("scores", done, total);
        match self.0.stopped() {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}
