//! Clipping, optimizers, running statistics and averages as nodes: what a trial otherwise does in loops on the host.
//!
//! Each formula is that of [`Optimizer`], [`Decay`], [`TrialSpec`](crate::training::TrialSpec) and the running statistics of
//! a trial, in float32 throughout.

use std::collections::HashMap;

use crate::graph::Builder;
use crate::onnx::{DataType, Tensor};
use crate::training::average::EARLY;
use crate::training::decay::Decay;
use crate::training::norm::EPSILON as NORM_EPSILON;
use crate::training::optimizer::{BETA1, BETA2, EPSILON};
use crate::training::{Optimizer, OptimizerKind, StepNorm};

/// Appends the update of a step to its graph, tensor by tensor. Two values of it nobody makes: they are for inputs.
pub(crate) struct UpdateNodes<'b, 'g> {
    builder: &'b mut Builder<'g>,
    optimizer: Optimizer,
    /// To be an input: the learning rate, a float scalar.
    pub learning_rate: String,
    /// To be an input: how many steps were done before this one, an int64 scalar.
    pub step: String,
    /// The number of this step, an int64 scalar.
    pub next_step: String,
    rule: Rule,
    /// What gradients are multiplied by.
    scale: Option<String>,
    /// Scalars that several parameters share: of a scalar its product with the number of these bits, or what 1 is more than
    /// it.
    made: HashMap<(String, Option<u32>), String>,
}

/// An update rule with what it needs of a step, scalars by their names.
#[derive(Clone)]
enum Rule {
    /// p ← p − η g
    Plain,
    /// v ← μ v + g, p ← p − η v. From v = 0 the first is the gradient itself.
    Momentum,
    /// m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², p ← p − η/(1−β₁ᵗ) m / (√v / √(1−β₂ᵗ) + ε).
    Adam {
        step_size: String,
        inverse_root: String,
    },
}

/// A parameter behind a step.
pub(crate) struct Moved {
    /// The value that it is then.
    pub next: String,
    /// Of the first and the second moment the values before and behind the step; of one that is not kept none.
    pub moments: [Option<[String; 2]>; 2],
}

impl<'b, 'g> UpdateNodes<'b, 'g> {
    /// Begins with what all parameters share.
    pub fn new(builder: &'b mut Builder<'g>, optimizer: Optimizer) -> Self {
        let learning_rate = builder.fresh("update/learning_rate");
        let step = builder.fresh("update/step");
        let one = builder.constant(Tensor::scalar_i64(1));
        let next_step = builder.op("update/step/next", "Add", &[&step, &one], vec![]);
        let rule = match optimizer.kind {
            OptimizerKind::Sgd if optimizer.momentum == 0.0 => Rule::Plain,
            OptimizerKind::Sgd => Rule::Momentum,
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                let number = as_float(builder, &next_step);
                adam(builder, &learning_rate, &number)
            }
        };
        UpdateNodes {
            builder,
            optimizer,
            learning_rate,
            step,
            next_step,
            rule,
            scale: None,
            made: HashMap::new(),
        }
    }

    /// Appends a node with one output.
    pub fn op(&mut self, hint: &str, op_type: &str, inputs: &[&str]) -> String {
        let hint = format!("update/{hint}");
        self.builder.op(&hint, op_type, inputs, vec![])
    }

    /// A name that is not yet taken.
    pub fn fresh(&mut self, hint: &str) -> String {
        self.builder.fresh(&format!("update/{hint}"))
    }

    /// The builder, for what is no formula of an update.
    pub fn builder(&mut self) -> &mut Builder<'g> {
        self.builder
    }

    /// `value` times a constant.
    pub fn times(&mut self, value: &str, factor: f32) -> String {
        let factor = self.builder.scalar(factor);
        self.op("product", "Mul", &[value, &factor])
    }

    /// A scalar that all parameters share times a number that some share.
    fn shared(&mut self, scalar: &str, factor: f32) -> String {
        if factor == 1.0 {
            return scalar.to_owned();
        }
        let key = (scalar.to_owned(), Some(factor.to_bits()));
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let made = self.times(scalar, factor);
        self.made.insert(key, made.clone());
        made
    }

    /// Clips to a norm what these gradients are as one vector: `min(1, limit / (norm + 1e-6))` multiplies each.
    pub fn clip(&mut self, gradients: &[String], limit: f32) {
        let all = |builder: &mut Builder, gradient: &String| {
            let flat = vec![("keepdims", 0.into())];
            builder.op("update/squares", "ReduceSumSquare", &[gradient], flat)
        };
        let squares = gradients.iter().map(|g| all(self.builder, g));
        let squares: Vec<String> = squares.collect();
        let sum = match squares.as_slice() {
            [one] => one.clone(),
            all => {
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                self.op("squares/sum", "Sum", &all)
            }
        };
        let norm = self.op("norm", "Sqrt", &[&sum]);
        let more = self.builder.scalar(NORM_EPSILON as f32);
        let norm = self.op("norm/positive", "Add", &[&norm, &more]);
        let limit = self.builder.scalar(limit);
        let share = self.op("norm/share", "Div", &[&limit, &norm]);
        let one = self.builder.scalar(1.0);
        self.scale = Some(self.op("scale", "Min", &[&share, &one]));
    }

    /// Updates the parameter `name` of these dimensions by its gradient; `rate` multiplies the learning rate.
    pub fn parameter(
        &mut self,
        (name, dims): (&str, &[usize]),
        gradient: &str,
        rate: f32,
        decay: &Decay,
    ) -> Moved {
        let mut gradient = gradient.to_owned();
        if let Some(scale) = self.scale.clone() {
            gradient = self.op("clipped", "Mul", &[&gradient, &scale]);
        }
        let is_decoupled = self.optimizer.kind == OptimizerKind::Adamw;
        if decay.rate != 0.0 && !is_decoupled {
            let off = self.off((name, dims), decay);
            let decay = self.times(&off, decay.rate);
            gradient = self.op("decayed", "Add", &[&gradient, &decay]);
        }
        let kept = self.optimizer.kept_moments();
        let before = kept.map(|kept| kept.then(|| self.fresh("moment")));
        let learning_rate = self.learning_rate.clone();
        let learning_rate = self.shared(&learning_rate, rate);
        let (next, behind) = match (self.rule.clone(), &before) {
            (
                Rule::Adam {
                    step_size,
                    inverse_root,
                },
                [Some(first), Some(second)],
            ) => {
                let old = self.times(first, BETA1 as f32);
                let new = self.times(&gradient, (1.0 - BETA1) as f32);
                let m = self.op("mean", "Add", &[&old, &new]);
                let old = self.times(second, BETA2 as f32);
                let new = self.times(&gradient, (1.0 - BETA2) as f32);
                let new = self.op("square", "Mul", &[&new, &gradient]);
                let v = self.op("mean/square", "Add", &[&old, &new]);
                let root = self.op("root", "Sqrt", &[&v]);
                let root = self.op("root/corrected", "Mul", &[&root, &inverse_root]);
                let epsilon = self.builder.scalar(EPSILON);
                let root = self.op("root/positive", "Add", &[&root, &epsilon]);
                let step_size = self.shared(&step_size, rate);
                let step = self.op("step_size", "Mul", &[&step_size, &m]);
                let step = self.op("step", "Div", &[&step, &root]);
                let decayed = match is_decoupled && decay.rate != 0.0 {
                    true => self.decayed((name, dims), &learning_rate, decay),
                    false => name.to_owned(),
                };
                let next = self.op("parameter", "Sub", &[&decayed, &step]);
                (next, [Some(m), Some(v)])
            }
            (Rule::Momentum, [Some(velocity), _]) => {
                let kept = self.times(velocity, self.optimizer.momentum);
                let velocity = self.op("velocity", "Add", &[&kept, &gradient]);
                let step = self.op("step_size", "Mul", &[&learning_rate, &velocity]);
                let next = self.op("parameter", "Sub", &[name, &step]);
                (next, [Some(velocity), None])
            }
            _ => {
                let step = self.op("step_size", "Mul", &[&learning_rate, &gradient]);
                (self.op("parameter", "Sub", &[name, &step]), [None, None])
            }
        };
        let [first, second] = before;
        let [to_first, to_second] = behind;
        let pair = |(before, behind)| [before, behind];
        Moved {
            next,
            moments: [first.zip(to_first), second.zip(to_second)].map(|both| both.map(pair)),
        }
    }

    /// How far a parameter is from what it decays to.
    fn off(&mut self, (name, dims): (&str, &[usize]), decay: &Decay) -> String {
        match &decay.towards {
            None => name.to_owned(),
            Some(towards) => {
                let towards = self.builder.constant(Tensor::f32(dims, towards));
                self.op("off", "Sub", &[name, &towards])
            }
        }
    }

    /// A parameter p behind its decay by c = η λ: `p − c (p − w)`, and to 0 `(1 − c) p`.
    fn decayed(&mut self, of: (&str, &[usize]), learning_rate: &str, decay: &Decay) -> String {
        let cut = self.shared(learning_rate, decay.rate);
        if decay.towards.is_some() {
            let off = self.off(of, decay);
            let part = self.op("decay", "Mul", &[&off, &cut]);
            return self.op("decayed", "Sub", &[of.0, &part]);
        }
        let one = self.builder.scalar(1.0);
        let key = (cut.clone(), None);
        let kept = match self.made.get(&key) {
            Some(made) => made.clone(),
            None => self.op("kept/share", "Sub", &[&one, &cut]),
        };
        self.made.insert(key, kept.clone());
        self.op("kept", "Mul", &[of.0, &kept])
    }

    /// Moves running statistics towards those of the batch: `r ← k r + (1 − k) b`, with b the mean, or the variance times
    /// `n / (n − 1)` for n values per channel. Where the batch may be of any size, `open` gives that factor. The values of
    /// mean and variance before and behind the step.
    pub fn running(&mut self, norm: &StepNorm, open: Option<&str>) -> [[String; 2]; 2] {
        let keep = f64::from(norm.momentum);
        let share = 1.0 - keep;
        let [mean, variance] = &norm.statistics;
        let mean = self.times(mean, share as f32);
        let variance = match open {
            None => {
                let count = norm.count as f64;
                self.times(variance, (share * count / (count - 1.0)) as f32)
            }
            Some(factor) => {
                let variance = self.op("variance", "Mul", &[variance, factor]);
                self.times(&variance, share as f32)
            }
        };
        [mean, variance].map(|new| {
            let before = self.fresh("running");
            let old = self.times(&before, keep as f32);
            let next = self.op("running/next", "Add", &[&old, &new]);
            [before, next]
        })
    }

    /// Averages of these values behind the step: `a ← a + (1 − d) (w − a)` with `d = min(decay, (1 + t) / (10 + t))` behind
    /// t other steps. The values of each before and behind the step.
    pub fn averages(&mut self, decay: f32, values: &[String]) -> Vec<[String; 2]> {
        let step = self.step.clone();
        let done = as_float(self.builder, &step);
        let [one, early, decay] =
            [1.0, EARLY as f32, decay].map(|value| self.builder.scalar(value));
        let above = self.op("average/done", "Add", &[&done, &one]);
        let below = self.op("average/early", "Add", &[&done, &early]);
        let first = self.op("average/first", "Div", &[&above, &below]);
        let decay = self.op("average/decay", "Min", &[&decay, &first]);
        let rest = self.op("average/rest", "Sub", &[&one, &decay]);
        let average = |value: &String| {
            let before = self.fresh("average");
            let apart = self.op("average/apart", "Sub", &[value, &before]);
            let part = self.op("average/part", "Mul", &[&rest, &apart]);
            let next = self.op("average/next", "Add", &[&before, &part]);
            [before, next]
        };
        values.iter().map(average).collect()
    }
}

fn as_float(builder: &mut Builder, value: &str) -> String {
    let to = vec![("to", (DataType::Float as i64).into())];
    builder.op("update/step/float", "Cast", &[value], to)
}

/// What Adam needs of step t, given as a float. `1 − βᵗ` is `2 y / (1 + y)` of `y = tanh(−t ln β / 2)`: in float32 as
/// exact for the first step as for the last, which a difference from 1 is not.
fn adam(builder: &mut Builder, rate: &str, number: &str) -> Rule {
    let op = |builder: &mut Builder, hint: &str, op_type: &str, inputs: &[&str]| {
        builder.op(&format!("update/{hint}"), op_type, inputs, vec![])
    };
    let correction = |builder: &mut Builder, beta: f64| {
        let factor = builder.scalar((-beta.ln() / 2.0) as f32);
        let angle = op(builder, "angle", "Mul", &[number, &factor]);
        let y = op(builder, "tanh", "Tanh", &[&angle]);
        let twice = op(builder, "tanh/twice", "Add", &[&y, &y]);
        let one = builder.scalar(1.0);
        let below = op(builder, "tanh/above", "Add", &[&one, &y]);
        op(builder, "correction", "Div", &[&twice, &below])
    };
    let first = correction(builder, BETA1);
    let second = correction(builder, BETA2);
    let step_size = op(builder, "step_size", "Div", &[rate, &first]);
    let root = op(builder, "correction/root", "Sqrt", &[&second]);
    let one = builder.scalar(1.0);
    let inverse_root = op(builder, "correction/inverse", "Div", &[&one, &root]);
    Rule::Adam {
        step_size,
        inverse_root,
    }
}
