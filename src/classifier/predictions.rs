//! What a set of predictions is worth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Several;
use super::temperature;

/// The figures of a set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of samples whose highest logit is their label's, 0 to 1. One of whose logits some are
    /// not a number counts as wrong. Of samples that may have several labels the exact match: the share of those that
    /// are taken for all classes that they are of and for no other.
    /// Source: `accuracy_score` of scikit-learn, for both.
    pub accuracy: f64,
    /// Mean recall of the classes that have a sample, 0 to 1.
    /// Source: `balanced_accuracy_score` of scikit-learn.
    pub balanced_accuracy: f64,
    /// Mean F1 of the classes that a sample is of or is taken for, 0 to 1.
    /// Source: `f1_score(average="macro", zero_division=0)` of scikit-learn.
    pub macro_f1: f64,
    /// Of samples that may have several labels, F1 of all decisions about all classes together, 0 to 1.
    /// Source: `f1_score(average="micro")` of scikit-learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_f1: Option<f64>,
    /// Of samples that may have several labels, the mean [average precision](ClassScore::average_precision) of the
    /// classes that a sample is of; it knows no thresholds.
    /// Source: `average_precision_score(average="macro")` of scikit-learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// Mean cross-entropy (where samples may have several labels, over samples and classes the binary one); not a
    /// number, or infinite, if that of one sample is.
    #[serde(with = "super::figure")]
    pub loss: f64,
    /// The same of the logits divided by the temperature at which it is the lowest, of 21 from 1/4 to 8: it does not
    /// rise where a model is only surer of itself than it is right.
    #[serde(with = "super::figure", default = "unknown")]
    pub calibrated_loss: f64,
    /// Number of samples.
    pub count: usize,
}

fn unknown() -> f64 {
    f64::NAN.copysign(1.0)
}

/// What a model makes of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Its class; of several the first, −1 of none.
    pub label: i64,
    /// The class with the highest logit; the first of equal ones. Not a number is never the highest.
    pub predicted: usize,
    /// Whether all logits are numbers, infinite ones included.
    pub is_decided: bool,
    /// Logarithm of the softmax at the label; minus infinity for a label that is no class. Where it may have several
    /// labels, minus the mean binary cross-entropy of the classes.
    pub log_probability: f64,
    /// Softmax, or where it may have several labels sigmoid, at the predicted class, 0 to 1.
    pub probability: f64,
    /// Where it may have several labels, whether it is taken for those that it has and for no other.
    pub matches: Option<bool>,
    /// As `log_probability`, at each [temperature](super::temperature).
    pub(super) tempered: [f32; temperature::COUNT],
}

impl Prediction {
    /// Of a sample of class `label` with these logits, one per class.
    pub fn of(logits: &[f32], label: i64) -> Self {
        let total = log_sum_exp(logits);
        let log_probability = |class: usize| Some(f64::from(*logits.get(class)?) - total);
        let predicted = argmax(logits);
        Prediction {
            label,
            predicted,
            is_decided: !logits.iter().any(|z| z.is_nan()),
            log_probability: usize::try_from(label)
                .ok()
                .and_then(log_probability)
                .unwrap_or(f64::NEG_INFINITY),
            probability: log_probability(predicted).map_or(0.0, f64::exp),
            matches: None,
            tempered: temperature::log_probabilities(logits, label),
        }
    }

    /// Whether it is taken for what it is; one of whose logits some are not a number is not.
    pub fn is_right(&self) -> bool {
        let is_label = || usize::try_from(self.label) == Ok(self.predicted);
        self.is_decided && self.matches.unwrap_or_else(is_label)
    }

    /// The class it belongs to, if it is one of `classes`.
    fn class(&self, classes: usize) -> Option<usize> {
        usize::try_from(self.label).ok().filter(|&l| l < classes)
    }
}

/// What a model makes of a set of samples: a few numbers each, however many classes there are; but where samples may
/// have several labels, one for each class besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// One per sample.
    pub samples: Vec<Prediction>,
    /// Number of classes.
    pub classes: usize,
    /// Where samples may have several labels, what is made of each class.
    pub several: Option<Several>,
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
    /// Number of samples taken for this class.
    pub predicted: usize,
    /// Where samples may have several labels, the mean precision of the classes' ranking of samples:
    /// `Σ (Rₙ − Rₙ₋₁) Pₙ` over all thresholds; `None` of a class without a sample.
    /// Source: `average_precision_score` of scikit-learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// There, the probability from which on a sample is taken for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl Predictions {
    /// Of samples with these labels; `logits` are row-major [samples, classes].
    pub fn of(logits: &[f32], labels: &[i64], classes: usize) -> Self {
        let rows = logits.chunks(classes.max(1)).zip(labels);
        Predictions {
            samples: rows.map(|(row, &l)| Prediction::of(row, l)).collect(),
            classes,
            several: None,
        }
    }

    /// The samples that are not right, by their place.
    pub fn wrong(&self) -> Vec<usize> {
        let places = self.samples.iter().enumerate();
        places
            .filter(|(_, p)| !p.is_right())
            .map(|(i, _)| i)
            .collect()
    }

    /// The figures of all samples together.
    pub fn score(&self) -> Score {
        let count = self.samples.len();
        let mut loss = 0f64;
        for sample in &self.samples {
            loss -= sample.log_probability;
        }
        let mut calibrated: f64 = self.calibrated_losses().iter().sum();
        // Of either sign; with this one `total_cmp` puts it behind all numbers.
        for loss in [&mut loss, &mut calibrated] {
            if loss.is_nan() {
                *loss = unknown();
            }
        }
        let n = count.max(1) as f64;
        let classes = self.class_scores();
        let mean = |of: &dyn Fn(&ClassScore) -> Option<f64>| {
            let values: Vec<f64> = classes.iter().filter_map(of).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        Score {
            accuracy: self.samples.iter().filter(|p| p.is_right()).count() as f64 / n,
            balanced_accuracy: mean(&|c| (c.support > 0).then_some(c.recall)),
            macro_f1: mean(&|c| (c.support + c.predicted > 0).then_some(c.f1)),
            micro_f1: self.several.as_ref().map(Several::micro_f1),
            average_precision: (self.several.is_some() && count > 0)
                .then(|| mean(&|c| c.average_precision)),
            loss: loss / n,
            calibrated_loss: calibrated / n,
            count,
        }
    }

    /// The cross-entropy of each sample at the temperature at which their mean is the lowest
    /// ([`Score::calibrated_loss`]).
    pub fn calibrated_losses(&self) -> Vec<f64> {
        let best = temperature::best(self.samples.iter().map(|s| &s.tempered));
        let losses = self.samples.iter().map(|s| -f64::from(s.tempered[best]));
        losses.collect()
    }

    /// How many samples of one class are taken for another (or for what they are):
    /// `[true class, predicted class, samples]`, in this order, of the pairs that occur. There are never
    /// more of them than samples, however many classes there are. Samples whose outputs are not numbers
    /// are taken for nothing, and are in no pair. Where samples may have several labels there are none.
    pub fn confusion(&self) -> Vec<[usize; 3]> {
        let mut counts = BTreeMap::new();
        if self.several.is_some() {
            return Vec::new();
        }
        for sample in self.samples.iter().filter(|p| p.is_decided) {
            if let Some(label) = sample.class(self.classes) {
                *counts.entry([label, sample.predicted]).or_insert(0) += 1;
            }
        }
        counts.into_iter().map(|([t, p], n)| [t, p, n]).collect()
    }

    /// Precision, recall and F1 of every class.
    pub fn class_scores(&self) -> Vec<ClassScore> {
        if let Some(several) = &self.several {
            return several.class_scores(self.classes);
        }
        let mut counts = vec![[0usize; 3]; self.classes];
        for label in self.samples.iter().filter_map(|p| p.class(self.classes)) {
            counts[label][1] += 1;
        }
        for [label, predicted, samples] in self.confusion() {
            counts[predicted][2] += samples;
            if label == predicted {
                counts[label][0] += samples;
            }
        }
        counts.into_iter().map(ClassScore::of).collect()
    }
}

impl ClassScore {
    /// Of a class that so many samples are rightly taken for, are of, and are taken for.
    pub(crate) fn of([hits, support, predicted]: [usize; 3]) -> Self {
        let ratio = |of: usize| match of {
            0 => 0.0,
            of => hits as f64 / of as f64,
        };
        let (precision, recall) = (ratio(predicted), ratio(support));
        let f1 = match precision + recall {
            s if s > 0.0 => 2.0 * precision * recall / s,
            _ => 0.0,
        };
        ClassScore {
            precision,
            recall,
            f1,
            support,
            predicted,
            average_precision: None,
            threshold: None,
        }
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

/// Logarithm of the softmax of one row of logits.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let total = log_sum_exp(logits);
    logits.iter().map(|&z| f64::from(z) - total).collect()
}

/// The place of the largest value of a row, the first of equal ones; what is no number is less than any.
pub(crate) fn argmax(row: &[f32]) -> usize {
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
            let predictions = Predictions::of(&[bad, 0.0, 1.0, 0.0], &[0, 0], 2);
            let score = predictions.score();
            let infinite = bad.is_infinite();
            assert_eq!(score.accuracy, if infinite { 1.0 } else { 0.5 });
            assert!(score.loss.is_nan());
            assert!(score.loss.total_cmp(&f64::INFINITY).is_gt());
            let [first, second] = [0, 1].map(|i| predictions.samples[i].predicted);
            assert_eq!((first, second), (usize::from(!infinite), 0));
        }
    }

    #[test]
    fn a_label_that_is_no_class_is_wrong_and_in_no_pair() {
        for label in [-1, 2, i64::MAX] {
            let predictions = Predictions::of(&[1.0, 0.0], &[label], 2);
            assert_eq!(predictions.wrong(), [0]);
            assert!(predictions.confusion().is_empty());
            assert_eq!(predictions.score().loss, f64::INFINITY);
        }
    }

    #[test]
    fn scores_of_a_small_confusion_matrix() {
        let logits = [2.0, 0.0, 2.0, 0.0, 0.0, 2.0, 2.0, 0.0];
        let predictions = Predictions::of(&logits, &[0, 0, 1, 1], 2);
        assert_eq!(predictions.confusion(), [[0, 0, 2], [1, 0, 1], [1, 1, 1]]);
        let scores = predictions.class_scores();
        assert!((scores[0].precision - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(scores[1].recall, 0.5);
        let score = predictions.score();
        assert_eq!((score.accuracy, score.balanced_accuracy), (0.75, 0.75));
        assert!((score.macro_f1 - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(predictions.wrong(), [3]);
        let small = (1.0 + (-2f64).exp()).ln();
        assert!((score.loss - (3.0 * small + small + 2.0) / 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_probabilities_of_a_sample_are_those_of_the_softmax() {
        let logits = [0.5, -3.0, 2.0, 2.0];
        let all = softmax(&logits);
        let prediction = Prediction::of(&logits, 1);
        assert_eq!((prediction.predicted, prediction.is_right()), (2, false));
        assert_eq!(prediction.probability, all[2]);
        assert_eq!(prediction.log_probability.exp(), all[1]);
    }

    #[test]
    fn sixty_thousand_classes_take_no_more_room_than_their_samples() {
        let classes = 60_000;
        let mut logits = vec![0.0; 3 * classes];
        logits[7] = 1.0;
        logits[classes + 7] = 1.0;
        logits[3 * classes - 1] = 1.0;
        let predictions = Predictions::of(&logits, &[7, 59_999, 59_999], classes);
        let pairs = [[7, 7, 1], [59_999, 7, 1], [59_999, 59_999, 1]];
        assert_eq!(predictions.confusion(), pairs);
        // Of the two classes that have a sample, and no other.
        assert_eq!(predictions.score().balanced_accuracy, 0.75);
        assert!((predictions.score().macro_f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!(size_of::<Prediction>() <= 136);
    }
}
