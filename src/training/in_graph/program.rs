//! A step whose graph has the update.

use crate::autodiff::Operators;
use crate::graph::{Builder, Value};
use crate::onnx::DataType;
use crate::surgery::Dropout;
use crate::training::decay::Decay;
use crate::training::program::{Port, Prepared, Program, step_of_whole_gradients};
use crate::training::{GradientOutput, Optimizer, TrainingError};

use super::nodes::UpdateNodes;

/// Which part of what a trial goes on from a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::training) enum Part {
    /// A parameter, or a running statistic.
    Value,
    /// Its first moment.
    First,
    /// Its second moment.
    Second,
    /// Its average.
    Average,
}

/// A tensor of the state.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::training) struct Slot {
    pub part: Part,
    /// The place of the parameter or running statistic that it is of; these stand behind all parameters.
    pub of: usize,
    /// The values before and behind a step.
    pub values: [String; 2],
    pub dims: Vec<usize>,
}

/// By what a step updates.
#[derive(Clone, Copy)]
pub(in crate::training) struct Updating<'a> {
    pub optimizer: Optimizer,
    pub clip_norm: Option<f32>,
    pub ema: Option<f32>,
    /// What multiplies the learning rate of each parameter; none by 1.
    pub rates: &'a [f32],
    /// What each decays to; without any each to 0.
    pub decays: &'a [Decay],
}

/// A step that reads the state and gives the next one. Of its [`Program`] the gradients, the batch's statistics and the
/// logits are inner values.
pub(in crate::training) struct UpdatedProgram {
    pub program: Program,
    /// The input for the learning rate, a float scalar.
    pub learning_rate: String,
    /// The input for the number of steps before this one, an int64 scalar.
    pub step: String,
    /// Parameters and running statistics, then what the optimizer remembers of the former, then averages.
    pub state: Vec<Slot>,
}

impl UpdatedProgram {
    /// The step of `trainable` and dropouts with its update.
    ///
    /// # Errors
    /// When a parameter is unknown or there is no gradient for it.
    pub fn new(
        prepared: &Prepared,
        (trainable, dropout): (&[String], &[Dropout]),
        operators: Operators,
        by: Updating<'_>,
    ) -> Result<Self, TrainingError> {
        let mut program = step_of_whole_gradients(prepared, trainable, dropout, operators)?;
        let Some((loss, gradients)) = program.loss.clone() else {
            return Err(TrainingError::Mismatch("the step has no loss".to_owned()));
        };
        let gradients = gradients.iter().flat_map(GradientOutput::ports);
        let gradients: Vec<String> = gradients.map(|port| port.name.clone()).collect();
        let mut builder = Builder::new(&mut program.graph);
        let mut nodes = UpdateNodes::new(&mut builder, by.optimizer);
        if let Some(limit) = by.clip_norm {
            nodes.clip(&gradients, limit);
        }
        let to_zero = Decay {
            rate: by.optimizer.weight_decay,
            towards: None,
        };
        let mut values = Vec::new();
        let mut moments = Vec::new();
        for (of, (Port { name, dims }, gradient)) in
            program.parameters.iter().zip(&gradients).enumerate()
        {
            let rate = by.rates.get(of).copied().unwrap_or(1.0);
            let decay = by.decays.get(of).unwrap_or(&to_zero);
            let moved = nodes.parameter((name, dims), gradient, rate, decay);
            let slot = |part, values| Slot {
                part,
                of,
                values,
                dims: dims.clone(),
            };
            values.push(slot(Part::Value, [name.clone(), moved.next]));
            let parts = [Part::First, Part::Second].into_iter().zip(moved.moments);
            moments.extend(parts.filter_map(|(part, values)| Some(slot(part, values?))));
        }
        for norm in &program.norms {
            for pair in nodes.running(norm, None) {
                values.push(Slot {
                    part: Part::Value,
                    of: values.len(),
                    values: pair,
                    dims: vec![norm.channels],
                });
            }
        }
        let averages = match by.ema {
            None => Vec::new(),
            Some(decay) => {
                let behind: Vec<String> = values.iter().map(|v| v.values[1].clone()).collect();
                nodes.averages(decay, &behind)
            }
        };
        let averages = values.iter().zip(averages).map(|(value, pair)| Slot {
            part: Part::Average,
            values: pair,
            ..value.clone()
        });
        let averages: Vec<Slot> = averages.collect();
        let (learning_rate, step) = (nodes.learning_rate.clone(), nodes.step.clone());
        let state = [values, moments, averages].concat();

        let scalar = |name: &str, dtype| Value::fixed(name, dtype, &[]);
        let is_parameter = |name: &str| program.parameters.iter().any(|p| p.name == name);
        let before = state.iter().map(|slot| (&slot.values[0], &slot.dims));
        // Parameters are inputs of a step already.
        let before = before.filter(|(name, _)| !is_parameter(name));
        let float =
            |(name, dims): (&String, &Vec<usize>)| Value::fixed(name, DataType::Float, dims);
        let graph = &mut program.graph;
        graph.inputs.extend(before.map(float));
        graph.inputs.extend([
            scalar(&learning_rate, DataType::Float),
            scalar(&step, DataType::Int64),
        ]);
        let own = std::iter::once(&loss).chain(&program.penalty);
        let behind = state.iter().map(|slot| (&slot.values[1], &slot.dims));
        graph.outputs = own
            .map(|name| scalar(name, DataType::Float))
            .chain(behind.map(float))
            .collect();
        graph.sort()?;
        graph.prune();
        graph.leaves_last();
        Ok(UpdatedProgram {
            program,
            learning_rate,
            step,
            state,
        })
    }
}
