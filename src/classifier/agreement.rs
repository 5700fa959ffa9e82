//! Whether a file says what its network said in training.

use crate::surgery::Scores;

use super::{Outputs, log_softmax, softmax};

/// Largest difference of an output, in units of [`unit`]. In float16 a value is rounded by up to
/// 2^-11 = 5e-4 of itself at every node, which over some hundreds of nodes adds up to 1e-2 or so.
fn tolerance(half: bool) -> f64 {
    if half { 2e-2 } else { 1e-4 }
}

/// Holds what a written model gives for some samples against their logits in training, rows of `classes`; `half`: of a model
/// that computes in float16. The error says what differs.
pub(crate) fn outputs_agree(
    outputs: &Outputs,
    (logits, classes): (&[f32], usize),
    half: bool,
) -> Result<(), String> {
    if outputs.classes != classes || outputs.values.len() != logits.len() {
        return Err(format!(
            "it has {} classes instead of {classes}",
            outputs.classes
        ));
    }
    let expected = expected(outputs.scores, logits, classes);
    let (unit, tolerance) = (unit(outputs.scores, logits, half), tolerance(half));
    let least = least(outputs.scores, half);
    let difference = expected
        .iter()
        .zip(&outputs.values)
        .map(|(e, &o)| (e.max(least) - f64::from(o).max(least)).abs() / unit)
        // `max` would pass over a difference that is not a number.
        .fold(
            0.0,
            |top: f64, d| if d > top || d.is_nan() { d } else { top },
        );
    if difference.is_nan() || difference > tolerance {
        return Err(format!(
            "on {} samples its output differs from that in training by {:.2e}; {:.0e} is allowed",
            expected.len() / classes.max(1),
            difference * unit,
            tolerance * unit
        ));
    }
    Ok(())
}

/// Sums of squares: of differences from values that are wanted, and of these.
#[derive(Default)]
pub(crate) struct Squares {
    difference: f64,
    wanted: f64,
}

impl Squares {
    /// Adds values, each with what is wanted.
    pub fn add<W: Copy + Into<f64>>(&mut self, values: &[f32], wanted: &[W]) {
        for (&value, &wanted) in values.iter().zip(wanted) {
            let (value, wanted): (f64, f64) = (value.into(), wanted.into());
            self.difference += (value - wanted) * (value - wanted);
            self.wanted += wanted * wanted;
        }
    }

    /// The root of the first sum over that of the second; where nothing but 0 is wanted the root of the first.
    pub fn relative_error(&self) -> f64 {
        match self.wanted {
            0.0 => self.difference.sqrt(),
            wanted => (self.difference / wanted).sqrt(),
        }
    }
}

/// The [relative error](Squares::relative_error) of what a model gives for some samples, where that is wanted which one of these
/// logits, rows of `classes`, would give in its place. `None` where it has other classes.
pub(crate) fn relative_error(outputs: &Outputs, (logits, classes): (&[f32], usize)) -> Option<f64> {
    let expected = expected(outputs.scores, logits, classes);
    if outputs.classes != classes || outputs.values.len() != expected.len() {
        return None;
    }
    let mut squares = Squares::default();
    squares.add(&outputs.values, &expected);
    Some(squares.relative_error())
}

/// What a model gives whose logits are `logits`, rows of `classes`, if its output is of this kind.
fn expected(scores: Scores, logits: &[f32], classes: usize) -> Vec<f64> {
    let rows = logits.chunks(classes.max(1));
    let plain = || logits.iter().map(|&z| f64::from(z));
    match scores {
        Scores::Logits | Scores::IndependentLogits => plain().collect(),
        Scores::Probabilities => rows.flat_map(softmax).collect(),
        Scores::LogProbabilities => rows.flat_map(log_softmax).collect(),
        Scores::Independent | Scores::Bounded => {
            plain().map(|z| 1.0 / (1.0 + (-z).exp())).collect()
        }
    }
}

/// The smallest output that is told apart from smaller ones: the logarithm of a probability that underflows
/// where a softmax is taken before it is minus infinity.
fn least(scores: Scores, half: bool) -> f64 {
    match (scores, half) {
        (Scores::LogProbabilities, true) => f64::from(half::f16::MIN_POSITIVE).ln(),
        (Scores::LogProbabilities, false) => f64::from(f32::MIN_POSITIVE).ln(),
        _ => f64::NEG_INFINITY,
    }
}

/// What differences of outputs are measured in: for logits, and logarithms, the largest of them, for probabilities 1,
/// or more where logits are so large that their rounding alone moves a probability. Both are at
/// least 1.
fn unit(scores: Scores, logits: &[f32], half: bool) -> f64 {
    let largest = logits
        .iter()
        .fold(0.0, |top: f64, z| top.max(f64::from(*z).abs()));
    let unit = if matches!(
        scores,
        Scores::Probabilities | Scores::Independent | Scores::Bounded
    ) {
        // Two graphs of the same function round a logit apart by up to some 1e-6 of the largest, in
        // float16 some 2e-3; that much, and no more, a probability may move.
        largest / if half { 10.0 } else { 100.0 }
    } else {
        largest
    };
    unit.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_logits_widen_what_a_probability_may_differ_by() {
        for (logits, of_probabilities, of_logits) in [
            ([0.5, -0.25], 1.0, 1.0),
            ([8.0, -9.0], 1.0, 9.0),
            ([-1000.0, 20.0], 10.0, 1000.0),
        ] {
            assert_eq!(
                unit(Scores::Probabilities, &logits, false),
                of_probabilities
            );
            assert_eq!(unit(Scores::Logits, &logits, false), of_logits);
        }
    }
    #[test]
    fn an_output_is_held_against_what_its_kind_makes_of_the_logits() {
        let logits = [0.0, 3f32.ln(), -200.0, 0.0];
        let close = |scores, wanted: [f64; 4]| {
            let got = expected(scores, &logits, 2);
            let pairs = got.iter().zip(wanted);
            assert!(pairs.clone().all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}");
        };
        close(Scores::Logits, [0.0, 3f64.ln(), -200.0, 0.0]);
        close(Scores::Probabilities, [0.25, 0.75, 0.0, 1.0]);
        close(
            Scores::LogProbabilities,
            [0.25f64.ln(), 0.75f64.ln(), -200.0, 0.0],
        );
        // What is minus infinity in a file that takes the logarithm of a softmax is no difference.
        assert!(least(Scores::LogProbabilities, false) > -88.0);
    }
}
