//! The temperature that fits a model's logits to some samples.
//!
//! A network that is trained on few samples becomes surer of itself than it is right: its loss rises while it takes
//! more samples for what they are. Divided by a temperature that is chosen on the samples themselves, logits of two
//! networks can be compared by their loss.
//! Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2; that losses are compared so:
//! Ashukha et al., "Pitfalls of In-Domain Uncertainty Estimation and Ensembling in Deep Learning", 2020, section 4.

/// Temperatures that are looked at, by which logits are divided: 1/4, …, 1, …, 8, each 2^(1/4) times the one before.
pub(super) const COUNT: usize = 21;
/// Of these the one that is 1.
const ONE: i32 = 8;

/// Logarithm of the softmax of logits at the place `label`, at each temperature; minus infinity for a label that is no
/// class.
pub(super) fn log_probabilities(logits: &[f32], label: i64) -> [f32; COUNT] {
    let at = usize::try_from(label).ok().and_then(|l| logits.get(l));
    let Some(&at) = at else {
        return [f32::NEG_INFINITY; COUNT];
    };
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let distances = logits.iter().map(|&z| f64::from(z) - f64::from(top));
    // Far behind the first at every temperature, most of many classes add nothing.
    let near: Vec<f64> = distances.filter(|d| d.is_nan() || *d > -400.0).collect();
    std::array::from_fn(|place| {
        let cold = 1.0 / temperature(place);
        let total: f64 = near.iter().map(|d| (d * cold).exp()).sum();
        ((f64::from(at) - f64::from(top)) * cold - total.ln()) as f32
    })
}

/// Minus the mean [binary cross-entropy](binary_loss) of logits of a sample that is of the classes `set`, at each
/// temperature.
pub(super) fn independent(logits: &[f32], set: &[u32]) -> [f32; COUNT] {
    std::array::from_fn(|place| -binary_loss(logits, set, 1.0 / temperature(place)) as f32)
}

/// The mean over classes of the binary cross-entropy of logits, times `factor`, of a sample that is of the classes
/// `set`, rising: `ln(1 + e^−|z|) + max(z, 0) − z t`.
pub(super) fn binary_loss(logits: &[f32], set: &[u32], factor: f64) -> f64 {
    let mut own = set.iter().peekable();
    let mut sum = 0.0;
    for (class, &z) in (0..).zip(logits) {
        let z = f64::from(z) * factor;
        let is_own = own.next_if_eq(&&class).is_some();
        // Not a number is none of the two.
        let side = if z > 0.0 || z.is_nan() { z } else { 0.0 };
        sum += (-z.abs()).exp().ln_1p() + side - if is_own { z } else { 0.0 };
    }
    sum / logits.len().max(1) as f64
}

fn temperature(place: usize) -> f64 {
    2f64.powf(f64::from(place as i32 - ONE) / 4.0)
}

/// The place of the temperature at which the mean loss is the lowest; that of 1 where none is finite.
pub(super) fn best<'a>(samples: impl Iterator<Item = &'a [f32; COUNT]>) -> usize {
    let mut sums = [0f64; COUNT];
    for sample in samples {
        sums.iter_mut()
            .zip(sample)
            .for_each(|(sum, &log)| *sum -= f64::from(log));
    }
    let finite = (0..COUNT).filter(|&place| sums[place].is_finite());
    finite
        .min_by(|&a, &b| sums[a].total_cmp(&sums[b]))
        .unwrap_or(ONE as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::Predictions;

    #[test]
    fn temperatures_are_those_that_are_said() {
        assert_eq!(temperature(0), 0.25);
        assert_eq!(temperature(ONE as usize), 1.0);
        assert_eq!(temperature(COUNT - 1), 8.0);
    }

    /// Logits times a power of two from 1/8 to 4 have the same loss at their own temperature, whatever it is at 1.
    #[test]
    fn a_model_that_is_surer_of_itself_has_the_same_calibrated_loss() {
        // One of four is wrong by as much as the others are right.
        let labels: Vec<i64> = (0..100).map(|i| i % 3).collect();
        let right = |i: i64| if i % 4 == 0 { (i + 1) % 3 } else { i % 3 };
        let rows = (0..100).flat_map(|i| (0..3).map(move |c| f32::from(u8::from(c == right(i)))));
        let logits: Vec<f32> = rows.collect();
        let score = |factor: f32| {
            let scaled: Vec<f32> = logits.iter().map(|z| z * factor).collect();
            Predictions::of(&scaled, &labels, 3).score()
        };
        let plain = score(1.0);
        assert!(plain.calibrated_loss < plain.loss);
        let sure = score(8.0);
        assert!(sure.loss > 1.5 * plain.loss, "{sure:?}");
        assert_eq!(sure.accuracy, plain.accuracy);
        let best = [4.0, 8.0].map(|factor| score(factor).calibrated_loss);
        assert!((best[0] - best[1]).abs() < 1e-6, "{best:?}");
    }

    #[test]
    fn at_1_it_is_the_loss_and_what_is_not_finite_stays_so() {
        let row = [0.5, -3.0, 2.0, 2.0, -900.0];
        let all = log_probabilities(&row, 1);
        let plain = crate::classifier::log_softmax(&row)[1];
        assert!((f64::from(all[ONE as usize]) - plain).abs() < 1e-6);
        let score = Predictions::of(&[1.0, 0.0], &[5], 2).score();
        assert_eq!(score.calibrated_loss, f64::INFINITY);
        let score = Predictions::of(&[f32::NAN, 0.0], &[0], 2).score();
        assert!(score.calibrated_loss.is_nan());
    }
}
