//! Which candidates are the best.

use std::cmp::Ordering;

use super::results::TrialRecord;

/// The places of the trials that succeeded, the best first: the highest validation accuracy; of
/// equal ones the lower validation loss, then fewer trained parameters, then the earlier.
pub fn ranked(trials: &[TrialRecord]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..trials.len())
        .filter(|&i| trials[i].error.is_none())
        .collect();
    order.sort_by(|&a, &b| compare(&trials[a], &trials[b]));
    order
}

/// `Less` if `a` is better.
fn compare(a: &TrialRecord, b: &TrialRecord) -> Ordering {
    let accuracy = |t: &TrialRecord| t.validation.map_or(f64::NEG_INFINITY, |v| v.accuracy);
    let loss = |t: &TrialRecord| t.validation.map_or(f64::INFINITY, |v| v.loss);
    accuracy(b)
        .total_cmp(&accuracy(a))
        .then(loss(a).total_cmp(&loss(b)))
        .then(a.trained_parameters.cmp(&b.trained_parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::plan::Phase;
    use crate::strategy::Strategy;
    use crate::training::Score;

    fn trial(accuracy: f64, loss: f64, parameters: usize) -> TrialRecord {
        TrialRecord {
            id: String::new(),
            strategy: Strategy::Blocks,
            phase: Phase::Search,
            candidate: String::new(),
            layers: vec![],
            trained_parameters: Some(parameters),
            validation: Some(Score {
                accuracy,
                loss,
                count: 10,
            }),
            best_epoch: 1,
            epochs: 1,
            seconds: 0.0,
            same_as: None,
            error: None,
        }
    }

    #[test]
    fn accuracy_decides_then_loss_then_size_then_order() {
        let a = [trial(0.5, 0.1, 1), trial(0.6, 9.0, 9)];
        assert_eq!(ranked(&a), [1, 0]);
        let b = [trial(0.5, 0.3, 1), trial(0.5, 0.2, 9)];
        assert_eq!(ranked(&b), [1, 0]);
        let c = [trial(0.5, 0.2, 9), trial(0.5, 0.2, 3), trial(0.5, 0.2, 3)];
        assert_eq!(ranked(&c), [1, 2, 0]);
    }

    #[test]
    fn failed_trials_are_not_ranked() {
        let mut failed = trial(1.0, 0.0, 1);
        failed.error = Some("diverged".into());
        assert_eq!(ranked(&[failed.clone(), trial(0.1, 5.0, 1)]), [1]);
        assert!(ranked(&[failed]).is_empty() && ranked(&[]).is_empty());
    }
}
