//! What predictions of several labels per sample are worth, and from which probability on a class is taken to apply.

use super::predictions::argmax;
use super::temperature::{binary_loss, independent};
use super::{ClassScore, Prediction, Predictions};

/// The probability from which on a class is taken to apply, where none is chosen.
const EVEN: f64 = 0.5;

/// What a model makes of each class of samples that may have several labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Several {
    /// Logits, row-major [samples, classes].
    pub logits: Vec<f32>,
    /// Whether each sample is of each class, row-major [samples, classes].
    pub truth: Vec<bool>,
    /// For each class the probability from which on a sample is taken for it; 1/2 of those that are missing.
    pub thresholds: Vec<f64>,
}

/// The probability that a logit is of: `1 / (1 + e^−z)`.
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

impl Several {
    fn threshold(&self, class: usize) -> f64 {
        self.thresholds.get(class).copied().unwrap_or(EVEN)
    }

    fn is_taken(&self, class: usize, logit: f32) -> bool {
        sigmoid(f64::from(logit)) >= self.threshold(class)
    }

    /// The classes that a sample is taken for, of so many.
    pub fn taken(&self, sample: usize, classes: usize) -> Vec<usize> {
        let rows = sample * classes..(sample + 1) * classes;
        let row = self.logits.get(rows).unwrap_or_default();
        let taken = (0..)
            .zip(row)
            .filter(|&(class, &z)| self.is_taken(class, z));
        taken.map(|(class, _)| class).collect()
    }

    /// The classes that a sample is of, of so many.
    pub fn own(&self, sample: usize, classes: usize) -> Vec<usize> {
        let rows = sample * classes..(sample + 1) * classes;
        let row = self.truth.get(rows).unwrap_or_default();
        (0..)
            .zip(row)
            .filter(|(_, own)| **own)
            .map(|(c, _)| c)
            .collect()
    }

    /// The logit of each sample for a class, and whether it is of that.
    fn column(&self, class: usize, classes: usize) -> Vec<(f32, bool)> {
        let logits = self.logits.iter().skip(class).step_by(classes.max(1));
        let truth = self.truth.iter().skip(class).step_by(classes.max(1));
        logits.copied().zip(truth.copied()).collect()
    }

    /// Rightly taken for, of, and taken for a class.
    fn counts(&self, class: usize, classes: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for (logit, own) in self.column(class, classes) {
            let taken = self.is_taken(class, logit);
            counts[0] += usize::from(own && taken);
            counts[1] += usize::from(own);
            counts[2] += usize::from(taken);
        }
        counts
    }

    /// See [`Score::micro_f1`](super::Score::micro_f1).
    pub(super) fn micro_f1(&self) -> f64 {
        let classes = self.classes();
        let mut all = [0; 3];
        for class in 0..classes {
            let counts = self.counts(class, classes);
            all.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        ClassScore::of(all).f1
    }

    /// What was told of each row.
    fn classes(&self) -> usize {
        self.thresholds.len()
    }

    pub(super) fn class_scores(&self, classes: usize) -> Vec<ClassScore> {
        let of = |class: usize| ClassScore {
            average_precision: average_precision(&self.column(class, classes)),
            threshold: Some(self.threshold(class)),
            ..ClassScore::of(self.counts(class, classes))
        };
        (0..classes).map(of).collect()
    }

    fn matches(&self, sample: usize, classes: usize) -> bool {
        self.taken(sample, classes) == self.own(sample, classes)
    }
}

impl Predictions {
    /// Of samples that may have several labels: `logits` are row-major [samples, classes], `sets` the classes of each,
    /// rising.
    pub fn of_sets(logits: &[f32], sets: &[&[u32]], classes: usize) -> Self {
        let mut predictions = Predictions {
            classes,
            several: Some(Several::default()),
            ..Predictions::default()
        };
        for (row, set) in logits.chunks(classes.max(1)).zip(sets) {
            predictions.push_several(row, set);
        }
        predictions
    }

    /// Takes up those of other samples of the same classes.
    pub fn extend(&mut self, others: Predictions) {
        self.samples.extend(others.samples);
        match (&mut self.several, others.several) {
            (Some(several), Some(others)) => {
                several.logits.extend(others.logits);
                several.truth.extend(others.truth);
            }
            (own, others) => *own = own.take().or(others),
        }
    }

    /// Takes up a sample of the classes `set`, rising, with these logits.
    pub(crate) fn push_several(&mut self, logits: &[f32], set: &[u32]) {
        self.classes = logits.len();
        let several = self.several.get_or_insert_default();
        several.thresholds.resize(logits.len(), EVEN);
        let before = several.truth.len();
        several.logits.extend_from_slice(logits);
        several.truth.resize(several.logits.len(), false);
        for &class in set {
            if let Some(own) = several.truth.get_mut(before + class as usize) {
                *own = true;
            }
        }
        let predicted = argmax(logits);
        let probability = logits
            .get(predicted)
            .map_or(0.0, |&z| sigmoid(f64::from(z)));
        self.samples.push(Prediction {
            label: set.first().map_or(-1, |&class| i64::from(class)),
            predicted,
            is_decided: !logits.iter().any(|z| z.is_nan()),
            log_probability: -binary_loss(logits, set, 1.0),
            probability,
            matches: Some(several.matches(self.samples.len(), logits.len())),
            tempered: independent(logits, set),
        });
    }

    /// For each class the probability from which on samples are best taken for it: that with the highest F1, half-way
    /// (by logits) between the samples that it parts; of equal ones the highest, and 1/2 of a class without a sample.
    pub fn best_thresholds(&self) -> Option<Vec<f64>> {
        let several = self.several.as_ref()?;
        let best = |class| best_threshold(several.column(class, self.classes));
        Some((0..self.classes).map(best).collect())
    }

    /// The same with other thresholds: only where samples may have several labels.
    #[must_use]
    pub fn with_thresholds(mut self, thresholds: &[f64]) -> Self {
        if let Some(several) = &mut self.several {
            let own = several.thresholds.iter_mut().zip(thresholds);
            own.for_each(|(own, &given)| *own = given);
            for (place, sample) in self.samples.iter_mut().enumerate() {
                sample.matches = Some(several.matches(place, self.classes));
            }
        }
        self
    }
}

/// Sorts by falling logit; what is not a number comes last.
fn ranked(column: &mut [(f32, bool)]) {
    let key = |z: f32| if z.is_nan() { f32::NEG_INFINITY } else { z };
    column.sort_by(|(a, _), (b, _)| key(*b).total_cmp(&key(*a)));
}

/// See [`ClassScore::average_precision`].
fn average_precision(column: &[(f32, bool)]) -> Option<f64> {
    let mut column = column.to_vec();
    ranked(&mut column);
    let own = column.iter().filter(|(_, own)| *own).count();
    let (mut sum, mut hits, mut before) = (0.0, 0, 0);
    for (place, &(logit, is_own)) in column.iter().enumerate() {
        hits += usize::from(is_own);
        // Equal ones are told apart by no threshold.
        if column.get(place + 1).is_none_or(|(next, _)| *next != logit) {
            let precision = hits as f64 / (place + 1) as f64;
            sum += (hits - before) as f64 * precision;
            before = hits;
        }
    }
    (own > 0).then(|| sum / own as f64)
}

fn best_threshold(mut column: Vec<(f32, bool)>) -> f64 {
    ranked(&mut column);
    let own = column.iter().filter(|(_, own)| *own).count();
    let (mut best, mut threshold) = (0.0, EVEN);
    let mut hits = 0;
    for (place, &(logit, is_own)) in column.iter().enumerate() {
        hits += usize::from(is_own);
        let next = column.get(place + 1).map(|&(next, _)| next);
        if next == Some(logit) {
            continue;
        }
        let f1 = 2.0 * hits as f64 / (place + 1 + own) as f64;
        if f1 > best {
            best = f1;
            threshold = match next {
                Some(next) => sigmoid((f64::from(logit) + f64::from(next)) / 2.0),
                None => sigmoid(f64::from(logit)) / 2.0,
            };
        }
    }
    if threshold.is_finite() {
        threshold
    } else {
        EVEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four samples of two classes.
    const LOGITS: [f32; 8] = [2.0, -3.0, 0.5, -1.0, -0.5, -2.0, -4.0, 1.0];
    const SETS: [&[u32]; 4] = [&[0], &[0, 1], &[], &[0]];

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let predictions = Predictions::of_sets(&LOGITS, &SETS, 2);
        let score = predictions.score();
        // y = [[1,0],[1,1],[0,0],[1,0]]; predicted = [[1,0],[1,0],[0,0],[0,1]] at 1/2.
        assert_eq!(score.accuracy, 0.5);
        // average_precision_score: class 0 (1 + 1 + 3/4) / 3, class 1 1/2.
        let expected = ((1.0 + 1.0 + 0.75) / 3.0 + 0.5) / 2.0;
        assert!((score.average_precision.unwrap() - expected).abs() < 1e-12);
        // Class 0: 2 of 3 found, none wrong; class 1: none found, 1 wrong.
        assert!((score.macro_f1 - 0.8 / 2.0).abs() < 1e-12);
        assert!((score.micro_f1.unwrap() - 4.0 / 7.0).abs() < 1e-12);
        assert!((score.balanced_accuracy - (2.0 / 3.0) / 2.0).abs() < 1e-12);
        let loss = |z: f64, t: f64| (1.0 + (-z).exp()).ln() + (1.0 - t) * z;
        let truth = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0];
        let all = LOGITS
            .iter()
            .zip(truth)
            .map(|(&z, t)| loss(f64::from(z), t));
        assert!((score.loss - all.sum::<f64>() / 8.0).abs() < 1e-9);
        assert!(score.calibrated_loss <= score.loss);
        assert_eq!(predictions.wrong(), [1, 3]);
        assert!(predictions.confusion().is_empty());
        assert_eq!(predictions.several.as_ref().unwrap().own(1, 2), [0, 1]);
    }

    #[test]
    fn thresholds_have_the_highest_f1_and_decide() {
        let predictions = Predictions::of_sets(&LOGITS, &SETS, 2);
        let thresholds = predictions.best_thresholds().unwrap();
        // Class 0: all above -4 are 4 of which 3 are right; the first two alone give 0.8, all 6/7.
        assert_eq!(thresholds[0], sigmoid(-4.0) / 2.0);
        // Class 1: the first two of which one is right.
        assert!((thresholds[1] - sigmoid(-1.5)).abs() < 1e-12);
        let better = predictions.clone().with_thresholds(&thresholds);
        let [before, after] = [&predictions, &better].map(|p| p.score());
        assert!(after.macro_f1 > before.macro_f1);
        assert_eq!(after.average_precision, before.average_precision);
        assert_eq!(after.loss, before.loss);
        assert_eq!(better.class_scores()[0].recall, 1.0);
        assert_eq!(better.class_scores()[1].threshold, Some(thresholds[1]));
        let none = Predictions::of_sets(&[1.0, 2.0], &[&[], &[]], 1);
        assert_eq!(none.best_thresholds().unwrap(), [0.5]);
        assert_eq!(none.class_scores()[0].average_precision, None);
    }

    #[test]
    fn equal_logits_are_one_threshold_and_what_is_no_number_is_wrong() {
        let equal = Predictions::of_sets(&[1.0; 4], &[&[0], &[], &[0], &[]], 1);
        assert_eq!(equal.score().average_precision, Some(0.5));
        let bad = Predictions::of_sets(&[f32::NAN, 1.0], &[&[], &[0]], 1);
        assert!(bad.score().loss.is_nan());
        assert_eq!(bad.wrong(), [0]);
    }
}
