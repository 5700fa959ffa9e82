//! What a run has come to, shared by the workers.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::run::{Results, RunDir, StrategyResult, TrialRecord};
use crate::strategy::StrategyName;

use super::SearchError;
use super::plan::{Plan, trial_id};
use super::pool::lock;
use super::trials::Trial;
use super::watch::{Watcher, go_on};

/// What a run has come to so far.
#[derive(Default)]
pub(super) struct Progress {
    /// Trials that have ended, by their identity.
    pub trials: HashMap<String, TrialRecord>,
    /// Strategies that have.
    pub strategies: Vec<StrategyResult>,
}

/// The progress of a run, which writes down what ends.
pub(super) struct State<'a> {
    plan: &'a Plan,
    run: &'a RunDir,
    watcher: &'a dyn Watcher,
    trials: Mutex<HashMap<String, TrialRecord>>,
    strategies: Mutex<Vec<StrategyResult>>,
    /// Trials begun by this process or ended by an earlier one, and those there are.
    begun: AtomicUsize,
    total: AtomicUsize,
}

impl<'a> State<'a> {
    pub fn new(
        plan: &'a Plan,
        run: &'a RunDir,
        watcher: &'a dyn Watcher,
        progress: Progress,
    ) -> Self {
        State {
            plan,
            run,
            watcher,
            trials: Mutex::new(progress.trials),
            strategies: Mutex::new(progress.strategies),
            begun: AtomicUsize::new(0),
            total: AtomicUsize::new(plan.trials()),
        }
    }

    /// The record of a trial that has ended.
    pub fn trial(&self, id: &str) -> Option<TrialRecord> {
        lock(&self.trials).get(id).cloned()
    }

    /// Whether a strategy has ended.
    pub fn has_ended(&self, strategy: StrategyName) -> bool {
        lock(&self.strategies).iter().any(|s| s.name == strategy)
    }

    /// The number of a trial that begins, from 1, and how many there are.
    pub fn begin(&self) -> (usize, usize) {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        (number, self.total.load(Ordering::Relaxed))
    }

    /// Counts a trial that an earlier process ended, and writes the records of its twins that are
    /// still missing.
    pub fn pass(&self, trial: &Trial) -> Result<(), SearchError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.twins(trial)
    }

    /// Sets how many trials are left.
    pub fn expect(&self, trials: usize) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.total.store(begun + trials, Ordering::Relaxed);
    }

    /// Writes the records of a trial and its twins, unless an earlier process has; gives the record
    /// that stands.
    pub fn keep(&self, trial: &Trial, record: TrialRecord) -> Result<TrialRecord, SearchError> {
        self.append(record.clone())?;
        self.twins(trial)?;
        self.watcher.trial_end(&record);
        Ok(self.trial(&trial.id).unwrap_or(record))
    }

    /// Fails once a stop was asked for. From then on nothing that ends is written down as a result,
    /// whichever thread it ends on: the process may be going down round it.
    pub fn go_on(&self) -> Result<(), SearchError> {
        Ok(go_on(self.watcher)?)
    }

    fn twins(&self, trial: &Trial) -> Result<(), SearchError> {
        let Some(record) = self.trial(&trial.id) else {
            return Ok(());
        };
        for (strategy, candidate) in &trial.twins {
            self.append(TrialRecord {
                id: trial_id(candidate, trial.phase),
                strategy: *strategy,
                candidate: candidate.label.clone(),
                same_as: Some(record.id.clone()),
                ..record.clone()
            })?;
        }
        Ok(())
    }

    fn append(&self, record: TrialRecord) -> Result<(), SearchError> {
        let mut trials = lock(&self.trials);
        self.go_on()?;
        if !trials.contains_key(&record.id) {
            self.run.append_trial(&record)?;
            trials.insert(record.id.clone(), record);
        }
        Ok(())
    }

    /// Keeps what a strategy came to, and writes `results.json`.
    pub fn end(&self, result: StrategyResult) -> Result<(), SearchError> {
        self.go_on()?;
        lock(&self.strategies).push(result.clone());
        self.write_results(true)?;
        self.watcher.strategy_end(&result);
        Ok(())
    }

    /// Writes `results.json`, the strategies in the order of the plan.
    pub fn write_results(&self, interrupted: bool) -> Result<Results, SearchError> {
        let ended = lock(&self.strategies);
        let of = |strategy: StrategyName| ended.iter().find(|s| s.name == strategy).cloned();
        let plan = self.plan.strategies.iter();
        let results = Results {
            strategies: plan.filter_map(|p| of(p.strategy)).collect(),
            interrupted,
            ..Results::default()
        };
        self.run.write_results(&results)?;
        Ok(results)
    }
}
