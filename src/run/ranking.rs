//! Which candidates are the best.

use crate::training::Monitor;

use super::results::TrialRecord;

/// The places of the trials that succeeded, the best first: those that were asked to go on further; then
/// by the score on the samples that rank, or the validation samples, as `by` compares it (none is the worst); of equal ones fewer trained
/// parameters, then the earlier.
pub fn ranked(trials: &[TrialRecord], by: Monitor) -> Vec<usize> {
    let mut order: Vec<usize> = (0..trials.len())
        .filter(|&i| trials[i].error.is_none())
        .collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&trials[a], &trials[b]);
        let score = |t: &TrialRecord| t.ranking.or(t.validation);
        let by_score = match (score(a), score(b)) {
            (Some(a), Some(b)) => by.compare(&b, &a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let by_rung = b.rung.cmp(&a.rung);
        by_rung
            .then(by_score)
            .then(a.trained_parameters.cmp(&b.trained_parameters))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Score;
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
            validation: Some(Score {
                accuracy,
                balanced_accuracy: 1.0 - accuracy,
                macro_f1: accuracy,
                loss,
                count: 10,
            }),
            ranking: None,
            best_epoch: 1,
            epochs: 1,
            seconds: 0.0,
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
    fn failed_trials_are_not_ranked() {
        let mut failed = trial(1.0, 0.0, 1);
        failed.error = Some("diverged".into());
        assert_eq!(by_accuracy(&[failed.clone(), trial(0.1, 5.0, 1)]), [1]);
        assert!(by_accuracy(&[failed]).is_empty() && by_accuracy(&[]).is_empty());
    }
}
