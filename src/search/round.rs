//! The trials of one round, and what they share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::data::Split;
use crate::onnx::Model;
use crate::run::{Phase, RunDir, SearchMethod, Settings, TrialRequest};
use crate::strategy::Depths;
use crate::training::{BankOptions, FeatureBank, Lab, StepCost, Trained, TrainingError};

use super::SearchError;
use super::effort::Effort;
use super::pool::{self, Share, lock};
use super::trial::{Bench, Done};
use super::watch::{RoundStart, Stop, Watcher, Work, go_on};

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
    /// Epochs that each trial did in earlier rounds.
    done: Vec<usize>,
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

/// Trials that come behind some.
#[derive(Clone, Copy, Default)]
pub(super) struct After {
    /// Of the search, which are waiting for what one of them finds.
    pub searched: usize,
    /// Winners, at most.
    pub trained: usize,
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
        let earlier = |request: &TrialRequest| {
            let before = asked.iter().filter(|r| r.id == request.id);
            let before = before.filter(|r| r.round < number).map(|r| r.epochs);
            before.max().unwrap_or(0)
        };
        let done = requests.iter().map(earlier).collect();
        let Site {
            lab,
            split,
            settings,
            ..
        } = site;
        let (train, ranking) = match requests.first().map(|r| r.phase) {
            // By these a candidate is chosen that is trained as the winner.
            Some(Phase::Train) if settings.method() == SearchMethod::Whole => {
                (split.retraining(), split.validation.clone())
            }
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
                batch_norm: settings.batch_norm(),
                rewrite: &request.candidate.rewrite,
            })
            .collect();
        let batch = settings.batch_size.clamp(1, train.len().max(1));
        let go_on = || go_on(site.watcher);
        let costs = lab.step_costs(&trained, batch, settings.ema.is_some(), &go_on)?;
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
            done,
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

    /// What some of the round's trials take, before which `ended` of `total` have ended; `after`: what comes
    /// behind them.
    pub fn start(
        &self,
        requests: &[TrialRequest],
        (ended, total): (usize, usize),
        after: After,
    ) -> RoundStart {
        let Site {
            split, settings, ..
        } = self.site;
        let efforts = self.efforts(&self.order(requests));
        let work = efforts.iter().map(Effort::work).sum();
        // Those that come are winners, which are as large as those that are searched, on the whole.
        let epochs = settings.most_epochs() as f64;
        let mean = |of: &dyn Fn(usize) -> f64| {
            let places = 0..self.requests.len();
            places.map(of).sum::<f64>() / self.requests.len().max(1) as f64
        };
        let (work, winner) = match self.flops() {
            Some(flops) => {
                let steps = self.steps(split.retraining().len()) as f64 * epochs;
                (Work::Flops(work), mean(&|place| flops[place].0) * steps)
            }
            None => (Work::Epochs(work), epochs),
        };
        let phase = requests.first().map_or(Phase::Search, |r| r.phase);
        // Which candidates go on, and what the search finds, is not known before its end.
        let is_known = match phase {
            Phase::Search => after.searched == 0 && !requests.iter().any(|r| r.goes_on),
            Phase::Train => after.trained == 0,
        };
        RoundStart {
            phase,
            trials: requests.len(),
            ended,
            total,
            work,
            later: is_known.then_some(after.trained as f64 * winner),
        }
    }

    /// Steps of an epoch on so many samples.
    fn steps(&self, samples: usize) -> usize {
        samples.div_ceil(self.site.settings.batch_size.clamp(1, samples.max(1)))
    }

    /// Floating-point operations of a step of each of the round's trials, and of its samples' way through the
    /// frozen layers; `None` where those of one are not known.
    fn flops(&self) -> Option<Vec<(f64, f64)>> {
        let costs = self.costs.iter().map(|cost| {
            let cost = (*cost)?;
            Some((cost.flops as f64, cost.frozen as f64))
        });
        costs.collect()
    }

    /// What each of these trials takes: those of a later stage begin where the ones before them do.
    fn efforts(&self, order: &[(usize, usize, &TrialRequest)]) -> Vec<Effort> {
        let flops = self.flops();
        let steps = self.steps(self.train.len());
        let watched = self.site.split.validation.len().max(self.ranking.len());
        let mut passed = 0.0_f64;
        let each = order.iter().map(|&(_, place, request)| {
            let epochs = request.epochs.saturating_sub(self.done[place]);
            let done = self.done[place] * steps;
            let Some((step, frozen)) = flops.as_ref().map(|flops| flops[place]) else {
                return Effort {
                    frozen: 0.0,
                    training: epochs.max(1) as f64,
                    done,
                };
            };
            let scored = self.steps(watched) as f64;
            let passes = (steps + self.steps(watched)) as f64;
            let (frozen, training) = match (epochs, self.bank.is_live()) {
                (0, _) => (0.0, (frozen + step / 3.0) * scored),
                (_, true) => (0.0, (frozen + step) * (epochs * steps) as f64),
                (_, false) => {
                    let further = (frozen - passed).max(0.0);
                    passed = passed.max(frozen);
                    (further * passes, step * (epochs * steps) as f64)
                }
            };
            Effort {
                frozen,
                training,
                done,
            }
        });
        each.collect()
    }

    /// Where its stage and the trial itself stand in the round, of each request, in the order in which they begin.
    fn order<'r>(&self, requests: &'r [TrialRequest]) -> Vec<(usize, usize, &'r TrialRequest)> {
        let known = requests.iter().filter_map(|request| {
            let place = self.place(request)?;
            Some((self.bank.stage_of(place).unwrap_or(0), place, request))
        });
        let mut order: Vec<_> = known.collect();
        order.sort_unstable_by_key(|&(stage, place, _)| (stage, place));
        order
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
        let order = self.order(requests);
        let efforts = self.efforts(&order);
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
            let threads = self.shares[place].threads;
            let flops = self.costs[place].map(|cost| cost.flops);
            let unchanged = original.ensure_unchanged();
            let ended = unchanged
                .map_err(SearchError::from)
                .and_then(|()| {
                    bench.run(request, stage, (threads, flops), (begin(), efforts[turn]))
                })
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
