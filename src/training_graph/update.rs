//! The update of a step with the state that it is of.

use crate::graph::Builder;
use crate::onnx::{DataType, Tensor};
use crate::training::{Decay, StepNorm, UpdateNodes};

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

/// Appends the update of a step to its graph, tensor by tensor, and takes each up in the state.
pub(super) struct Updates<'b, 'g> {
    nodes: UpdateNodes<'b, 'g>,
    options: &'b TrainingOptions,
    made: Update,
    /// What has an average: the initializer's name, its values and its value behind the step.
    averaged: Vec<(String, Tensor, String)>,
}

impl<'b, 'g> Updates<'b, 'g> {
    /// Begins: the step number, the backbone's hash, which is kept, and what all parameters share.
    pub fn new(
        builder: &'b mut Builder<'g>,
        options: &'b TrainingOptions,
        backbone: &[u8],
    ) -> Self {
        let nodes = UpdateNodes::new(builder, options.optimizer);
        let step = [nodes.step.clone(), nodes.next_step.clone()];
        let mut updates = Updates {
            made: Update {
                state: State::default(),
                values: Vec::new(),
                learning_rate: nodes.learning_rate.clone(),
            },
            nodes,
            options,
            averaged: Vec::new(),
        };
        updates.put(Role::Step, Tensor::scalar_i64(0), step);
        let hash = Tensor {
            dtype: DataType::Uint8,
            dims: vec![backbone.len()],
            data: backbone.to_vec().into(),
        };
        let own = updates.nodes.fresh("backbone");
        let kept = updates.nodes.op("backbone/kept", "Identity", &[&own]);
        updates.put(Role::Backbone, hash, [own, kept]);
        updates
    }

    /// Takes a tensor up in the state: its first values, and its values before and behind the step.
    fn put(&mut self, role: Role, first: Tensor, values: [String; 2]) {
        self.made.state.put(role, first);
        self.made.values.push(values);
    }

    /// Clips to a norm what these gradients are as one vector, where that is asked for.
    pub fn clip(&mut self, gradients: &[String]) {
        if let Some(limit) = self.options.clip_norm {
            self.nodes.clip(gradients, limit);
        }
    }

    /// Updates the parameter `name`, which begins with the values `first`, by its gradient.
    pub fn parameter(&mut self, name: &str, first: Tensor, gradient: &str) {
        let decay = Decay {
            rate: self.options.optimizer.weight_decay,
            towards: None,
        };
        let of = (name, first.dims.as_slice());
        let moved = self.nodes.parameter(of, gradient, 1.0, &decay);
        let values = [name.to_owned(), moved.next.clone()];
        self.put(Role::Parameter(name.to_owned()), first.clone(), values);
        let zeros = Tensor::f32(&first.dims, &vec![0.0; first.len()]);
        let roles: [fn(String) -> Role; 2] = [Role::FirstMoment, Role::SecondMoment];
        for (role, values) in roles.into_iter().zip(moved.moments) {
            if let Some(values) = values {
                self.put(role(name.to_owned()), zeros.clone(), values);
            }
        }
        self.averaged.push((name.to_owned(), first, moved.next));
    }

    /// Moves the running statistics of these names towards those of the batch. Where that may be of any size, `open` is the
    /// data and how many values per channel are one sample's; of a single value the variance counts as it is, which is 0.
    pub fn running(
        &mut self,
        names: [&String; 2],
        first: [Tensor; 2],
        norm: &StepNorm,
        open: Option<(&str, usize)>,
    ) {
        let factor = open.map(|(data, each)| {
            let size = batch_size_as_float(self.nodes.builder(), data);
            let count = self.nodes.times(&size, each as f32);
            let one = self.nodes.builder().scalar(1.0);
            let less = self.nodes.op("count/less", "Sub", &[&count, &one]);
            let less = self.nodes.op("count/positive", "Max", &[&less, &one]);
            self.nodes.op("count/unbiased", "Div", &[&count, &less])
        });
        let values = self.nodes.running(norm, factor.as_deref());
        for ((name, first), values) in names.into_iter().zip(first).zip(values) {
            let next = values[1].clone();
            self.put(Role::Running(name.clone()), first.clone(), values);
            self.averaged.push((name.clone(), first, next));
        }
    }

    /// Ends with the averages, where they are asked for.
    pub fn finish(mut self) -> Update {
        if let Some(decay) = self.options.ema {
            let averaged = std::mem::take(&mut self.averaged);
            let values: Vec<String> = averaged.iter().map(|(.., value)| value.clone()).collect();
            let values = self.nodes.averages(decay, &values);
            for ((name, first, _), values) in averaged.into_iter().zip(values) {
                self.put(Role::Average(name), first, values);
            }
        }
        self.made
    }
}
