//! How far the search of a strategy goes that looks for promising blocks: how many candidates are begun, on how many
//! rungs, and what is joined of them.

use std::time::Instant;

use indexmap::IndexSet;

use crate::run::{
    Allowance, Begin, Phase, PlannedCost, RunDir, RunRecord, SearchBudget, SearchMethod,
};
use crate::strategy::{Candidate, Network, StrategyName};
use crate::surgery::Rewrite;
use crate::training::{Lab, Observer, Optimizer, StepCost, Trained, TrainingError, TrialSpec};

use super::SearchError;
use super::cost::{Price, Prices};
use super::field::Field;
use super::opened::Opened;
use super::plan::Plan;
use super::repetition::Ready;
use super::scores::SAMPLES;
use super::trial::trial_spec;
use super::watch::{Watcher, go_on};

/// Candidates that are joined of others in one search, at most.
pub(super) const JOINS: usize = 2;
/// Candidates that are compared at least, where each is trained whole and nobody asked for a budget.
const FEWEST: usize = 2;
/// Steps that are timed, behind one that is not.
const TIMED: usize = 3;

impl Opened<'_> {
    /// Decides how far the search goes of the strategy that looks for promising blocks, if there is one: as its run
    /// began, where that is resumed, else by the budget.
    pub(super) fn allow(
        &self,
        number: usize,
        (ready, lab): (&Ready, &Lab<'_>),
        network: &Network<'_>,
        plan: &mut Plan,
    ) -> Result<(), SearchError> {
        let settings = &ready.settings;
        let mut plans = plan.strategies.iter_mut();
        let Some(of) = plans.find(|p| p.strategy.rule().wants_promising()) else {
            return Ok(());
        };
        let began = self.began(number)?;
        let rate = match settings.method() {
            SearchMethod::Halving { rate, .. } => Some(rate),
            SearchMethod::Whole => None,
            SearchMethod::Exhaustive => {
                let is_new =
                    |began: &RunRecord| began.strategies.iter().all(|p| p.name != of.strategy);
                if began.as_ref().is_some_and(is_new) {
                    self.watcher.warning(&format!(
                    "the run began without `{}` and with an exhaustive search, by which it goes on: all of its {} \
                     candidates are trained for all epochs",
                    of.strategy,
                    of.candidates.len()
                ));
                }
                return Ok(());
            }
        };
        let recorded = began
            .as_ref()
            .and_then(|began| allowance(began, of.strategy));
        let prices = Prices {
            lab,
            settings,
            split: &ready.split,
            watcher: self.watcher,
            whole: rate.is_none(),
        };
        let allowance = match recorded {
            Some(recorded) => recorded.clone(),
            None => {
                let rungs = match rate {
                    Some(_) => settings.rungs(),
                    None => vec![settings.most_epochs()],
                };
                let steps = everything(&of.candidates);
                let sums = self.sums(number, &prices, (ready, network), (of.strategy, &steps))?;
                let prices = match &sums {
                    Some(_) => prices.of(&of.candidates)?,
                    None => None,
                };
                match prices.zip(sums) {
                    Some((prices, (all, cost))) => Field {
                        prices: &prices,
                        all,
                        rungs: &rungs,
                        rate,
                        // A budget that nobody asked for is no reason to compare nothing.
                        least: match settings.budget {
                            Some(SearchBudget::Winner) => rate.unwrap_or(FEWEST),
                            _ => 1,
                        },
                    }
                    .allowed(cost),
                    None if settings.budget.is_some_and(|b| b != SearchBudget::Winner) => {
                        return Err(SearchError::Setting(
                            "the operations of a step of this network are not known, so that a search cannot be \
                             held to a budget"
                                .to_owned(),
                        ));
                    }
                    None => Allowance {
                        begun: of.candidates.len(),
                        joins: JOINS.min(rungs.len() - 1),
                        rungs,
                        cost: None,
                    },
                }
            }
        };
        self.tell_allowance(of.strategy, of.candidates.len(), &allowance);
        of.allowance = Some(allowance);
        Ok(())
    }

    /// What `run.json` says of a repetition that is resumed.
    fn began(&self, number: usize) -> Result<Option<RunRecord>, SearchError> {
        let root = &self.job.out;
        let folder = match number {
            1 => root.clone(),
            number => root.join(RunDir::repetition_name(number)),
        };
        Ok(match self.job.begin {
            Begin::Resume => RunDir::read_run(&folder)?,
            Begin::New | Begin::Replace => None,
        })
    }

    /// The price of a trial of everything that candidates of the plain network train, and the operations that the
    /// search is planned by; `None` where they are not known.
    fn sums(
        &self,
        number: usize,
        prices: &Prices<'_>,
        (ready, network): (&Ready, &Network<'_>),
        (strategy, everything): (StrategyName, &[String]),
    ) -> Result<Option<(Price, PlannedCost)>, SearchError> {
        let trained = Trained {
            parameters: everything,
            batch_norm: ready.settings.batch_norm(),
            rewrite: &Rewrite::None,
        };
        let all = prices.costs(&[trained])?.pop().flatten();
        let Some((all, exhaustive)) = all.zip(prices.exhaustive(network)?) else {
            return Ok(None);
        };
        let step = all.flops.saturating_add(all.frozen);
        let per_second = match ready.settings.budget {
            Some(SearchBudget::Seconds(_)) => {
                Some(self.per_second(number, prices, ready, (strategy, everything), all)?)
            }
            _ => None,
        };
        let budget = match ready.settings.budget {
            None => None,
            Some(SearchBudget::Share(share)) => Some(share * exhaustive as f64),
            Some(SearchBudget::Seconds(seconds)) => per_second.map(|rate| rate * seconds),
            Some(SearchBudget::Winner) => Some(prices.winner(all) as f64),
        };
        let cost = PlannedCost {
            exhaustive,
            budget: budget.map(|operations| operations as u64),
            per_second,
            scoring: step.saturating_mul(SAMPLES as u64) / prices.batch() as u64,
            most: 0,
        };
        Ok(Some((prices.price(all), cost)))
    }

    /// Operations per second of steps that train `everything`, as they were timed when the run began, else timed now.
    fn per_second(
        &self,
        number: usize,
        prices: &Prices<'_>,
        ready: &Ready,
        (strategy, everything): (StrategyName, &[String]),
        cost: StepCost,
    ) -> Result<f64, SearchError> {
        if number > 1 {
            let first = RunDir::read_run(&self.job.out)?;
            let first = first.as_ref().and_then(|run| allowance(run, strategy));
            if let Some(known) = first.and_then(|a| a.cost?.per_second) {
                return Ok(known);
            }
        }
        let lab = prices.lab;
        let search = &ready.split.search;
        let batch = prices.batch();
        let batches = (search.len() / batch).clamp(1, TIMED + 1);
        let samples = &search[..search.len().min(batches * batch)];
        let candidate = Candidate {
            id: String::new(),
            label: String::new(),
            layers: Vec::new(),
            trainable: everything.to_vec(),
            rewrite: Rewrite::None,
        };
        let spec = trial_spec(
            &ready.settings,
            &ready.depths,
            (&candidate, Phase::Search, 1),
        );
        let spec = TrialSpec {
            // Which one does not show in its time, and finding one would take many steps.
            optimizer: Optimizer {
                learning_rate: Optimizer::new(spec.optimizer.kind).learning_rate,
                ..spec.optimizer
            },
            early_stopping: None,
            score_start: false,
            ..spec
        };
        let features = lab.live_features(spec.trained())?;
        let begun = Instant::now();
        let mut clock = Clock {
            watcher: self.watcher,
            last: begun,
            steps: Vec::new(),
        };
        let outcome = lab.run(&spec, samples, &[], &features, None, &mut clock);
        match outcome.map_err(SearchError::from) {
            Err(error) if error.failure().is_none() => return Err(error),
            // A step takes its time whatever it comes to.
            _ => {}
        }
        // The first step builds what the others use.
        let all = begun.elapsed().as_secs_f64();
        let timed = clock.steps.get(1..).filter(|rest| !rest.is_empty());
        let mut timed = timed.map_or_else(|| vec![all], <[f64]>::to_vec);
        timed.sort_by(f64::total_cmp);
        let step = cost.flops.saturating_add(cost.frozen);
        Ok(step as f64 / timed[timed.len() / 2].max(1e-9))
    }

    fn tell_allowance(&self, strategy: StrategyName, pool: usize, allowance: &Allowance) {
        let Allowance {
            begun, rungs, cost, ..
        } = allowance;
        let Some(cost) = cost else { return };
        let share = |operations: u64| 100.0 * operations as f64 / cost.exhaustive.max(1) as f64;
        let epochs = rungs.last().copied().unwrap_or(0);
        self.watcher.begin(&format!(
            "`{strategy}` begins {begun} of {pool} candidates and trains the best up to {epochs} epochs, for at most \
             {:.1} % of the operations of trying every layer, block and window, and all",
            share(cost.most)
        ));
        let is_own = self.settings.budget != Some(SearchBudget::Winner);
        if let Some(budget) = cost.budget.filter(|&budget| is_own && cost.most > budget) {
            self.watcher.warning(&format!(
                "the budget allows {:.2} % of these operations, which is too little for one candidate: one is tried \
                 nevertheless",
                share(budget)
            ));
        }
    }
}

/// What a run began with.
fn allowance(began: &RunRecord, strategy: StrategyName) -> Option<&Allowance> {
    let planned = began.strategies.iter().find(|p| p.name == strategy)?;
    planned.allowance.as_ref()
}

/// The parameters that candidates of the plain network train, each once.
fn everything(candidates: &[Candidate]) -> Vec<String> {
    let plain = candidates.iter().filter(|c| c.rewrite.is_none());
    let names: IndexSet<&String> = plain.flat_map(|c| &c.trainable).collect();
    names.into_iter().cloned().collect()
}

/// Times steps.
struct Clock<'a> {
    watcher: &'a dyn Watcher,
    last: Instant,
    /// Seconds of each.
    steps: Vec<f64>,
}

impl Observer for Clock<'_> {
    fn step(&mut self, _: usize, _: usize, _: f32) -> Result<(), TrainingError> {
        let now = Instant::now();
        self.steps.push((now - self.last).as_secs_f64());
        self.last = now;
        go_on(self.watcher)
    }
}
