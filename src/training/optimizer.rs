//! Optimizers, with the update rules of PyTorch.

use std::iter::repeat;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::GradientValues;
use crate::choice::Choice;
use crate::runtime::denormals::FlushToZero;

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

impl std::fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Adam => "adam",
            Self::Adamw => "adamw",
            Self::Sgd => "sgd",
        })
    }
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

impl OptimizerKind {
    /// The learning rate that it usually has.
    pub(super) fn usual_rate(self) -> f64 {
        match self {
            OptimizerKind::Sgd => 1e-2,
            OptimizerKind::Adam | OptimizerKind::Adamw => 1e-4,
        }
    }
}

/// An optimizer's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// The update rule.
    pub kind: OptimizerKind,
    /// Learning rate at the start.
    pub learning_rate: Choice<f32>,
    /// Weight decay; 0 for none.
    pub weight_decay: f32,
    /// Momentum of SGD; 0 for none.
    pub momentum: f32,
}

impl Optimizer {
    /// This kind with what it usually has: a learning rate of 3e-4, of SGD 1e-2 and a momentum of 0.9; of AdamW a
    /// weight decay of 0.01, else none.
    pub fn new(kind: OptimizerKind) -> Self {
        Optimizer {
            kind,
            learning_rate: Choice::Given(kind.usual_rate() as f32),
            weight_decay: match kind {
                OptimizerKind::Adamw => 0.01,
                OptimizerKind::Adam | OptimizerKind::Sgd => 0.0,
            },
            momentum: 0.9,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::new(OptimizerKind::Adamw)
    }
}

/// Decay of Adam's mean of gradients.
pub(crate) const BETA1: f64 = 0.9;
/// Decay of Adam's mean of squared gradients.
pub(crate) const BETA2: f64 = 0.999;
/// Added to Adam's denominator.
pub(crate) const EPSILON: f32 = 1e-8;
/// Elements from which another thread pays.
const MANY: usize = 1 << 16;

/// What an optimizer remembers of one parameter.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Adam's mean of gradients, SGD's velocity; empty before the first step or if not kept.
    pub(crate) first: Vec<f32>,
    /// Adam's mean of squared gradients; empty before the first step or if not kept.
    pub(crate) second: Vec<f32>,
}

/// What the updates of one step go by.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The step, from 1.
    pub step: u64,
    /// The learning rate that the schedule has come to.
    pub learning_rate: f32,
    /// The gradient is multiplied by this.
    pub scale: f32,
    /// What weight decay pulls the parameter to, an element for each of its own; `None` for 0.
    pub towards: Option<&'a [f32]>,
}

impl Optimizer {
    /// Which of the first and second moments it keeps.
    pub(crate) fn kept_moments(&self) -> [bool; 2] {
        match self.kind {
            OptimizerKind::Sgd => [self.momentum != 0.0, false],
            OptimizerKind::Adam | OptimizerKind::Adamw => [true, true],
        }
    }

    /// The rate that it begins with, the usual one where a trial is to find it.
    pub(super) fn first_rate(&self) -> f32 {
        let given = self.learning_rate.given();
        given.unwrap_or(self.kind.usual_rate() as f32)
    }

    /// How many values it remembers of each that is trained.
    pub fn moments(&self) -> usize {
        self.kept_moments().into_iter().filter(|&kept| kept).count()
    }

    /// Updates `parameter` in place by its `gradient`, a large one on `threads` threads (0 for all
    /// cores).
    pub fn update(
        &self,
        at: Update<'_>,
        parameter: &mut [f32],
        gradient: GradientValues<'_>,
        moments: &mut Moments,
        threads: usize,
    ) {
        let [first, second] = self.kept_moments();
        let Moments {
            first: m,
            second: v,
        } = moments;
        for (moment, kept) in [(&mut *m, first), (&mut *v, second)] {
            moment.resize(if kept { parameter.len() } else { 0 }, 0.0);
        }
        let rule = Rule::new(self, at);
        let towards = at.towards;
        let threads = match threads {
            0 => rayon::current_num_threads(),
            threads => threads,
        };
        let count = threads.min(parameter.len() / MANY).max(1);
        let (mut p, mut m, mut v) = (parameter, m.as_mut_slice(), v.as_mut_slice());
        let parts = gradient.parts(p.len(), count);
        if count == 1 {
            return parts.for_each(|part| rule.update((part, towards), p, gradient, [m, v]));
        }
        rayon::scope(|scope| {
            for part in parts {
                let own_p = split_off(&mut p, part.len());
                let state = [split_off(&mut m, part.len()), split_off(&mut v, part.len())];
                scope.spawn(move |_| rule.update((part, towards), own_p, gradient, state));
            }
        });
    }
}

/// The first `len` elements, which `slice` loses; none of a moment that is not kept.
fn split_off<'a>(slice: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    slice.split_off_mut(..len).unwrap_or_default()
}

/// An update rule with the numbers of one step.
#[derive(Clone, Copy)]
struct Rule {
    form: Form,
    /// Multiplies g.
    scale: f32,
}

/// With w for what the parameter decays to, 0 where nothing is said.
#[derive(Clone, Copy)]
enum Form {
    /// p ← p − η (g + λ (p − w))
    Plain { rate: f32, decay: f32 },
    /// v ← μ v + (g + λ (p − w)), p ← p − η v; at the first step v is the gradient itself.
    Momentum {
        rate: f32,
        decay: f32,
        momentum: f32,
    },
    /// m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², p ← p − c (p − w) − η m̂ / (√v̂ + ε), where either g has the
    /// decay in it or c is η λ.
    Adam {
        added: f32,
        cut: f32,
        step_size: f32,
        inverse_root: f32,
    },
}

impl Rule {
    fn new(optimizer: &Optimizer, at: Update<'_>) -> Self {
        Rule {
            form: Form::new(optimizer, at.step, at.learning_rate),
            scale: at.scale,
        }
    }

    /// Updates `parameter`, the elements `part` of one, by that part of its gradient; all of it decays `towards` this.
    fn update(
        self,
        (part, towards): (Range<usize>, Option<&[f32]>),
        parameter: &mut [f32],
        gradient: GradientValues<'_>,
        [first, second]: [&mut [f32]; 2],
    ) {
        let _flush = FlushToZero::new();
        let arch = pulp::Arch::new();
        gradient.pieces(part.clone(), |start, g| {
            let here = start - part.start..start - part.start + g.len();
            let p = &mut parameter[here.clone()];
            let m = first.get_mut(here.clone()).unwrap_or_default();
            let v = second.get_mut(here).unwrap_or_default();
            // The same sums on wider vectors, where the processor has them.
            match towards.map(|w| &w[start..start + g.len()]) {
                None => arch.dispatch(|| self.apply::<false>(p, g, repeat(0.0), [m, v])),
                Some(w) => arch.dispatch(|| self.apply::<true>(p, g, w.iter().copied(), [m, v])),
            }
        });
    }

    /// `TOWARDS`: whether there is anything but 0 in `towards`.
    #[inline(always)]
    fn apply<const TOWARDS: bool>(
        self,
        parameter: &mut [f32],
        gradient: &[f32],
        towards: impl Iterator<Item = f32>,
        [first, second]: [&mut [f32]; 2],
    ) {
        let gradient = gradient.iter().map(|g| self.scale * g);
        let all = parameter.iter_mut().zip(gradient).zip(towards);
        match self.form {
            Form::Plain { rate, decay } => {
                for ((p, g), w) in all {
                    *p -= rate * (g + decay * (*p - w));
                }
            }
            Form::Momentum {
                rate,
                decay,
                momentum,
            } => {
                for (((p, g), w), v) in all.zip(first) {
                    *v = momentum * *v + (g + decay * (*p - w));
                    *p -= rate * *v;
                }
            }
            Form::Adam {
                added,
                cut,
                step_size,
                inverse_root,
            } => {
                let (beta1, beta2) = (BETA1 as f32, BETA2 as f32);
                let (rest1, rest2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
                let state = first.iter_mut().zip(second);
                for (((p, g), w), (m, v)) in all.zip(state) {
                    let g = g + added * (*p - w);
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    let decayed = match TOWARDS {
                        // As PyTorch rounds it.
                        false => *p * (1.0 - cut),
                        // What is where it decays to stays there to the bit.
                        true => *p - cut * (*p - w),
                    };
                    *p = decayed - step_size * *m / (v.sqrt() * inverse_root + EPSILON);
                }
            }
        }
    }
}

impl Form {
    fn new(optimizer: &Optimizer, step: u64, rate: f32) -> Self {
        let decay = optimizer.weight_decay;
        if optimizer.kind == OptimizerKind::Sgd {
            let momentum = if step == 1 { 0.0 } else { optimizer.momentum };
            return match optimizer.momentum {
                0.0 => Form::Plain { rate, decay },
                _ => Form::Momentum {
                    rate,
                    decay,
                    momentum,
                },
            };
        }
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - BETA1.powi(power), 1.0 - BETA2.powi(power));
        let (added, cut) = match optimizer.kind {
            OptimizerKind::Adamw => (0.0, rate * decay),
            _ => (decay, 0.0),
        };
        Form::Adam {
            added,
            cut,
            step_size: (f64::from(rate) / correction1) as f32,
            inverse_root: (1.0 / correction2.sqrt()) as f32,
        }
    }
}

#[cfg(test)]
mod tests;
