//! Learning-rate schedules.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the learning rate changes in the course of a trial.
///
/// Below, η is the [learning rate](super::Optimizer::learning_rate), t the number of steps that are done before a
/// step, T that of all steps of the trial and W that of its warm-up. With a warm-up, the rate of the first W steps is
/// that of the schedule times `(t + 1) / W` ([`Schedule::OneCycle`] has a rise of its own instead).
/// Source: `torch.optim.lr_scheduler.LinearLR` with `start_factor` 1/W and `total_iters` W − 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Schedule {
    /// η at every step.
    Constant,
    /// Lower whenever the validation score has not become better for some epochs.
    Plateau(Plateau),
    /// Half a wave of a cosine, from η to a floor φ, behind the warm-up:
    ///
    /// `η (φ + (1 − φ) (1 + cos(π (t − W) / (T − W))) / 2)`.
    ///
    /// Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without
    /// restarts; `torch.optim.lr_scheduler.CosineAnnealingLR` with `T_max` T − W, stepped after each batch.
    Cosine(Cosine),
    /// Half a wave from η/25 up to η, which is reached by the step of t = R − 1, and another down to η/250,000 at
    /// the last. R, the steps of the rise, is W, or without a warm-up 0.3 T. Momentum stays as it is.
    ///
    /// Source: Smith and Topin, "Super-Convergence", 2018; `torch.optim.lr_scheduler.OneCycleLR` with
    /// `cycle_momentum=False`.
    OneCycle,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule::Cosine(Cosine::default())
    }
}

/// Reduce on plateau: the learning rate is multiplied by `factor` when more than `patience` epochs in a row
/// have ended without the best validation score so far; then counting begins anew. Which of two scores is
/// better says [`Monitor`](super::Monitor), and any improvement counts.
///
/// With `patience` 3 the rate falls after the fourth such epoch, as in PyTorch; Keras' callback of this
/// name falls after the third. Both ask for a least improvement (1e-4), which this does not.
/// Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// Multiplier of the learning rate, below 1.
    pub factor: f32,
    /// Epochs without a better score that are let pass.
    pub patience: usize,
    /// The learning rate never falls below this.
    pub minimum: f32,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau {
            factor: 0.5,
            patience: 3,
            minimum: 1e-6,
        }
    }
}

/// See [`Schedule::Cosine`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// Share of the learning rate that it ends at, below 1; φ.
    pub floor: f32,
}

/// Share of the steps in which the rate of one cycle rises.
const RISE: f64 = 0.3;
/// The rate of one cycle begins at η divided by this, and ends at a ten-thousandth of that.
const BEGIN: f64 = 25.0;
const END: f64 = BEGIN * 1e4;

/// Where in a trial a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Steps that are done before it; t.
    pub done: usize,
    /// Steps of the trial; T.
    pub total: usize,
    /// Steps of the warm-up; W.
    pub warmup: usize,
}

impl Schedule {
    /// The names that [`Schedule::from_str`] reads.
    pub const NAMES: [&str; 4] = ["constant", "plateau", "cosine", "one-cycle"];

    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        let [constant, plateau, cosine, one_cycle] = Self::NAMES;
        match self {
            Schedule::Constant => constant,
            Schedule::Plateau(_) => plateau,
            Schedule::Cosine(_) => cosine,
            Schedule::OneCycle => one_cycle,
        }
    }

    /// Whether the rate of a step depends on how many there will be.
    pub fn has_length(&self) -> bool {
        matches!(self, Schedule::Cosine(_) | Schedule::OneCycle)
    }

    /// The rate of a step, where η is `learning_rate`; of a plateau what that has fallen to.
    pub fn rate(&self, learning_rate: f32, at: Place) -> f32 {
        let Place {
            done,
            total,
            warmup,
        } = at;
        let (t, last) = (done as f64, total.saturating_sub(1) as f64);
        let rising = (done < warmup).then(|| (t + 1.0) / warmup as f64);
        let factor = match self {
            Schedule::Constant | Schedule::Plateau(_) => rising.unwrap_or(1.0),
            Schedule::Cosine(Cosine { floor }) => rising.unwrap_or_else(|| {
                let falling = total.saturating_sub(warmup).max(1) as f64;
                half_wave(1.0, f64::from(*floor), (done - warmup) as f64 / falling)
            }),
            Schedule::OneCycle => {
                let rise = match warmup {
                    0 => RISE * total as f64,
                    warmup => warmup as f64,
                };
                let top = (rise - 1.0).min(last);
                match t < top {
                    true => half_wave(1.0 / BEGIN, 1.0, t / top),
                    false if last > top => half_wave(1.0, 1.0 / END, (t - top) / (last - top)),
                    false => 1.0,
                }
            }
        };
        (f64::from(learning_rate) * factor) as f32
    }
}

/// From `from` to `to`, as a cosine from 0 to π.
fn half_wave(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share.min(1.0)).cos()) / 2.0
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// A schedule with the defaults of its kind.
    fn from_str(name: &str) -> Result<Self, String> {
        let all = [
            Schedule::Constant,
            Schedule::Plateau(Plateau::default()),
            Schedule::Cosine(Cosine::default()),
            Schedule::OneCycle,
        ];
        let named = all.into_iter().find(|s| s.name() == name);
        named.ok_or_else(|| format!("`{name}` is none of {}", Self::NAMES.join(", ")))
    }
}

/// The state of a [`Plateau`] schedule.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct PlateauState {
    waited: usize,
}

impl PlateauState {
    /// The learning rate after an epoch; `is_best` says whether its score is the best so far.
    pub fn next(&mut self, plateau: &Plateau, is_best: bool, learning_rate: f32) -> f32 {
        if is_best {
            self.waited = 0;
            return learning_rate;
        }
        self.waited = self.waited.saturating_add(1);
        if self.waited <= plateau.patience {
            return learning_rate;
        }
        self.waited = 0;
        (learning_rate * plateau.factor).max(plateau.minimum.min(learning_rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_only_after_patience_is_spent() {
        let plateau = Plateau {
            factor: 0.1,
            patience: 1,
            minimum: 0.0,
        };
        let mut state = PlateauState::default();
        let rates: Vec<f32> = [true, false, false, true, false]
            .iter()
            .scan(1.0, |rate, &is_best| {
                *rate = state.next(&plateau, is_best, *rate);
                Some(*rate)
            })
            .collect();
        assert_eq!(rates, [1.0, 1.0, 0.1, 0.1, 0.1]);
    }

    fn rates(schedule: Schedule, total: usize, warmup: usize) -> Vec<f32> {
        let at = |done| Place {
            done,
            total,
            warmup,
        };
        (0..total).map(|t| schedule.rate(0.1, at(t))).collect()
    }

    fn assert_rates(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference < 1e-8, "{found} {expected}");
        }
    }

    /// The recurrence by which PyTorch computes it, which is another way to the same numbers:
    /// `η_{t+1} = (1 + cos(π (t+1)/T)) / (1 + cos(π t/T)) (η_t − η_min) + η_min`.
    #[test]
    fn a_cosine_is_that_of_pytorch() {
        let cosine = Schedule::Cosine(Cosine { floor: 0.05 });
        let (total, lowest) = (17, 0.005);
        let wave = |t: usize| 1.0 + (PI * t as f64 / total as f64).cos();
        let mut expected = vec![0.1];
        for t in 1..total {
            let last = expected[t - 1];
            expected.push(wave(t) / wave(t - 1) * (last - lowest) + lowest);
        }
        assert_rates(&rates(cosine, total, 0), &expected);
        // Whoever goes on beyond the end stays at the floor.
        let beyond = Place {
            done: 40,
            total,
            warmup: 0,
        };
        assert!((cosine.rate(0.1, beyond) - 0.005).abs() < 1e-9);
    }

    /// As `SequentialLR([LinearLR(1/4, total_iters=3), CosineAnnealingLR(T_max=6)], milestones=[4])`.
    #[test]
    fn a_warm_up_rises_linearly_and_the_schedule_begins_behind_it() {
        let wave = |t: f64| 0.05 * (1.0 + (PI * t / 6.0).cos());
        let expected = [
            0.025,
            0.05,
            0.075,
            0.1,
            0.1,
            wave(1.0),
            wave(2.0),
            wave(3.0),
            wave(4.0),
            wave(5.0),
        ];
        let cosine = Schedule::Cosine(Cosine::default());
        assert_rates(&rates(cosine, 10, 4), &expected);
        let constant = [0.025, 0.05, 0.075, 0.1, 0.1, 0.1];
        assert_rates(&rates(Schedule::Constant, 6, 4), &constant);
        assert_rates(
            &rates(Schedule::Plateau(Plateau::default()), 6, 4),
            &constant,
        );
        // Without one the rate is the same to the bit.
        let rate = Schedule::Constant.rate(
            0.1,
            Place {
                done: 0,
                total: 1,
                warmup: 0,
            },
        );
        assert_eq!(rate.to_bits(), 0.1f32.to_bits());
    }

    /// Made by the formulas of `OneCycleLR` for `max_lr=0.1, total_steps=10`, written out in Python: with
    /// `cos = lambda a, b, p: b + (a - b) / 2 * (math.cos(math.pi * p) + 1)` it is `cos(0.1 / 25, 0.1, t / 2)` for
    /// t to 2, its `end_step` of `0.3 * 10 - 1`, then `cos(0.1, 0.1 / 25e4, (t - 2) / 7)`.
    #[test]
    fn one_cycle_is_that_of_pytorch() {
        let expected = [
            0.004,
            0.052,
            0.1,
            0.09504846320,
            0.08117456540,
            0.06112620219,
            0.03887419781,
            0.01882583460,
            0.004951936799,
            4e-7,
        ];
        assert_rates(&rates(Schedule::OneCycle, 10, 0), &expected);
        // A warm-up is the rise: half of the steps.
        let half = rates(Schedule::OneCycle, 10, 5);
        assert_rates(&half[4..5], &[0.1]);
        assert!(half[..5].is_sorted() && half[4..].is_sorted_by(|a, b| a > b));
        assert_rates(&half[..1], &[0.004]);
        assert_rates(&half[9..], &[4e-7]);
    }

    #[test]
    fn whatever_the_numbers_of_steps_a_rate_is_between_0_and_the_highest() {
        for name in Schedule::NAMES {
            let schedule: Schedule = name.parse().unwrap();
            assert_eq!(schedule.to_string(), name);
            for total in 0..7 {
                for warmup in 0..9 {
                    for done in 0..9 {
                        let at = Place {
                            done,
                            total,
                            warmup,
                        };
                        let rate = schedule.rate(0.1, at);
                        assert!((0.0..=0.1).contains(&rate), "{name} {at:?}: {rate}");
                    }
                }
            }
        }
        assert!("linear".parse::<Schedule>().is_err());
    }
}
