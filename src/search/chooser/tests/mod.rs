//! Choosers on made-up records: what is asked for, in which order, to which end.

mod exhaustive;
mod halving;
mod scout;
mod whole;

use std::collections::HashMap;

use super::*;
use crate::analysis::nets;
use crate::analysis::{Analysis, AnalyzeOptions};
use crate::classifier::Score;
use crate::run::Allowance;
use crate::surgery::rewrite::LowRank;
use crate::surgery::{HeadKind, Rewrite};
use crate::training::HeadInit;

/// A run whose trials come to made-up figures.
struct Made {
    analysis: Analysis,
    settings: Settings,
    /// Of `auto`.
    allowance: Option<Allowance>,
    asked: Vec<TrialRequest>,
    records: HashMap<String, TrialRecord>,
    /// Of trials of the search, where they leave it.
    rankings: HashMap<String, Ranking>,
    /// The accuracy of the trial of a candidate's layers after so many epochs; it diverges below 0.
    accuracy: fn(&[String], usize) -> f64,
}

impl Made {
    fn new(search: SearchMethod, accuracy: fn(&[String], usize) -> f64) -> Self {
        let options = AnalyzeOptions::default();
        Made {
            analysis: Analysis::of_graph(&nets::vgg(), &[], &options).unwrap(),
            settings: Settings::default()
                .head_init(HeadInit::Random)
                .search(Some(search))
                .epochs(20)
                .search_epochs(9),
            allowance: None,
            asked: Vec::new(),
            records: HashMap::new(),
            rankings: HashMap::new(),
            accuracy,
        }
    }

    /// What is asked for next, by a run of these strategies.
    fn next(&self, strategies: &[StrategyName]) -> (Vec<TrialRequest>, Vec<Verdict>) {
        self.with(strategies, |scene| {
            let next = chooser(self.settings.method()).next(scene).unwrap();
            (next, scene.verdicts())
        })
    }

    fn with<T>(&self, strategies: &[StrategyName], ask: impl FnOnce(&Scene<'_>) -> T) -> T {
        let network = Network {
            analysis: &self.analysis,
            head: vec!["head".to_owned()],
            seed: 0,
            selection: &[],
            promising: vec![0, 2, 1],
            freeze: None,
            updatable: Vec::new(),
            gateable: Vec::new(),
            lora_alpha: None,
            adafilter: Default::default(),
            blocks: Vec::new(),
            spottune: Default::default(),
        };
        let strategies = strategies.iter().map(|&strategy| StrategyPlan {
            strategy,
            candidates: strategy.candidates(&network).unwrap(),
            skipped: Vec::new(),
            allowance: (strategy == StrategyName::AUTO)
                .then(|| self.allowance.clone())
                .flatten(),
        });
        let plan = Plan {
            strategies: strategies.collect(),
            method: self.settings.method(),
        };
        let record = |id: &str| self.records.get(id).cloned();
        let scene = Scene {
            plan: &plan,
            network: &network,
            settings: &self.settings,
            asked: &self.asked,
            record: &record,
            ranking: &|id: &str| self.rankings.get(id).cloned(),
        };
        ask(&scene)
    }

    fn carry_out(&mut self, requests: Vec<TrialRequest>) {
        for request in &requests {
            let accuracy = (self.accuracy)(&request.candidate.layers, request.epochs);
            let record = TrialRecord {
                id: request.id.clone(),
                strategy: request.strategy,
                phase: request.phase,
                candidate: request.candidate.label.clone(),
                layers: request.candidate.layers.clone(),
                trained_parameters: Some(1),
                added_parameters: 0,
                flops: None,
                validation: Some(Score {
                    accuracy,
                    balanced_accuracy: accuracy,
                    macro_f1: accuracy,
                    micro_f1: None,
                    average_precision: None,
                    loss: 1.0,
                    calibrated_loss: 1.0,
                    count: 100,
                }),
                ranking: None,
                best_epoch: request.epochs,
                epochs: request.epochs,
                rate: Some(0.25),
                tried_rates: vec![],
                abandoned_epochs: 0,
                seconds: 1.0,
                clock: None,
                still_improving: false,
                same_as: None,
                error: (accuracy < 0.0).then(|| "diverged".to_owned()),
                failure: None,
                rung: request.rung,
            };
            self.records.insert(request.id.clone(), record);
        }
        self.asked.extend(requests);
    }

    /// Carries out whatever is asked for: of each round, as often as it is asked for, its number, the phase, the
    /// epochs and how many.
    fn run_to_the_end(&mut self, strategies: &[StrategyName]) -> Vec<(usize, Phase, usize, usize)> {
        let mut told = Vec::new();
        loop {
            let next = self.next(strategies).0;
            if next.is_empty() {
                return told;
            }
            for round in next.chunk_by(|a, b| a.round == b.round) {
                let first = &round[0];
                told.push((first.round, first.phase, first.epochs, round.len()));
            }
            self.carry_out(next);
        }
    }

    fn chosen(&self, strategies: &[StrategyName]) -> Vec<String> {
        let label = |verdict| match verdict {
            Verdict::Chosen(choice) => choice.candidate.id,
            Verdict::Diverged { .. } => "diverged".to_owned(),
            Verdict::Open => "open".to_owned(),
        };
        self.next(strategies).1.into_iter().map(label).collect()
    }
}

/// Fewer layers are better.
fn few(layers: &[String], _: usize) -> f64 {
    1.0 / (1.0 + layers.len() as f64)
}

/// What `auto` may do: so many candidates, on so many rungs, with so many joined.
fn allowance(begun: usize, rungs: &[usize], joins: usize) -> Option<Allowance> {
    Some(Allowance {
        begun,
        rungs: rungs.to_vec(),
        joins,
        cost: None,
    })
}
