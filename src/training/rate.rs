//! Finding a learning rate by trying some.

use serde::{Deserialize, Serialize};

use super::OptimizerKind;

/// A learning rate that a trial has tried: what some samples that no step read make of the network after a few
/// steps that rise to it and fall to 0.
///
/// A trial begins with the rate that its optimizer usually has, tries higher ones as long as none does harm, or else
/// lower ones, and takes the highest that does none: after which the loss is little above the least, a tenth or, where
/// so long a training follows that it mends more, up to three tenths; where layers of the first half of the network train,
/// a tenth. (That of the least loss would be too low: what a
/// rate is worth shows later than what it breaks.) What chooses for each sample between tuned and frozen stays as it begins
/// meanwhile. The steps are the first
/// ones of its training, the same for every rate and always from the same parameters; the samples are some of those
/// that validate, or, where there are none, some of those that it trains on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedRate {
    /// The rate.
    pub rate: f32,
    /// Mean cross-entropy of the samples, at the temperature that fits them best; infinite where training diverged, also
    /// later than in these steps, or came to nothing.
    #[serde(with = "crate::classifier::figure")]
    pub loss: f64,
}

/// What the usual rate of an optimizer is multiplied by.
const LADDER: [f64; 7] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Where on the ladder a trial begins.
const BEGIN: usize = 2;
/// Steps by which a rate is tried: as many as the trial has, so many at most.
const STEPS: usize = 48;
/// How far above the least a loss may be, as a share of it: for a training as long as the test of a rate, and at most.
/// Both are fitted to what rates came to on two sizes of data (docs/recipe.md, "The rate").
const MENDED: f64 = 0.035;
const MOST_MENDED: f64 = 0.3;
/// The same where layers of the first half of the network train, whose harm all others see: docs/recipe.md, "The rate".
const MOST_MENDED_DEEP: f64 = 0.1;

/// How rates are tried for a training of so many steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trying {
    kind: OptimizerKind,
    /// Steps with each.
    pub steps: usize,
    /// What the least loss is multiplied by for the highest that does no harm.
    harm: f64,
}

impl Trying {
    /// Rates that are tried, at most: the usual one and all above it. (Below it are fewer.)
    pub const MOST: usize = LADDER.len() - BEGIN;
    /// Samples that tell what a rate has come to, at most.
    pub const JUDGES: usize = 256;

    /// For a training of `total` steps, of layers of the first half of the network or of the other alone.
    pub fn of(kind: OptimizerKind, total: usize, is_deep: bool) -> Self {
        let steps = total.clamp(1, STEPS);
        let mended = MENDED * total as f64 / steps as f64;
        Trying {
            kind,
            steps,
            harm: 1.0
                + mended.min(match is_deep {
                    true => MOST_MENDED_DEEP,
                    false => MOST_MENDED,
                }),
        }
    }

    /// The rate to try next; `None` where enough are tried.
    pub fn next(&self, tried: &[TriedRate]) -> Option<f32> {
        let rate = |place: usize| (self.kind.usual_rate() * LADDER[place]) as f32;
        let loss = |place: usize| {
            let tried = tried.iter().find(|t| t.rate == rate(place))?;
            Some(tried.loss)
        };
        let mut least = f64::INFINITY;
        let mut highest = None;
        for place in BEGIN..LADDER.len() {
            let Some(here) = loss(place) else {
                return Some(rate(place));
            };
            least = least.min(here);
            if self.is_harm(here, least) {
                break;
            }
            highest = Some(place);
        }
        if highest > Some(BEGIN) {
            return None;
        }
        for place in (0..BEGIN).rev() {
            let Some(here) = loss(place) else {
                return Some(rate(place));
            };
            least = least.min(here);
            if loss(place + 1).is_some_and(|above| !self.is_harm(above, least)) {
                break;
            }
        }
        None
    }

    /// Whether a loss is too far above the least.
    fn is_harm(&self, loss: f64, least: f64) -> bool {
        !loss.is_finite() || loss > self.harm * least
    }

    /// The rate that is taken of those that were tried: the highest that does no harm, or where all diverged the lowest.
    pub fn best(&self, tried: &[TriedRate]) -> Option<f32> {
        let least = tried.iter().map(|t| t.loss).fold(f64::INFINITY, f64::min);
        let harmless = tried.iter().filter(|t| !self.is_harm(t.loss, least));
        let highest = harmless.map(|t| t.rate).max_by(f32::total_cmp);
        highest.or_else(|| tried.iter().map(|t| t.rate).min_by(f32::total_cmp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried where a rate has this loss, and the one that is taken.
    fn climbed(kind: OptimizerKind, loss: impl Fn(f32) -> f64) -> (Vec<f32>, f32) {
        let trying = Trying::of(kind, 3 * STEPS, false);
        let mut tried = Vec::new();
        while let Some(rate) = trying.next(&tried) {
            assert!(tried.iter().all(|t: &TriedRate| t.rate != rate), "{rate}");
            let loss = loss(rate);
            tried.push(TriedRate { rate, loss });
        }
        let rates = tried.iter().map(|t| t.rate).collect();
        (rates, trying.best(&tried).unwrap())
    }

    #[test]
    fn higher_rates_are_tried_while_they_do_no_harm_and_else_lower_ones() {
        let at = |best: f32| move |rate: f32| 1.0 + f64::from((rate / best).ln().abs());
        let adam = |best| climbed(OptimizerKind::Adamw, at(best));
        assert_eq!(adam(1e-3), (vec![1e-4, 3e-4, 1e-3, 3e-3], 1e-3));
        assert_eq!(adam(1e-4), (vec![1e-4, 3e-4, 3e-5], 1e-4));
        assert_eq!(adam(1e-6), (vec![1e-4, 3e-4, 3e-5, 1e-5], 1e-5));
        assert_eq!(adam(1.0), (vec![1e-4, 3e-4, 1e-3, 3e-3, 1e-2], 1e-2));
        let sgd = climbed(OptimizerKind::Sgd, at(3e-2));
        assert_eq!(sgd, (vec![1e-2, 3e-2, 1e-1], 3e-2));
        // A little worse is no harm, and where all diverge the lowest is taken.
        let flat = climbed(
            OptimizerKind::Adam,
            |rate| if rate > 2e-4 { 1.05 } else { 1.0 },
        );
        assert_eq!(flat, (vec![1e-4, 3e-4, 1e-3, 3e-3, 1e-2], 1e-2));
        let diverged = climbed(OptimizerKind::Adam, |_| f64::INFINITY);
        assert_eq!(diverged, (vec![1e-4, 3e-5, 1e-5], 1e-5));
    }

    #[test]
    fn a_longer_training_mends_more() {
        let rises = |rate: f32| if rate > 2e-4 { 1.2 } else { 1.0 };
        let taken = |total, is_deep| {
            let trying = Trying::of(OptimizerKind::Adamw, total, is_deep);
            let tried = [1e-4, 3e-4].map(|rate| TriedRate {
                rate,
                loss: rises(rate),
            });
            (trying.steps, trying.best(&tried).unwrap())
        };
        assert_eq!(taken(20, false), (20, 1e-4));
        assert_eq!(taken(144, false), (48, 1e-4));
        assert_eq!(taken(414, false), (48, 3e-4));
        // What early layers lose is mended by none behind them.
        assert_eq!(taken(414, true), (48, 1e-4));
        let most = Trying::of(OptimizerKind::Adamw, usize::MAX, false).harm;
        assert!((most - 1.3).abs() < 1e-9);
    }
}
