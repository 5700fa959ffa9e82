//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

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
}
