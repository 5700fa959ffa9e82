//! What a set of predictions is worth.

use serde::{Deserialize, Serialize};

/// Accuracy and loss over a set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of samples whose highest logit is their label's, 0 to 1. One of whose logits some are
    /// not a number counts as wrong.
    pub accuracy: f64,
    /// Mean cross-entropy; not a number, or infinite, if that of one sample is.
    pub loss: f64,
    /// Number of samples.
    pub count: usize,
}

impl Score {
    /// Whether this has the higher accuracy, or the same and a lower loss.
    pub fn is_better_than(&self, other: &Score) -> bool {
        self.accuracy > other.accuracy
            || (self.accuracy == other.accuracy && self.loss < other.loss)
    }
}

/// The logits of a set of samples, with their labels.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Row-major [samples, classes].
    pub logits: Vec<f32>,
    /// One label per sample.
    pub labels: Vec<i64>,
    /// Number of classes.
    pub classes: usize,
}

/// Precision, recall and F1 of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Share of the samples predicted as this class that are of it; 0 when none is predicted.
    pub precision: f64,
    /// Share of this class's samples that are predicted as it; 0 when there are none.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of samples of this class.
    pub support: usize,
}

impl Predictions {
    /// The class with the highest logit of each sample; the first of equal ones. Not a number is
    /// never the highest.
    pub fn classes(&self) -> Vec<usize> {
        self.logits
            .chunks(self.classes.max(1))
            .map(argmax)
            .collect()
    }

    /// Accuracy and mean cross-entropy.
    pub fn score(&self) -> Score {
        let count = self.labels.len();
        let mut right = 0usize;
        let mut loss = 0f64;
        for (row, &label) in self.logits.chunks(self.classes.max(1)).zip(&self.labels) {
            let label = usize::try_from(label).unwrap_or(usize::MAX);
            right += usize::from(argmax(row) == label && !row.iter().any(|z| z.is_nan()));
            loss -= row
                .get(label)
                .map_or(f64::NEG_INFINITY, |&z| f64::from(z) - log_sum_exp(row));
        }
        // Of either sign; with this one `total_cmp` puts it behind all numbers.
        if loss.is_nan() {
            loss = f64::NAN.copysign(1.0);
        }
        let n = count.max(1) as f64;
        Score {
            accuracy: right as f64 / n,
            loss: loss / n,
            count,
        }
    }

    /// Counts by true class (row) and predicted class (column).
    pub fn confusion(&self) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for (predicted, &label) in self.classes().into_iter().zip(&self.labels) {
            if let Some(row) = usize::try_from(label).ok().and_then(|l| counts.get_mut(l)) {
                row[predicted] += 1;
            }
        }
        counts
    }

    /// Precision, recall and F1 of every class.
    pub fn class_scores(&self) -> Vec<ClassScore> {
        let confusion = self.confusion();
        (0..self.classes)
            .map(|c| {
                let hits = confusion[c][c] as f64;
                let support: usize = confusion[c].iter().sum();
                let predicted: usize = confusion.iter().map(|row| row[c]).sum();
                let ratio = |n: f64, d: usize| if d == 0 { 0.0 } else { n / d as f64 };
                let (precision, recall) = (ratio(hits, predicted), ratio(hits, support));
                let f1 = match precision + recall {
                    s if s > 0.0 => 2.0 * precision * recall / s,
                    _ => 0.0,
                };
                ClassScore {
                    precision,
                    recall,
                    f1,
                    support,
                }
            })
            .collect()
    }
}

/// softmax of one row of logits.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let total = log_sum_exp(logits);
    logits
        .iter()
        .map(|&z| (f64::from(z) - total).exp())
        .collect()
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] || (row[best].is_nan() && !value.is_nan()) {
            best = i;
        }
    }
    best
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let top = f64::from(top);
    top + row
        .iter()
        .map(|&z| (f64::from(z) - top).exp())
        .sum::<f64>()
        .ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_not_numbers_are_wrong_and_sort_last() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
            let predictions = Predictions {
                logits: vec![bad, 0.0, 1.0, 0.0],
                labels: vec![0, 0],
                classes: 2,
            };
            let score = predictions.score();
            let infinite = bad.is_infinite();
            assert_eq!(score.accuracy, if infinite { 1.0 } else { 0.5 });
            assert!(score.loss.is_nan());
            assert!(score.loss.total_cmp(&f64::INFINITY).is_gt());
            assert_eq!(predictions.classes(), [usize::from(!infinite), 0]);
        }
    }

    #[test]
    fn scores_of_a_small_confusion_matrix() {
        let predictions = Predictions {
            logits: vec![2.0, 0.0, 2.0, 0.0, 0.0, 2.0, 2.0, 0.0],
            labels: vec![0, 0, 1, 1],
            classes: 2,
        };
        assert_eq!(predictions.confusion(), [[2, 0], [1, 1]]);
        let scores = predictions.class_scores();
        assert!((scores[0].precision - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(scores[1].recall, 0.5);
        let score = predictions.score();
        assert_eq!(score.accuracy, 0.75);
        let small = (1.0 + (-2f64).exp()).ln();
        assert!((score.loss - (3.0 * small + small + 2.0) / 4.0).abs() < 1e-9);
    }
}
