//! What a run has come to, shared by the workers.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::run::{Results, RunDir, StrategyResult, TrialRecord, TrialRequest};
use crate::strategy::{Candidate, StrategyName};

use super::SearchError;
use super::clock::Clock;
use super::plan::{Plan, trial_id};
use super::pool::lock;
use super::watch::{Watcher, go_on};

/// What a run has come to so far.
#[derive(Default)]
pub(super) struct Progress {
    /// What was asked for.
    pub requests: Vec<TrialRequest>,
    /// Trials that have ended, by their identity.
    pub trials: HashMap<String, TrialRecord>,
    /// Strategies that have.
    pub strategies: Vec<StrategyResult>,
    /// How long that took; `None` where other processes carry out trials.
    pub clock: Option<Clock>,
}

/// The progress of a run, which writes down what ends.
pub(super) struct State<'a> {
    plan: &'a Plan,
    run: &'a RunDir,
    watcher: &'a dyn Watcher,
    requests: Mutex<Vec<TrialRequest>>,
    trials: Mutex<HashMap<String, TrialRecord>>,
    strategies: Mutex<Vec<StrategyResult>>,
    clock: Option<Clock>,
    /// Whether anything ended in this session.
    worked: AtomicBool,
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
        let ended = progress.requests.iter().filter(|request| {
            let record = progress.trials.get(&request.id);
            record.is_some_and(|record| request.is_met_by(record))
        });
        State {
            begun: AtomicUsize::new(ended.count()),
            total: AtomicUsize::new(plan.trials()),
            plan,
            run,
            watcher,
            requests: Mutex::new(progress.requests),
            trials: Mutex::new(progress.trials),
            strategies: Mutex::new(progress.strategies),
            clock: progress.clock,
            worked: AtomicBool::new(false),
        }
    }

    /// All that was asked for, in its order.
    pub fn requests(&self) -> Vec<TrialRequest> {
        lock(&self.requests).clone()
    }

    /// Asks for more.
    pub fn ask(&self, more: Vec<TrialRequest>) -> Result<(), SearchError> {
        let mut requests = lock(&self.requests);
        requests.extend(more);
        Ok(self.run.write_requests(&requests)?)
    }

    /// The record of a trial that has ended.
    pub fn trial(&self, id: &str) -> Option<TrialRecord> {
        lock(&self.trials).get(id).cloned()
    }

    /// Whether a trial has ended and came as far as is asked.
    pub fn is_met(&self, request: &TrialRequest) -> bool {
        let trials = lock(&self.trials);
        let record = trials.get(&request.id);
        record.is_some_and(|record| request.is_met_by(record))
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

    /// How many trials have begun, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (of(&self.begun), of(&self.total))
    }

    /// Sets how many trials are left.
    pub fn expect(&self, trials: usize) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.total.store(begun + trials, Ordering::Relaxed);
    }

    /// Writes the record of a trial, unless an earlier process has; gives the record that stands.
    pub fn keep(&self, mut record: TrialRecord) -> Result<TrialRecord, SearchError> {
        record.clock = self.clock.map(|clock| clock.now());
        self.append(record.clone())?;
        self.watcher.trial_end(&record);
        Ok(self.trial(&record.id).unwrap_or(record))
    }

    /// Writes the records of candidates whose figures a trial that has ended gives, where they are missing.
    pub fn twins(
        &self,
        request: &TrialRequest,
        twins: &[(StrategyName, Candidate)],
    ) -> Result<(), SearchError> {
        let Some(record) = self.trial(&request.id) else {
            return Ok(());
        };
        for (strategy, candidate) in twins {
            self.append(TrialRecord {
                id: trial_id(candidate, request.phase),
                strategy: *strategy,
                candidate: candidate.label.clone(),
                same_as: Some(record.id.clone()),
                ..record.clone()
            })?;
        }
        Ok(())
    }

    /// Fails once a stop was asked for. From then on nothing that ends is written down as a result,
    /// whichever thread it ends on: the process may be going down round it.
    pub fn go_on(&self) -> Result<(), SearchError> {
        Ok(go_on(self.watcher)?)
    }

    fn append(&self, record: TrialRecord) -> Result<(), SearchError> {
        let mut trials = lock(&self.trials);
        self.go_on()?;
        let known = trials.get(&record.id);
        if known.is_none_or(|known| known.rung < record.rung) {
            self.worked.store(true, Ordering::Relaxed);
            self.run.append_trial(&record)?;
            trials.insert(record.id.clone(), record);
        }
        Ok(())
    }

    /// Keeps what a strategy came to, and writes `results.json`.
    pub fn end(&self, mut result: StrategyResult) -> Result<(), SearchError> {
        self.go_on()?;
        self.worked.store(true, Ordering::Relaxed);
        result.clock = self.clock.map(|clock| clock.now());
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
            // A run that had ended before does not take longer for being looked at.
            clock: self.clock.map(|clock| {
                match interrupted || self.worked.load(Ordering::Relaxed) {
                    true => clock.now(),
                    false => clock.earlier(),
                }
            }),
            ..Results::default()
        };
        self.run.write_results(&results)?;
        Ok(results)
    }
}
