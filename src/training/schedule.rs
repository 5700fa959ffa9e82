//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// Reduce on plateau: the learning rate is multiplied by `factor` when the watched validation
/// accuracy has not risen for more than `patience` epochs.
/// Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`, Keras `ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// Multiplier of the learning rate, below 1.
    pub factor: f32,
    /// Epochs without a better accuracy that are let pass.
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

/// The state of a [`Plateau`] schedule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PlateauState {
    #[serde(with = "super::checkpoint::bits")]
    best: f64,
    waited: usize,
}

impl Default for PlateauState {
    fn default() -> Self {
        PlateauState {
            best: f64::NEG_INFINITY,
            waited: 0,
        }
    }
}

impl PlateauState {
    /// The learning rate after an epoch that ended with `accuracy`.
    pub fn next(&mut self, plateau: &Plateau, accuracy: f64, learning_rate: f32) -> f32 {
        if accuracy > self.best {
            self.best = accuracy;
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
        let rates: Vec<f32> = [0.5, 0.5, 0.4, 0.6, 0.6]
            .iter()
            .scan(1.0, |rate, &a| {
                *rate = state.next(&plateau, a, *rate);
                Some(*rate)
            })
            .collect();
        assert_eq!(rates, [1.0, 1.0, 0.1, 0.1, 0.1]);
    }
}
