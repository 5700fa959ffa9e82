//! Whether a trial ended while it still got better.

use crate::classifier::Score;

use super::{Monitor, TrialOutcome};

impl TrialOutcome {
    /// Whether training ended while the validation samples still spoke for more of it: all of `epochs` were
    /// trained, each of the last two was better by `monitor` than all before it, and in these two the validation
    /// loss fell by more than [`TrialOutcome::FALLS`] of itself, so that it is not one more sample that was right.
    pub fn still_improving(&self, monitor: Monitor, epochs: usize) -> bool {
        let scores: Vec<Score> = self.epochs.iter().filter_map(|e| e.validation).collect();
        let [before @ .., first, last] = scores.as_slice() else {
            return false;
        };
        let better = |a: &Score, b: &Score| monitor.compare(a, b).is_gt();
        self.trained_epochs() == epochs
            && !before.is_empty()
            && before.iter().all(|b| better(first, b))
            && better(last, first)
            && before
                .last()
                .is_some_and(|b| last.loss < (1.0 - Self::FALLS) * b.loss)
    }

    /// See [`TrialOutcome::still_improving`].
    pub const FALLS: f64 = 0.02;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::EpochMetrics;

    #[test]
    fn training_that_ended_while_it_got_better_is_told_from_one_that_was_done() {
        let outcome = |figures: &[(f64, f64)]| TrialOutcome {
            parameters: Vec::new(),
            best_epoch: 0,
            validated: None,
            tried_rates: Vec::new(),
            abandoned_epochs: 0,
            found_rate: None,
            epochs: (1..)
                .zip(figures)
                .map(|(epoch, &(accuracy, loss))| EpochMetrics {
                    epoch,
                    loss: Some(loss),
                    penalty: None,
                    validation: Some(Score {
                        accuracy,
                        balanced_accuracy: accuracy,
                        macro_f1: accuracy,
                        micro_f1: None,
                        average_precision: None,
                        loss,
                        calibrated_loss: loss,
                        count: 100,
                    }),
                    learning_rate: 0.1,
                    seconds: 1.0,
                })
                .collect(),
            trained_parameters: 1,
            added_parameters: 0,
            seconds: 1.0,
        };
        let improving = |figures: &[(f64, f64)], epochs| {
            outcome(figures).still_improving(Monitor::Accuracy, epochs)
        };
        let rising = [(0.5, 1.0), (0.6, 0.8), (0.7, 0.7)];
        assert!(improving(&rising, 3));
        // It was stopped early, or had nothing to compare with.
        assert!(!improving(&rising, 4));
        assert!(!improving(&rising[..2], 2) && !improving(&[], 0));
        // The last epoch, or the one before it, was no better than an earlier one.
        assert!(!improving(&[(0.5, 1.0), (0.7, 0.8), (0.6, 0.7)], 3));
        assert!(!improving(&[(0.5, 1.0), (0.4, 0.8), (0.6, 0.7)], 3));
        // One more is right, and the loss as good as still.
        assert!(!improving(&[(0.5, 0.700), (0.6, 0.699), (0.61, 0.698)], 3));
        let mut unwatched = outcome(&rising);
        unwatched
            .epochs
            .iter_mut()
            .for_each(|e| e.validation = None);
        assert!(!unwatched.still_improving(Monitor::Accuracy, 3));
    }
}
