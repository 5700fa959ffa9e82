//! Optimizers, with the update rules of PyTorch.

use serde::{Deserialize, Serialize};

/// Which update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam, weight decay added to the gradient. Source: Kingma & Ba 2015, `torch.optim.Adam`.
    Adam,
    /// Adam with decoupled weight decay. Source: Loshchilov & Hutter 2019, `torch.optim.AdamW`.
    Adamw,
    /// Stochastic gradient descent with momentum. Source: `torch.optim.SGD`.
    Sgd,
}

impl std::str::FromStr for OptimizerKind {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "adam" => Ok(Self::Adam),
            "adamw" => Ok(Self::Adamw),
            "sgd" => Ok(Self::Sgd),
            _ => Err(format!("`{s}` is none of adam, adamw, sgd")),
        }
    }
}

/// An optimizer's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// The update rule.
    pub kind: OptimizerKind,
    /// Learning rate at the start.
    pub learning_rate: f32,
    /// Weight decay; 0 for none.
    pub weight_decay: f32,
    /// Momentum of SGD; 0 for none.
    pub momentum: f32,
}

/// Decay of Adam's mean of gradients.
const BETA1: f64 = 0.9;
/// Decay of Adam's mean of squared gradients.
const BETA2: f64 = 0.999;
/// Added to Adam's denominator.
const EPSILON: f32 = 1e-8;

/// What an optimizer remembers of one parameter.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Adam's mean of gradients, SGD's velocity; empty before the first step or if not kept.
    pub(super) first: Vec<f32>,
    /// Adam's mean of squared gradients; empty before the first step or if not kept.
    pub(super) second: Vec<f32>,
}

impl Optimizer {
    /// Which of the first and second moments it keeps.
    pub(super) fn kept_moments(&self) -> [bool; 2] {
        match self.kind {
            OptimizerKind::Sgd => [self.momentum != 0.0, false],
            OptimizerKind::Adam | OptimizerKind::Adamw => [true, true],
        }
    }

    /// Updates `parameter` in place by its `gradient`. `step` counts from 1; `learning_rate` is
    /// the schedule's present one.
    pub fn update(
        &self,
        step: u64,
        learning_rate: f32,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
    ) {
        // The same sums on wider vectors, where the processor has them.
        pulp::Arch::new().dispatch(|| match self.kind {
            OptimizerKind::Sgd => self.sgd(step, learning_rate, parameter, gradient, moments),
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                self.adam(step, learning_rate, parameter, gradient, moments);
            }
        });
    }

    /// v ← μ v + (g + λ p), p ← p − η v; at the first step v is the gradient itself.
    #[inline(always)]
    fn sgd(
        &self,
        step: u64,
        rate: f32,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
    ) {
        let (decay, momentum) = (self.weight_decay, self.momentum);
        if momentum == 0.0 {
            for (p, &g) in parameter.iter_mut().zip(gradient) {
                *p -= rate * (g + decay * *p);
            }
            return;
        }
        moments.first.resize(parameter.len(), 0.0);
        let momentum = if step == 1 { 0.0 } else { momentum };
        for ((p, &g), v) in parameter.iter_mut().zip(gradient).zip(&mut moments.first) {
            *v = momentum * *v + (g + decay * *p);
            *p -= rate * *v;
        }
    }

    /// m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², p ← p − η m̂ / (√v̂ + ε).
    #[inline(always)]
    fn adam(
        &self,
        step: u64,
        rate: f32,
        parameter: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
    ) {
        moments.first.resize(parameter.len(), 0.0);
        moments.second.resize(parameter.len(), 0.0);
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - BETA1.powi(power), 1.0 - BETA2.powi(power));
        let step_size = (f64::from(rate) / correction1) as f32;
        let inverse_root = (1.0 / correction2.sqrt()) as f32;
        let (beta1, beta2) = (BETA1 as f32, BETA2 as f32);
        let (rest1, rest2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        let decoupled = self.kind == OptimizerKind::Adamw;
        let added = if decoupled { 0.0 } else { self.weight_decay };
        let shrink = if decoupled {
            1.0 - rate * self.weight_decay
        } else {
            1.0
        };
        let state = moments.first.iter_mut().zip(&mut moments.second);
        for ((p, &g), (m, v)) in parameter.iter_mut().zip(gradient).zip(state) {
            let g = g + added * *p;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p = *p * shrink - step_size * *m / (v.sqrt() * inverse_root + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optimizer(kind: OptimizerKind) -> Optimizer {
        Optimizer {
            kind,
            learning_rate: 0.1,
            weight_decay: 0.5,
            momentum: 0.9,
        }
    }

    #[test]
    fn sgd_adds_decay_and_momentum() {
        let (mut p, mut m) = ([1.0], Moments::default());
        let sgd = optimizer(OptimizerKind::Sgd);
        sgd.update(1, 0.1, &mut p, &[2.0], &mut m); // v = 2.5
        assert!((p[0] - 0.75).abs() < 1e-6);
        sgd.update(2, 0.1, &mut p, &[2.0], &mut m); // v = 2.25 + 2.375
        assert!((p[0] - (0.75 - 0.4625)).abs() < 1e-6);
    }

    #[test]
    fn the_first_step_of_adam_has_the_length_of_the_learning_rate() {
        for (kind, expected) in [
            (OptimizerKind::Adam, 0.9),
            (OptimizerKind::Adamw, 0.95 - 0.1),
        ] {
            let (mut p, mut m) = ([1.0], Moments::default());
            optimizer(kind).update(1, 0.1, &mut p, &[3.0], &mut m);
            assert!((p[0] - expected).abs() < 1e-6, "{kind:?}: {}", p[0]);
        }
    }
}
