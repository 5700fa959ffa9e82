//! Clipping, optimizers, running statistics and averages as nodes: what a trial does in loops on the host.
//!
//! Each formula is that of [`Optimizer`](crate::training::Optimizer), [`TrialSpec`](crate::training::TrialSpec) and the
//! running statistics of a trial, in float32 throughout.

use crate::graph::Builder;
use crate::onnx::{DataType, Tensor};
use crate::training::{
    BETA1, BETA2, EARLY, EPSILON, NORM_EPSILON, Optimizer, OptimizerKind, StepNorm,
};

use super::any_batch::batch_size_as_float;
use super::{Role, State, TrainingOptions};

/// What was appended.
pub(super) struct Update {
    /// The state before the first step.
    pub state: State,
    /// The values of each of its tensors before and behind the step.
    pub values: Vec<[String; 2]>,
    /// The value that is the learning rate.
    pub learning_rate: String,
}

/// Appends the update of a step to its graph, tensor by tensor.
pub(super) struct Updates<'b, 'g> {
    builder: &'b mut Builder<'g>,
    options: &'b TrainingOptions,
    made: Update,
    /// Steps that are done before this one, a float.
    done: String,
    rule: Rule,
    /// What gradients are multiplied by.
    scale: Option<String>,
    /// What has an average: the initializer's name, its values and its value behind the step.
    averaged: Vec<(String, Tensor, String)>,
}

/// An update rule with what it needs of a step, scalars by their names.
#[derive(Clone)]
enum Rule {
    /// p ← p − η (g + λ p)
    Plain,
    /// v ← μ v + (g + λ p), p ← p − η v. From v = 0 the first is the gradient itself.
    Momentum,
    /// m ← β₁ m + (1−β₁) g, v ← β₂ v + (1−β₂) g², p ← k p − η/(1−β₁ᵗ) m / (√v / √(1−β₂ᵗ) + ε), where g has λ p in it,
    /// or k is 1 − η λ.
    Adam {
        kept: Option<String>,
        step_size: String,
        inverse_root: String,
    },
}

impl<'b, 'g> Updates<'b, 'g> {
    /// Begins: the step number, the backbone's hash, which is kept, and what all parameters share.
    pub fn new(
        builder: &'b mut Builder<'g>,
        options: &'b TrainingOptions,
        backbone: &[u8],
    ) -> Self {
        let learning_rate = builder.fresh("update/learning_rate");
        let step = builder.fresh("update/step");
        let one = builder.constant(Tensor::scalar_i64(1));
        let next = builder.op("update/step/next", "Add", &[&step, &one], vec![]);
        let as_float = |builder: &mut Builder, value: &str| {
            let to = vec![("to", (DataType::Float as i64).into())];
            builder.op("update/step/float", "Cast", &[value], to)
        };
        let done = match options.ema {
            Some(_) => as_float(builder, &step),
            None => String::new(),
        };
        let rule = match options.optimizer.kind {
            OptimizerKind::Sgd if options.optimizer.momentum == 0.0 => Rule::Plain,
            OptimizerKind::Sgd => Rule::Momentum,
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                let number = as_float(builder, &next);
                adam(builder, &options.optimizer, &learning_rate, &number)
            }
        };
        let mut updates = Updates {
            builder,
            options,
            made: Update {
                state: State::default(),
                values: Vec::new(),
                learning_rate,
            },
            done,
            rule,
            scale: None,
            averaged: Vec::new(),
        };
        updates.put(Role::Step, Tensor::scalar_i64(0), [step, next]);
        let hash = Tensor {
            dtype: DataType::Uint8,
            dims: vec![backbone.len()],
            data: backbone.to_vec().into(),
        };
        let own = updates.builder.fresh("update/backbone");
        let kept = updates.op("backbone/kept", "Identity", &[&own]);
        updates.put(Role::Backbone, hash, [own, kept]);
        updates
    }

    /// Takes a tensor up in the state: its first values, and its values before and behind the step.
    fn put(&mut self, role: Role, first: Tensor, values: [String; 2]) {
        self.made.state.put(role, first);
        self.made.values.push(values);
    }

    fn op(&mut self, hint: &str, op_type: &str, inputs: &[&str]) -> String {
        let hint = format!("update/{hint}");
        self.builder.op(&hint, op_type, inputs, vec![])
    }

    /// `value` times a constant.
    fn times(&mut self, value: &str, factor: f32) -> String {
        let factor = self.builder.scalar(factor);
        self.op("product", "Mul", &[value, &factor])
    }

    /// Clips to a norm what these gradients are as one vector, where that is asked for:
    /// `min(1, limit / (norm + 1e-6))` multiplies each.
    pub fn clip(&mut self, gradients: &[String]) {
        let Some(limit) = self.options.clip_norm else {
            return;
        };
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

    /// Updates the parameter `name`, which begins with the values `first`, by its gradient.
    pub fn parameter(&mut self, name: &str, first: Tensor, gradient: &str) {
        let Optimizer {
            kind, weight_decay, ..
        } = self.options.optimizer;
        let mut gradient = gradient.to_owned();
        if let Some(scale) = self.scale.clone() {
            gradient = self.op("clipped", "Mul", &[&gradient, &scale]);
        }
        if weight_decay != 0.0 && kind != OptimizerKind::Adamw {
            let decay = self.times(name, weight_decay);
            gradient = self.op("decayed", "Add", &[&gradient, &decay]);
        }
        let kept = self.options.optimizer.kept_moments();
        let before = kept.map(|kept| match kept {
            true => self.builder.fresh("update/moment"),
            false => String::new(),
        });
        let (next, behind) = self.moved(name, &gradient, &before);
        let zeros = Tensor::f32(&first.dims, &vec![0.0; first.len()]);
        let role = Role::Parameter(name.to_owned());
        self.put(role, first.clone(), [name.to_owned(), next.clone()]);
        let roles: [fn(String) -> Role; 2] = [Role::FirstMoment, Role::SecondMoment];
        let moments = roles
            .into_iter()
            .zip(kept)
            .zip(before.into_iter().zip(behind));
        for ((role, _), values) in moments.filter(|((_, kept), _)| *kept) {
            self.put(role(name.to_owned()), zeros.clone(), values.into());
        }
        self.averaged.push((name.to_owned(), first, next));
    }

    /// The parameter `name` and its moments, which were `before`, behind a step by this gradient, in which the decay is that
    /// is no factor of the parameter. A moment that is not kept is none.
    fn moved(&mut self, name: &str, gradient: &str, before: &[String; 2]) -> (String, [String; 2]) {
        let rate = self.made.learning_rate.clone();
        let none = String::new;
        match self.rule.clone() {
            Rule::Plain => {
                let step = self.op("step_size", "Mul", &[&rate, gradient]);
                (
                    self.op("parameter", "Sub", &[name, &step]),
                    [none(), none()],
                )
            }
            Rule::Momentum => {
                let kept = self.times(&before[0], self.options.optimizer.momentum);
                let velocity = self.op("velocity", "Add", &[&kept, gradient]);
                let step = self.op("step_size", "Mul", &[&rate, &velocity]);
                let next = self.op("parameter", "Sub", &[name, &step]);
                (next, [velocity, none()])
            }
            Rule::Adam {
                kept,
                step_size,
                inverse_root,
            } => {
                let old = self.times(&before[0], BETA1 as f32);
                let new = self.times(gradient, (1.0 - BETA1) as f32);
                let m = self.op("mean", "Add", &[&old, &new]);
                let old = self.times(&before[1], BETA2 as f32);
                let new = self.times(gradient, (1.0 - BETA2) as f32);
                let new = self.op("square", "Mul", &[&new, gradient]);
                let v = self.op("mean/square", "Add", &[&old, &new]);
                let root = self.op("root", "Sqrt", &[&v]);
                let root = self.op("root/corrected", "Mul", &[&root, &inverse_root]);
                let epsilon = self.builder.scalar(EPSILON);
                let root = self.op("root/positive", "Add", &[&root, &epsilon]);
                let step = self.op("step_size", "Mul", &[&step_size, &m]);
                let step = self.op("step", "Div", &[&step, &root]);
                let decayed = match kept {
                    Some(kept) => self.op("kept", "Mul", &[name, &kept]),
                    None => name.to_owned(),
                };
                (self.op("parameter", "Sub", &[&decayed, &step]), [m, v])
            }
        }
    }

    /// Moves the running statistics of these names towards those of the batch: `r ← k r + (1 − k) b`, with b the mean, or
    /// the variance times `n / (n − 1)` for n values per channel. Where the batch may be of any size, `open` is the data
    /// and how many of these values are one sample's; of a single value the variance counts as it is, which is 0.
    pub fn running(
        &mut self,
        names: [&String; 2],
        first: [Tensor; 2],
        norm: &StepNorm,
        open: Option<(&str, usize)>,
    ) {
        let keep = f64::from(norm.momentum);
        let share = 1.0 - keep;
        let [mean, variance] = &norm.statistics;
        let mean = self.times(mean, share as f32);
        let variance = match open {
            None => {
                let count = norm.count as f64;
                self.times(variance, (share * count / (count - 1.0)) as f32)
            }
            Some((data, each)) => {
                let size = batch_size_as_float(self.builder, data);
                let count = self.times(&size, each as f32);
                let one = self.builder.scalar(1.0);
                let less = self.op("count/less", "Sub", &[&count, &one]);
                let less = self.op("count/positive", "Max", &[&less, &one]);
                let factor = self.op("count/unbiased", "Div", &[&count, &less]);
                let variance = self.op("variance", "Mul", &[variance, &factor]);
                self.times(&variance, share as f32)
            }
        };
        for ((name, first), new) in names.into_iter().zip(first).zip([mean, variance]) {
            let before = self.builder.fresh("update/running");
            let old = self.times(&before, keep as f32);
            let next = self.op("running/next", "Add", &[&old, &new]);
            let role = Role::Running(name.clone());
            self.put(role, first.clone(), [before, next.clone()]);
            self.averaged.push((name.clone(), first, next));
        }
    }

    /// Ends with the averages, where they are asked for: `a ← a + (1 − d) (w − a)` with
    /// `d = min(decay, (1 + t) / (10 + t))` behind t other steps.
    pub fn finish(mut self) -> Update {
        let Some(decay) = self.options.ema else {
            return self.made;
        };
        let done = self.done.clone();
        let [one, early, decay] =
            [1.0, EARLY as f32, decay].map(|value| self.builder.scalar(value));
        let above = self.op("average/done", "Add", &[&done, &one]);
        let below = self.op("average/early", "Add", &[&done, &early]);
        let first = self.op("average/first", "Div", &[&above, &below]);
        let decay = self.op("average/decay", "Min", &[&decay, &first]);
        let rest = self.op("average/rest", "Sub", &[&one, &decay]);
        for (name, first, value) in std::mem::take(&mut self.averaged) {
            let before = self.builder.fresh("update/average");
            let apart = self.op("average/apart", "Sub", &[&value, &before]);
            let part = self.op("average/part", "Mul", &[&rest, &apart]);
            let next = self.op("average/next", "Add", &[&before, &part]);
            self.put(Role::Average(name), first, [before, next]);
        }
        self.made
    }
}

/// What Adam needs of step t, given as a float. `1 − βᵗ` is `2 y / (1 + y)` of `y = tanh(−t ln β / 2)`: in float32 as
/// exact for the first step as for the last, which a difference from 1 is not.
fn adam(builder: &mut Builder, optimizer: &Optimizer, rate: &str, number: &str) -> Rule {
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
    let decays = optimizer.kind == OptimizerKind::Adamw && optimizer.weight_decay != 0.0;
    let kept = decays.then(|| {
        let decay = builder.scalar(optimizer.weight_decay);
        let cut = op(builder, "cut", "Mul", &[rate, &decay]);
        op(builder, "kept/share", "Sub", &[&one, &cut])
    });
    Rule::Adam {
        kept,
        step_size,
        inverse_root,
    }
}
