//! What the search of a strategy costs, in operations.

use std::collections::{BTreeMap, HashMap};

use crate::choice;
use crate::data::{Augment, Split};
use crate::run::{Phase, PlannedCost, SearchCost, Settings, TrialRecord, TrialRequest};
use crate::strategy::{Candidate, Network, StrategyName};
use crate::training::{BatchNormMode, Lab, StepCost, Trained, Trying};

use super::SearchError;
use super::chooser::{Choice, distinct};
use super::plan::Plan;
use super::runner::Runner;
use super::state::State;
use super::watch::{Watcher, go_on};

/// What a trial of the search takes, in floating-point operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Price {
    /// An epoch: its steps, the validation samples behind it, and the frozen layers where they are not kept.
    pub epoch: u64,
    /// To be ranked, after the epochs that were asked for.
    pub ranking: u64,
    /// The frozen layers before it, of all samples whose outputs are kept: once for all trials of a round.
    pub stage: u64,
    /// To try a learning rate; 0 where that is given.
    pub rate: u64,
    /// Whether it finds its own rate, instead of having that of another.
    pub finds_rate: bool,
}

/// What the prices of a search follow from.
pub(super) struct Prices<'a> {
    pub lab: &'a Lab<'a>,
    pub settings: &'a Settings,
    pub split: &'a Split,
    pub watcher: &'a dyn Watcher,
    /// Whether trials are those of winners, [whole](crate::run::SearchMethod::Whole): on as many samples, each with a rate of its own.
    pub whole: bool,
}

impl Prices<'_> {
    /// The prices of some candidates; `None` where the operations of one are not known.
    pub fn of(&self, candidates: &[Candidate]) -> Result<Option<Vec<Price>>, SearchError> {
        let trained = candidates.iter().map(|c| (c.trainable.as_slice(), c));
        let trained = trained.map(|(parameters, candidate)| Trained {
            parameters,
            // The statistics of a batch take no convolution and no product.
            batch_norm: BatchNormMode::Frozen,
            rewrite: &candidate.rewrite,
        });
        let costs = self.costs(&trained.collect::<Vec<_>>())?;
        let prices = costs.into_iter().zip(candidates).map(|(cost, candidate)| {
            let finds_rate = self.whole || !candidate.rewrite.is_none();
            Some(Price {
                finds_rate,
                ..self.price(cost?)
            })
        });
        Ok(prices.collect())
    }

    /// What steps cost on whole batches.
    pub fn costs(&self, trained: &[Trained<'_>]) -> Result<Vec<Option<StepCost>>, SearchError> {
        let averaged = self.settings.ema.is_some();
        let go_on = || go_on(self.watcher);
        Ok(self
            .lab
            .step_costs(trained, self.batch(), averaged, &go_on)?)
    }

    /// Samples of a whole batch.
    pub fn batch(&self) -> usize {
        let most = self.trained().max(1);
        self.settings.batch_size.clamp(1, most)
    }

    /// Samples that a trial is trained on.
    fn trained(&self) -> usize {
        match self.whole {
            true => self.split.retraining().len(),
            false => self.split.search.len(),
        }
    }

    /// That of a trial of which a step takes so much.
    pub fn price(&self, cost: StepCost) -> Price {
        let Settings {
            augment,
            views,
            mixup,
            cutmix,
            rank_samples,
            ..
        } = *self.settings;
        let augment = augment.or(Augment::None);
        let split = self.split;
        let batch = self.batch();
        let of = |operations, samples| self.of_samples(operations, samples);
        let train = self.trained();
        let ranking = match self.whole {
            // By the validation samples behind each epoch.
            true => 0,
            false => split.ranking(self.lab.labels(), rank_samples).len(),
        };
        let is_new_each_time =
            mixup > 0.0 || cutmix > 0.0 || (augment != Augment::None && views.is_none());
        let (live, kept) = match (is_new_each_time, views) {
            (true, _) => (train, 0),
            (false, Some(views)) if augment != Augment::None => (0, train.saturating_mul(views)),
            _ => (0, train),
        };
        let epoch = of(cost.flops, train)
            .saturating_add(of(cost.forward, split.validation.len()))
            .saturating_add(of(cost.frozen, live));
        let rate = match self.settings.learning_rate() {
            choice::Choice::Given(_) => 0,
            choice::Choice::Auto => {
                let epochs = match self.whole {
                    true => self.settings.most_epochs(),
                    false => self.settings.most_search_epochs(),
                };
                let trying = Trying::of(
                    self.settings.optimizer.kind,
                    epochs * train.div_ceil(batch),
                    // It shows in what is taken, not in what it takes.
                    false,
                );
                let judges = split.validation.len().min(Trying::JUDGES);
                let frozen = of(cost.frozen, if live > 0 { trying.steps * batch } else { 0 });
                of(cost.flops, trying.steps * batch)
                    .saturating_add(of(cost.forward, judges))
                    .saturating_add(frozen)
            }
        };
        Price {
            epoch,
            ranking: of(cost.forward, ranking),
            stage: of(cost.frozen, kept.saturating_add(ranking)),
            rate,
            finds_rate: false,
        }
    }

    /// The operations of a winner's training of which a step takes so much, as long as it may be.
    pub fn winner(&self, cost: StepCost) -> u64 {
        let (train, validation) = (self.split.retraining().len(), self.split.validation.len());
        let epoch = self
            .of_samples(cost.flops.saturating_add(cost.frozen), train)
            .saturating_add(self.of_samples(cost.forward, validation));
        epoch.saturating_mul(self.settings.most_epochs() as u64)
    }

    /// The operations of so many samples, of which a whole batch takes `operations`.
    fn of_samples(&self, operations: u64, samples: usize) -> u64 {
        let all = u128::from(operations) * samples as u128 / self.batch() as u128;
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    /// What it takes to try every layer, block and window, and all together, each for all epochs of the search; `None`
    /// where the operations of one are not known.
    pub fn exhaustive(&self, network: &Network<'_>) -> Result<Option<u64>, SearchError> {
        let mut all = Vec::new();
        for strategy in [
            StrategyName::LAYERS,
            StrategyName::BLOCKS,
            StrategyName::windows(WINDOW),
            StrategyName::FULL,
        ] {
            // A network of few layers may have no window.
            let candidates = strategy.candidates(network).unwrap_or_default();
            all.extend(candidates.into_iter().map(|c| (strategy, c)));
        }
        let all: Vec<Candidate> = distinct(Vec::new(), all)
            .into_iter()
            .map(|(_, candidate)| candidate)
            .collect();
        let epochs = self.settings.most_search_epochs();
        let searched = Prices {
            whole: false,
            ..*self
        };
        let prices = searched.of(&all)?;
        Ok(prices.map(|prices| {
            let stage = prices.iter().map(|p| p.stage).max().unwrap_or(0);
            let rates = prices.iter().map(|p| p.rates()).max().unwrap_or(0);
            let trials = prices.iter().map(|p| p.trial(epochs));
            trials.fold(stage + rates, u64::saturating_add)
        }))
    }

    /// What a search that was planned has cost: `candidates` is all that it has tried, `asked` what was asked for,
    /// `in_vain` how many learning rates a trial has tried and how many epochs it has abandoned, and it has `chosen` one. `None` where their operations are not
    /// known.
    pub fn spent(
        &self,
        planned: PlannedCost,
        (candidates, chosen): (&[Candidate], &Candidate),
        asked: &[TrialRequest],
        in_vain: &dyn Fn(&str) -> (usize, usize),
    ) -> Result<Option<SearchCost>, SearchError> {
        let Some(prices) = self.of(candidates)? else {
            return Ok(None);
        };
        let mut spent = planned.scoring;
        let mut epochs: HashMap<&str, usize> = HashMap::new();
        let mut stages: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let phase = match self.whole {
            true => Phase::Train,
            false => Phase::Search,
        };
        // The training of the winner is not what its search cost.
        let is_search = |r: &&TrialRequest| {
            r.phase == phase && !(self.whole && r.candidate.trains_the_same(chosen))
        };
        for request in asked.iter().filter(is_search) {
            let is_same = |c: &Candidate| c.trains_the_same(&request.candidate);
            let Some(place) = candidates.iter().position(is_same) else {
                continue;
            };
            let price = prices[place];
            let before = epochs
                .insert(&request.id, request.epochs)
                .unwrap_or_else(|| {
                    let (rates, epochs) = in_vain(&request.id);
                    let tried = price.rate.saturating_mul(rates as u64);
                    let abandoned = price.epoch.saturating_mul(epochs as u64);
                    spent = spent.saturating_add(tried).saturating_add(abandoned);
                    0
                });
            let further = request.epochs.saturating_sub(before);
            spent = spent.saturating_add(price.trial(further));
            let stage = stages.entry((request.round, request.rung)).or_default();
            *stage = price.stage.max(*stage);
        }
        Ok(Some(SearchCost {
            operations: stages.into_values().fold(spent, u64::saturating_add),
            exhaustive: planned.exhaustive,
            budget: planned.budget,
            per_second: planned.per_second,
        }))
    }
}

/// Layers of a window, by default.
const WINDOW: usize = 3;

impl Price {
    /// A trial of so many epochs, or so many more.
    pub fn trial(self, epochs: usize) -> u64 {
        let steps = self.epoch.saturating_mul(epochs as u64);
        steps.saturating_add(self.ranking)
    }

    /// All learning rates that are tried to find one, at most.
    pub fn rates(self) -> u64 {
        self.rate.saturating_mul(Trying::MOST as u64)
    }
}

impl Runner<'_> {
    /// What the search of a strategy has cost, where it was planned.
    pub(super) fn search_cost(
        &self,
        choice: &Choice,
        plan: &Plan,
        state: &State<'_>,
    ) -> Result<Option<SearchCost>, SearchError> {
        let planned = plan
            .strategies
            .iter()
            .find(|p| p.strategy == choice.strategy);
        let cost = planned.and_then(|p| p.allowance.as_ref()?.cost);
        let Some((planned, cost)) = planned.zip(cost) else {
            return Ok(None);
        };
        let asked = state.requests();
        let record = |id: &str| state.trial(id);
        let ranking = |id: &str| self.ranking(id);
        let scene = self.scene(plan, &asked, (&record, &ranking));
        let candidates = scene.candidates(planned);
        let site = &self.site;
        let prices = Prices {
            lab: site.lab,
            settings: site.settings,
            split: site.split,
            watcher: site.watcher,
            whole: plan.is_whole(),
        };
        let of = |trial: &TrialRecord| (trial.tried_rates.len(), trial.abandoned_epochs);
        let in_vain = |id: &str| record(id).as_ref().map_or((0, 0), of);
        prices.spent(cost, (&candidates, &choice.candidate), &asked, &in_vain)
    }
}
