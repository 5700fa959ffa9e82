//! The trials of one round, and what they share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::data::Split;
use crate::onnx::Model;
use crate::run::{Phase, RunDir, Settings, TrialRequest};
use crate::strategy::Depths;
use crate::training::{BankOptions, FeatureBank, Lab, StepCost, Trained, TrainingError};

use super::SearchError;
use super::pool::{self, Share, lock};
use super::trial::{Bench, Done};
use super::watch::{Stop, Watcher, go_on};

/// Is called when a trial begins, and gives its number and how many there are.
pub(super) type OnBegin<'a> = dyn Fn() -> (usize, usize) + Sync + 'a;

/// Gets what a trial has come to.
pub(super) type OnEnd<'a> = dyn Fn(&TrialRequest, Done) -> Result<(), SearchError> + Sync + 'a;

/// What all rounds of a run are carried out with.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub lab: &'a Lab<'a>,
    pub original: &'a Model,
    pub split: &'a Split,
    pub settings: &'a Settings,
    pub depths: &'a Depths,
    pub run: &'a RunDir,
    /// The number of the repetition, from 1.
    pub repetition: usize,
    pub watcher: &'a dyn Watcher,
}

/// The trials of one round: how each runs, and the frozen values that they share.
///
/// All of this follows from the requests of the round, and not from which of them are carried out here:
/// that is why a trial comes to the same on every machine.
pub(super) struct Round<'a> {
    site: Site<'a>,
    /// Each trial once.
    requests: Vec<TrialRequest>,
    train: Vec<usize>,
    /// What candidates are ranked on; empty of a round that trains winners.
    ranking: Vec<usize>,
    costs: Vec<Option<StepCost>>,
    shares: Vec<Share>,
    bank: FeatureBank<'a>,
}

/// A trial that is asked for, with what it will take: what `plan` and `collect` print for those who hand
/// out work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AskedTrial {
    /// Its identity, as `trial` takes it: of a repetition, `repeats/N/` and that in the repetition.
    pub id: String,
    /// See [`TrialRequest::round`].
    pub round: usize,
    /// Trials that begin at the same frozen values have the same number; those of the next are computed from
    /// them, so that one process does well to carry out neighbours. From 0.
    pub stage: usize,
    /// Threads it runs on.
    pub threads: usize,
    /// How many such trials one process carries out at a time.
    pub side_by_side: usize,
    /// Epochs, at most.
    pub epochs: usize,
    /// Floating-point operations of a step; `None` if not known.
    pub flops: Option<u64>,
    /// Bytes that a step takes; `None` if not known.
    pub bytes: Option<u64>,
}

impl<'a> Round<'a> {
    /// Plans the round with this number, of which `asked` are all requests, and maybe of other rounds.
    pub fn new(site: Site<'a>, asked: &[TrialRequest], number: usize) -> Result<Self, SearchError> {
        let mut requests: Vec<TrialRequest> = Vec::new();
        for request in asked.iter().filter(|r| r.round == number) {
            // A trial that goes on was among those the round was planned for.
            if requests.iter().all(|known| known.id != request.id) {
                requests.push(request.clone());
            }
        }
        let Site {
            lab,
            split,
            settings,
            ..
        } = site;
        let (train, ranking) = match requests.first().map(|r| r.phase) {
            Some(Phase::Train) => (split.retraining(), Vec::new()),
            _ => {
                let ranking = split.ranking(lab.labels(), settings.rank_samples);
                (split.search.clone(), ranking)
            }
        };
        let trained: Vec<Trained<'_>> = requests
            .iter()
            .map(|request| Trained {
                parameters: &request.candidate.trainable,
                batch_norm: settings.bn,
                rewrite: &request.candidate.rewrite,
            })
            .collect();
        let batch = settings.batch_size.clamp(1, train.len().max(1));
        let cost = |&trained: &Trained<'_>| {
            go_on(site.watcher)?;
            Ok(lab.step_cost(trained, batch, settings.ema.is_some())?)
        };
        let costs = trained
            .iter()
            .map(cost)
            .collect::<Result<Vec<_>, SearchError>>()?;
        let shares = pool::shares(settings.threads, lab.memory_budget(), &costs);
        let options = BankOptions {
            seed: settings.split.seed,
            mixed: settings.mixup > 0.0 || settings.cutmix > 0.0,
            threads: shares.iter().map(|s| s.threads).min().unwrap_or(1),
        };
        // The samples that rank are those that validate, and maybe others.
        let watched = match ranking.is_empty() {
            true => &split.validation,
            false => &ranking,
        };
        let bank = FeatureBank::new(lab, &trained, &train, watched, options)?;
        if let Some(note) = bank.note() {
            site.watcher.warning(&note);
        }
        Ok(Round {
            site,
            requests,
            train,
            ranking,
            costs,
            shares,
            bank,
        })
    }

    /// Where the trial of a request stands in the round.
    fn place(&self, request: &TrialRequest) -> Option<usize> {
        self.requests.iter().position(|r| r.id == request.id)
    }

    /// What a trial of the round will take.
    pub fn describe(&self, request: &TrialRequest) -> Option<AskedTrial> {
        let place = self.place(request)?;
        let Share {
            threads,
            side_by_side,
        } = self.shares[place];
        let cost = self.costs[place];
        Some(AskedTrial {
            id: self.site.run.id_in_run(self.site.repetition, &request.id),
            round: request.round,
            stage: self.bank.stage_of(place).unwrap_or(0),
            threads,
            side_by_side,
            epochs: request.epochs,
            flops: cost.map(|c| c.flops),
            bytes: cost.map(|c| c.bytes),
        })
    }

    /// Carries out some of the round's trials in this process, several at a time, from the input end of the
    /// network to its output: the longest first, and each behind the frozen layers of the one before.
    ///
    /// # Errors
    /// The first error, when all that had begun has ended.
    pub fn carry_out(
        &self,
        requests: &[TrialRequest],
        begin: &OnBegin<'_>,
        end: &OnEnd<'_>,
    ) -> Result<(), SearchError> {
        let Site {
            lab,
            original,
            split,
            settings,
            depths,
            run,
            watcher,
            ..
        } = self.site;
        let mut order: Vec<(usize, usize, &TrialRequest)> = requests
            .iter()
            .filter_map(|request| {
                let place = self.place(request)?;
                Some((self.bank.stage_of(place).unwrap_or(0), place, request))
            })
            .collect();
        order.sort_unstable_by_key(|&(stage, place, _)| (stage, place));
        let Some((_, _, first)) = order.first() else {
            return Ok(());
        };
        let head = self.site.head(first.phase, &self.train)?;
        let abandoned = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let bench = Bench {
            lab,
            bank: &self.bank,
            train: &self.train,
            validation: &split.validation,
            ranking: &self.ranking,
            settings,
            depths,
            run,
            head: head.as_ref(),
            stop: Stop {
                watcher,
                abandoned: &abandoned,
            },
        };
        let shares: Vec<Share> = order.iter().map(|o| self.shares[o.1]).collect();
        pool::run(&shares, &|turn| {
            let (stage, place, request) = order[turn];
            let unchanged = original.ensure_unchanged();
            let ended = unchanged
                .map_err(SearchError::from)
                .and_then(|()| bench.run(request, stage, self.shares[place].threads, begin()))
                .and_then(|done| end(request, done))
                .and_then(|()| match request.goes_on {
                    true => Ok(()),
                    false => Ok(run.remove_checkpoint(&request.id)?),
                });
            ended.map_err(|error| {
                // Before the others are stopped, whose errors are then no news.
                lock(&first_error).get_or_insert(error);
                abandoned.store(true, Ordering::Relaxed);
            })
        })
        .map_err(|()| {
            lock(&first_error)
                .take()
                .unwrap_or(TrainingError::Stopped.into())
        })
    }
}
