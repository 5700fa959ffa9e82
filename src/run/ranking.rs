//! Which candidates are the best.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::classifier::Score;
use crate::training::Monitor;

use super::results::TrialRecord;

/// What tells two candidates apart whose ranking figures are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieBreak {
    /// The loss, or where that is the figure the accuracy.
    Score,
    /// The operations of a step.
    Cost,
    /// The number of trained parameters.
    Parameters,
    /// Nothing but which of them is named first.
    Order,
}

/// What puts one trial before another; `None` where the figure itself does.
pub fn tie_break(first: &TrialRecord, second: &TrialRecord, by: Monitor) -> Option<TieBreak> {
    let figures = [first, second].map(|t| score(t).map(|s| by.of(&s)));
    if figures[0] != figures[1] {
        return None;
    }
    let orders = [
        (by_score(first, second, by), TieBreak::Score),
        (by_cost(first, second), TieBreak::Cost),
        (by_parameters(first, second), TieBreak::Parameters),
    ];
    let decided = orders.into_iter().find(|(order, _)| order.is_ne());
    Some(decided.map_or(TieBreak::Order, |(_, tie)| tie))
}

fn score(trial: &TrialRecord) -> Option<Score> {
    trial.ranking.or(trial.validation)
}

/// `Less` if the score of `a` is better.
fn by_score(a: &TrialRecord, b: &TrialRecord, by: Monitor) -> Ordering {
    match (score(a), score(b)) {
        (Some(a), Some(b)) => by.compare(&b, &a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

fn by_cost(a: &TrialRecord, b: &TrialRecord) -> Ordering {
    let both = a.flops.zip(b.flops);
    both.map_or(Ordering::Equal, |(a, b)| a.cmp(&b))
}

fn by_parameters(a: &TrialRecord, b: &TrialRecord) -> Ordering {
    a.trained_parameters.cmp(&b.trained_parameters)
}

/// The places of the trials that succeeded, the best first: those that were asked to go on further; then
/// by the score on the samples that rank, or the validation samples, as `by` compares it (none is the worst); of
/// equal ones the one whose steps take fewer operations, then fewer trained parameters, then the earlier.
pub fn ranked(trials: &[TrialRecord], by: Monitor) -> Vec<usize> {
    let mut order: Vec<usize> = (0..trials.len())
        .filter(|&i| trials[i].error.is_none())
        .collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&trials[a], &trials[b]);
        let by_rung = b.rung.cmp(&a.rung);
        by_rung
            .then(by_score(a, b, by))
            .then(by_cost(a, b))
            .then(by_parameters(a, b))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Phase;
    use crate::strategy::StrategyName;

    fn trial(accuracy: f64, loss: f64, parameters: usize) -> TrialRecord {
        TrialRecord {
            id: String::new(),
            strategy: StrategyName::BLOCKS,
            phase: Phase::Search,
            candidate: String::new(),
            layers: vec![],
            trained_parameters: Some(parameters),
            added_parameters: 0,
            flops: None,
            validation: Some(Score {
                accuracy,
                balanced_accuracy: 1.0 - accuracy,
                macro_f1: accuracy,
                micro_f1: None,
                average_precision: None,
                loss,
                calibrated_loss: loss,
                count: 10,
            }),
            ranking: None,
            best_epoch: 1,
            epochs: 1,
            rate: None,
            tried_rates: vec![],
            abandoned_epochs: 0,
            seconds: 0.0,
            clock: None,
            still_improving: false,
            same_as: None,
            error: None,
            rung: 0,
            failure: None,
        }
    }

    fn by_accuracy(trials: &[TrialRecord]) -> Vec<usize> {
        ranked(trials, Monitor::Accuracy)
    }

    #[test]
    fn the_monitored_figure_decides() {
        let trials = [trial(0.5, 0.1, 1), trial(0.6, 9.0, 9)];
        for (monitor, order) in [
            (Monitor::Accuracy, [1, 0]),
            (Monitor::MacroF1, [1, 0]),
            (Monitor::BalancedAccuracy, [0, 1]),
            (Monitor::Loss, [0, 1]),
        ] {
            assert_eq!(ranked(&trials, monitor), order, "{monitor}");
        }
    }

    #[test]
    fn the_samples_that_rank_decide_over_those_that_validate() {
        let mut trials = [trial(0.9, 0.1, 1), trial(0.5, 0.5, 1)];
        let better = trial(0.7, 0.3, 1).validation;
        (trials[0].ranking, trials[1].ranking) = (trial(0.6, 0.4, 1).validation, better);
        assert_eq!(by_accuracy(&trials), [1, 0]);
    }

    #[test]
    fn accuracy_decides_then_loss_then_size_then_order() {
        let a = [trial(0.5, 0.1, 1), trial(0.6, 9.0, 9)];
        assert_eq!(by_accuracy(&a), [1, 0]);
        let b = [trial(0.5, 0.3, 1), trial(0.5, 0.2, 9)];
        assert_eq!(by_accuracy(&b), [1, 0]);
        let c = [trial(0.5, 0.2, 9), trial(0.5, 0.2, 3), trial(0.5, 0.2, 3)];
        assert_eq!(by_accuracy(&c), [1, 2, 0]);
    }

    #[test]
    fn of_equal_candidates_the_one_whose_step_is_cheaper_is_first_and_that_is_told() {
        let costing = |flops, parameters| TrialRecord {
            flops,
            ..trial(0.5, 0.2, parameters)
        };
        // Fewer parameters, but near the input: its step goes through the whole network.
        let [early, late] = [costing(Some(900), 1), costing(Some(100), 9)];
        let trials = [early.clone(), late.clone(), costing(Some(100), 10)];
        assert_eq!(by_accuracy(&trials), [1, 2, 0]);
        // Where the cost of one is not known, the parameters decide.
        assert_eq!(by_accuracy(&[costing(None, 2), early.clone()]), [1, 0]);
        let told = |a: &TrialRecord, b: &TrialRecord| tie_break(a, b, Monitor::Accuracy);
        assert_eq!(told(&late, &early), Some(TieBreak::Cost));
        assert_eq!(told(&late, &trials[2]), Some(TieBreak::Parameters));
        assert_eq!(told(&late, &late), Some(TieBreak::Order));
        let worse = trial(0.5, 0.3, 1);
        assert_eq!(told(&late, &worse), Some(TieBreak::Score));
        assert_eq!(tie_break(&late, &worse, Monitor::Loss), None);
        assert_eq!(told(&trial(0.6, 0.9, 1), &late), None);
    }

    #[test]
    fn failed_trials_are_not_ranked() {
        let mut failed = trial(1.0, 0.0, 1);
        failed.error = Some("diverged".into());
        assert_eq!(by_accuracy(&[failed.clone(), trial(0.1, 5.0, 1)]), [1]);
        assert!(by_accuracy(&[failed]).is_empty() && by_accuracy(&[]).is_empty());
    }
}
