//! The figure of the validation samples by which one model is better than another.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classifier::Score;
use crate::task::Task;

use super::ClassWeights;

/// The figure that ranks candidates and epochs, and that the learning rate and early stopping watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// [`Score::accuracy`].
    #[default]
    Accuracy,
    /// [`Score::balanced_accuracy`].
    BalancedAccuracy,
    /// [`Score::macro_f1`].
    MacroF1,
    /// [`Score::average_precision`], where samples may have several labels.
    AveragePrecision,
    /// [`Score::loss`], of which less is better.
    Loss,
    /// [`Score::calibrated_loss`], of which less is better.
    CalibratedLoss,
}

impl Monitor {
    /// The names that [`Monitor::from_str`] reads.
    pub const NAMES: [&str; 6] = [
        "accuracy",
        "balanced-accuracy",
        "macro-f1",
        "average-precision",
        "loss",
        "calibrated-loss",
    ];

    /// What is watched where nothing else is asked for: what the loss is weighted for, and where samples may have
    /// several labels what knows no thresholds.
    pub fn default_for(weights: ClassWeights, task: Task) -> Self {
        match weights {
            _ if task.is_multi_label() => Monitor::AveragePrecision,
            ClassWeights::None => Monitor::Accuracy,
            ClassWeights::Balanced => Monitor::BalancedAccuracy,
        }
    }

    /// The name for people of a figure of this task: of accuracy, where samples may have several labels, `exact match`.
    pub fn label_for(self, task: Task) -> &'static str {
        match self {
            Monitor::Accuracy if task.is_multi_label() => "exact match",
            Monitor::BalancedAccuracy if task.is_multi_label() => "mean recall",
            monitor => monitor.label(),
        }
    }

    /// This figure of a score.
    pub fn of(self, score: &Score) -> f64 {
        match self {
            Monitor::Accuracy => score.accuracy,
            Monitor::BalancedAccuracy => score.balanced_accuracy,
            Monitor::MacroF1 => score.macro_f1,
            Monitor::AveragePrecision => score.average_precision.unwrap_or(f64::NAN),
            Monitor::Loss => score.loss,
            Monitor::CalibratedLoss => score.calibrated_loss,
        }
    }

    /// `Greater` if `a` is better than `b`: by this figure; where it is equal, by the lower loss (of losses, by the
    /// higher accuracy). What is not a number is the worst.
    pub fn compare(self, a: &Score, b: &Score) -> Ordering {
        let less_loss = b.loss.total_cmp(&a.loss);
        match self {
            Monitor::Loss => less_loss.then(a.accuracy.total_cmp(&b.accuracy)),
            Monitor::CalibratedLoss => {
                let less = b.calibrated_loss.total_cmp(&a.calibrated_loss);
                less.then(a.accuracy.total_cmp(&b.accuracy))
            }
            _ => {
                // Of either sign, what is not a number is the worst.
                let of = |score| Some(self.of(score)).filter(|figure| !figure.is_nan());
                let more = match (of(a), of(b)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                };
                more.then(less_loss)
            }
        }
    }

    /// Whether it is a loss, of which less is better; the others are shares.
    pub fn is_loss(self) -> bool {
        matches!(self, Monitor::Loss | Monitor::CalibratedLoss)
    }

    /// Whether the first of two such figures is better.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self.is_loss() { a < b } else { a > b }
    }

    /// The name for people: `balanced accuracy`.
    pub fn label(self) -> &'static str {
        match self {
            Monitor::Accuracy => "accuracy",
            Monitor::BalancedAccuracy => "balanced accuracy",
            Monitor::MacroF1 => "macro F1",
            Monitor::AveragePrecision => "average precision",
            Monitor::Loss => "loss",
            Monitor::CalibratedLoss => "calibrated loss",
        }
    }
}

impl fmt::Display for Monitor {
    /// The name on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [accuracy, balanced, f1, precision, loss, calibrated] = Self::NAMES;
        f.write_str(match self {
            Monitor::Accuracy => accuracy,
            Monitor::BalancedAccuracy => balanced,
            Monitor::MacroF1 => f1,
            Monitor::AveragePrecision => precision,
            Monitor::Loss => loss,
            Monitor::CalibratedLoss => calibrated,
        })
    }
}

impl FromStr for Monitor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [
            Monitor::Accuracy,
            Monitor::BalancedAccuracy,
            Monitor::MacroF1,
            Monitor::AveragePrecision,
            Monitor::Loss,
            Monitor::CalibratedLoss,
        ];
        let named = all.into_iter().find(|m| m.to_string() == name);
        named.ok_or_else(|| format!("`{name}` is none of {}", Self::NAMES.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Predictions;

    /// 95 samples of class 0 and 5 of class 1, of which so many are right.
    fn score([majority, minority]: [usize; 2], certainty: f32) -> Score {
        let (mut logits, mut labels) = (vec![], vec![]);
        for (label, of, right) in [(0, 95, majority), (1, 5, minority)] {
            for i in 0..of {
                let predicted = if i < right { label } else { 1 - label };
                let row = [
                    certainty * (1 - predicted) as f32,
                    certainty * predicted as f32,
                ];
                logits.extend(row);
                labels.push(label);
            }
        }
        Predictions::of(&logits, &labels, 2).score()
    }

    #[test]
    fn a_model_that_takes_all_for_the_majority_is_best_by_accuracy_alone() {
        let (lazy, fair) = (score([95, 0], 1.0), score([85, 5], 1.0));
        assert_eq!((lazy.accuracy, fair.accuracy), (0.95, 0.9));
        assert_eq!(lazy.balanced_accuracy, 0.5);
        assert!((fair.balanced_accuracy - (85.0 / 95.0 + 1.0) / 2.0).abs() < 1e-12);
        assert!(Monitor::Accuracy.compare(&lazy, &fair).is_gt());
        assert!(Monitor::BalancedAccuracy.compare(&fair, &lazy).is_gt());
        assert!(Monitor::MacroF1.compare(&fair, &lazy).is_gt());
        assert_eq!(
            Monitor::default_for(ClassWeights::Balanced, Task::SingleLabel),
            Monitor::BalancedAccuracy
        );
    }

    #[test]
    fn equal_figures_are_told_apart_by_the_loss() {
        let (sure, unsure) = (score([90, 4], 3.0), score([90, 4], 0.1));
        assert!(sure.loss < unsure.loss && sure.accuracy == unsure.accuracy);
        for name in Monitor::NAMES {
            let monitor: Monitor = name.parse().unwrap();
            assert_eq!(monitor.to_string(), name);
            assert!(monitor.compare(&sure, &unsure).is_gt(), "{name}");
        }
        assert!("auc".parse::<Monitor>().is_err());
    }

    #[test]
    fn a_loss_that_is_not_a_number_is_the_worst() {
        let good = score([90, 4], 1.0);
        let bad = Score {
            loss: f64::NAN.copysign(1.0),
            calibrated_loss: f64::NAN.copysign(1.0),
            ..good
        };
        for name in Monitor::NAMES {
            let monitor: Monitor = name.parse().unwrap();
            assert!(monitor.compare(&good, &bad).is_gt(), "{name}");
        }
    }
}
