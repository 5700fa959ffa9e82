//! What a classifier's outputs say of samples, taken up batch by batch.

use std::borrow::Cow;

use crate::surgery::Scores;

use super::inference::probabilities;
use super::{Prediction, Predictions};

/// Keeps a few numbers of each sample, never its outputs.
///
/// What outputs are may show only by all of them together ([`Scores::of_values`]): as long as every sample
/// seen has probabilities by the look of it, its numbers are kept for both cases.
#[derive(Clone, Debug)]
pub struct Judge {
    scores: Scores,
    /// As they are if all samples have probabilities; `None` once one has not, or where it makes no
    /// difference.
    if_all: Option<Vec<Prediction>>,
    /// As they are otherwise.
    otherwise: Vec<Prediction>,
    classes: usize,
    not_finite: Vec<usize>,
    /// What is made of samples that may have several labels.
    several: Predictions,
    /// What a probability of 0 is taken for.
    least: f32,
}

impl Judge {
    /// Of outputs that are `scores` by the nodes that make them, see
    /// [`Inference::scores`](super::Inference::scores).
    pub fn new(scores: Scores) -> Self {
        let undecided = matches!(scores, Scores::Logits | Scores::Bounded);
        Judge {
            scores,
            if_all: undecided.then(Vec::new),
            otherwise: Vec::new(),
            classes: 0,
            not_finite: Vec::new(),
            several: Predictions::default(),
            least: f32::MIN_POSITIVE,
        }
    }

    /// Of a model that [computes in float16](super::Inference::is_half), whose probability of 0 is any below the
    /// smallest number of that type, and is taken for that number, not for the far smaller one of float32.
    #[must_use]
    pub fn half(mut self, is_half: bool) -> Self {
        if is_half {
            self.least = half::f16::MIN_POSITIVE_SUBNORMAL.to_f32();
        }
        self
    }

    /// Takes up a batch: its outputs, row by row, the number of classes, and the samples' labels.
    pub fn take(&mut self, outputs: &[f32], classes: usize, labels: &[i64]) {
        self.classes = classes;
        let otherwise = self.scores.of_values(&[], classes);
        for (row, &label) in outputs.chunks(classes.max(1)).zip(labels) {
            if let Some(all) = &mut self.if_all {
                match self.scores.of_values(row, classes) {
                    told @ Scores::Probabilities => {
                        all.push(Prediction::of(&logits(told, row, self.least), label));
                    }
                    _ => self.if_all = None,
                }
            }
            if probabilities(otherwise, row).iter().any(|p| !p.is_finite()) {
                self.not_finite.push(self.otherwise.len());
            }
            let prediction = Prediction::of(&logits(otherwise, row, self.least), label);
            self.otherwise.push(prediction);
        }
    }

    /// As [`Judge::take`], of samples that may have several labels: `sets` are the classes of each, rising. Each class
    /// is judged by itself: outputs that are logits by their sigmoid.
    pub fn take_sets(&mut self, outputs: &[f32], classes: usize, sets: &[Vec<u32>]) {
        self.classes = classes;
        self.if_all = None;
        let scores = match self.scores {
            Scores::Logits | Scores::LogProbabilities | Scores::IndependentLogits => Scores::Logits,
            Scores::Probabilities | Scores::Independent | Scores::Bounded => Scores::Independent,
        };
        for (row, set) in outputs.chunks(classes.max(1)).zip(sets) {
            if row.iter().any(|value| !value.is_finite()) {
                self.not_finite.push(self.several.samples.len());
            }
            let logits = logits(scores, row, self.least);
            self.several.push_several(&logits, set);
        }
    }

    /// The samples whose outputs are no probabilities, or make none, by their place: they are not finite.
    pub fn not_finite(&self) -> &[usize] {
        &self.not_finite
    }

    /// What the model makes of all samples. Probabilities are taken for their logarithms, those of a sigmoid
    /// for their log-odds, the softmax of which is the probability of each class where exactly one applies.
    pub fn end(self) -> Predictions {
        if self.several.several.is_some() {
            return self.several;
        }
        Predictions {
            several: None,
            samples: self.if_all.unwrap_or(self.otherwise),
            classes: self.classes,
        }
    }
}

/// A row as logits, where a probability of 0 is `least`.
fn logits(scores: Scores, row: &[f32], least: f32) -> Cow<'_, [f32]> {
    // `max` would make a number of what is none.
    let log = |p: f32| match p.is_nan() {
        true => p,
        false => p.max(least).ln(),
    };
    match scores {
        Scores::Logits | Scores::LogProbabilities | Scores::IndependentLogits => row.into(),
        Scores::Probabilities => row.iter().map(|&p| log(p)).collect(),
        Scores::Independent | Scores::Bounded => {
            row.iter().map(|&p| log(p) - log(1.0 - p)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Scores; 5] = [
        Scores::Logits,
        Scores::LogProbabilities,
        Scores::Probabilities,
        Scores::Independent,
        Scores::Bounded,
    ];

    /// Rows of two classes that are probabilities, and rows that are not.
    const FITTING: [f32; 6] = [0.25, 0.75, 1.0, 0.0, 0.5, 0.5];
    const OTHERS: [[f32; 2]; 3] = [[0.5, 0.25], [2.0, -1.0], [f32::NAN, 0.5]];

    /// What all outputs together say, read as one: the definition.
    fn at_once(scores: Scores, outputs: &[f32], labels: &[i64]) -> Predictions {
        let reading = scores.of_values(outputs, 2);
        let all: Vec<f32> = outputs
            .chunks(2)
            .flat_map(|row| logits(reading, row, f32::MIN_POSITIVE).into_owned())
            .collect();
        Predictions::of(&all, labels, 2)
    }

    fn same(a: &Predictions, b: &Predictions) -> bool {
        // Not a number is equal to itself here.
        format!("{a:?}") == format!("{b:?}")
    }

    #[test]
    fn samples_one_by_one_come_to_what_all_outputs_say_together() {
        for scores in KINDS {
            for place in 0..4 {
                for other in OTHERS.iter().map(Some).chain([None]) {
                    let mut outputs = FITTING.to_vec();
                    if let Some(other) = other {
                        outputs.splice(2 * place..2 * place, *other);
                    }
                    let labels: Vec<i64> = (0..outputs.len() as i64 / 2).map(|i| i % 2).collect();
                    for batch in [1, 3] {
                        let mut judge = Judge::new(scores);
                        for (rows, labels) in outputs.chunks(2 * batch).zip(labels.chunks(batch)) {
                            judge.take(rows, 2, labels);
                        }
                        let is_nan = |row: &[f32]| row.iter().any(|v| v.is_nan());
                        let expected: Vec<usize> = (0..labels.len())
                            .filter(|i| is_nan(&outputs[2 * i..][..2]))
                            .collect();
                        assert_eq!(judge.not_finite(), expected);
                        let all = at_once(scores, &outputs, &labels);
                        let got = judge.end();
                        assert!(same(&got, &all), "{scores:?} {outputs:?}\n{got:?}\n{all:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_classes() {
        let classes = 10_000;
        let mut judge = Judge::new(Scores::Logits);
        let mut row = vec![0.0; classes];
        row[7] = 1.0;
        // Probabilities by the look of them, so that both cases are kept.
        for _ in 0..100 {
            judge.take(&row, classes, &[7]);
        }
        let kept = judge.otherwise.capacity() + judge.if_all.as_ref().map_or(0, Vec::capacity);
        assert!(kept * size_of::<Prediction>() < 4 * classes, "{kept}");
        row[7] = 2.0;
        judge.take(&row, classes, &[7]);
        assert!(judge.if_all.is_none(), "it is decided");
        assert_eq!(judge.end().score().accuracy, 1.0);
    }

    /// A sample of a probability that float16 has no number for: e^−17.3 or less is 0.
    #[test]
    fn a_probability_that_float16_rounds_to_0_costs_what_the_smallest_one_does() {
        let loss = |is_half| {
            let mut judge = Judge::new(Scores::Probabilities).half(is_half);
            judge.take(&[1.0, 0.0], 2, &[1]);
            judge.end().score().loss
        };
        assert!(
            (loss(true) - 24.0 * 2f64.ln()).abs() < 1e-3,
            "{}",
            loss(true)
        );
        assert!(
            (loss(false) - 126.0 * 2f64.ln()).abs() < 1e-3,
            "{}",
            loss(false)
        );
    }
}
