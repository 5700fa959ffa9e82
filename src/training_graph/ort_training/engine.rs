//! Trials whose steps onnxruntime's training API makes.
//!
//! Of a trial's own step, behind its frozen layers, a training model is made for any batch size, with the checkpoint that it
//! goes on from. The API gives moments in a checkpoint alone, and takes them in no other way: to go on from other ones is to
//! load a session anew.

use crate::autodiff::Operators;
use crate::classifier::may_be_optimized;
use crate::graph::{Dim, Graph};
use crate::onnx::{Tensor, encode};
use crate::runtime::{Buffer, Runtime, RuntimeError, SessionOptions, Trainer};
use crate::training::program::{LABELS, Program};
use crate::training::{
    BatchNormMode, Moments, StepJob, StepMaker, Steps, TrainingError, TrialSpec,
};

use super::super::any_batch::{SIZES, joined};
use super::super::{LOSS, Role, State, TrainingGraphError};
use super::checkpoint::{checkpoint, state};
use super::optimizer_model::optimizer_model;
use super::training_model::{Ports, training_model};

/// Makes the steps of trials by the training API of a library that has it.
pub(crate) struct OrtTraining {
    runtime: Runtime,
}

impl OrtTraining {
    /// By this library.
    ///
    /// # Errors
    /// [`RuntimeError::NoTrainingApi`].
    pub fn new(runtime: &Runtime) -> Result<Self, RuntimeError> {
        Trainer::is_available(runtime)?;
        let runtime = runtime.clone();
        Ok(OrtTraining { runtime })
    }
}

impl StepMaker for OrtTraining {
    fn steps(&self, job: &StepJob<'_>) -> Result<Box<dyn Steps>, TrainingError> {
        refuse(job.spec)?;
        let of = |batch| job.program(batch, Operators::AnyBatch);
        let [first, second, third] = SIZES.map(of);
        let (mut program, second, third) = (first?, second?, third?);
        if program.penalty.is_some() || !program.noise.is_empty() {
            return Err(lacks("noise, and losses beside the one of the labels"));
        }
        let graphs = [&program.graph, &second.graph, &third.graph];
        program.graph = joined(graphs).map_err(plain)?;
        let names: Vec<String> = program.inputs().into_iter().map(str::to_owned).collect();
        let is_open = |name: &String| {
            let mut inputs = program.graph.inputs.iter();
            let value = inputs.find(|value| value.name == *name);
            let dims = value.and_then(|value| value.dims.as_deref());
            matches!(dims, Some([Dim::Symbolic(name), ..]) if !name.is_empty())
        };
        if let Some(name) = names.iter().find(|name| !is_open(name)) {
            return Err(TrainingError::Mismatch(format!(
                "`{name}`, which is frozen, has no row for each sample of a batch; onnxruntime's training API is given such \
                 values alone"
            )));
        }
        let ports = Ports {
            inputs: &names,
            labels: LABELS,
            loss: LOSS,
        };
        let graph = training_model(program.clone(), &Vec::new(), &ports).map_err(plain)?;
        program.graph = Graph::new(graph.opset);
        let optimizer = optimizer_model(&job.spec.optimizer, job.spec.clip_norm);
        Ok(Box::new(OrtSteps {
            runtime: self.runtime.clone(),
            training_model: encode(&graph.to_model(usize::MAX).0)?,
            optimizer_model: encode(&optimizer.map_err(plain)?)?,
            options: SessionOptions {
                label: "training step".to_owned(),
                threads: job.spec.threads,
                optimize: may_be_optimized(&graph),
                ..SessionOptions::default()
            },
            kept: job.spec.optimizer.kept_moments(),
            program,
            trainer: None,
        }))
    }
}

/// Refuses a trial that asks for what the API does not have.
fn refuse(spec: &TrialSpec) -> Result<(), TrainingError> {
    let missing = [
        (
            spec.batch_norm == BatchNormMode::Batch,
            "running statistics",
        ),
        (!spec.rates.is_empty(), "a learning rate for each parameter"),
        (spec.ema.is_some(), "an average of the parameters"),
        (spec.l2_sp.is_some(), "decay to other values than 0"),
        (spec.group_filters.is_some(), "filters that move together"),
    ];
    match missing.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(lacks(what)),
        None => Ok(()),
    }
}

fn lacks(what: &str) -> TrainingError {
    TrainingError::Mismatch(format!("onnxruntime's training API has no {what}"))
}

fn plain(error: TrainingGraphError) -> TrainingError {
    match error {
        TrainingGraphError::Training(error) => error,
        TrainingGraphError::Graph(error) => error.into(),
        error => TrainingError::Mismatch(error.to_string()),
    }
}

/// The steps of one trial.
struct OrtSteps {
    runtime: Runtime,
    training_model: Vec<u8>,
    optimizer_model: Vec<u8>,
    options: SessionOptions,
    /// Which moments the optimizer remembers.
    kept: [bool; 2],
    /// Of the training model, without its graph.
    program: Program,
    /// None before the first step.
    trainer: Option<Trainer>,
}

const ROLES: [fn(String) -> Role; 2] = [Role::FirstMoment, Role::SecondMoment];

impl OrtSteps {
    fn trainer(&mut self) -> Result<&mut Trainer, TrainingError> {
        let none = || TrainingError::Mismatch("no step was begun".to_owned());
        self.trainer.as_mut().ok_or_else(none)
    }
}

impl Steps for OrtSteps {
    fn program(&self) -> &Program {
        &self.program
    }

    fn begin(
        &mut self,
        parameters: &[Buffer],
        moments: &[Moments],
        done: usize,
    ) -> Result<(), TrainingError> {
        // So that there are never two.
        self.trainer = None;
        let mut state = State::default();
        state.put(Role::Step, Tensor::scalar_i64(done as i64));
        let all = self.program.parameters.iter().zip(parameters).zip(moments);
        for ((port, buffer), Moments { first, second }) in all {
            let values = Tensor::f32(&port.dims, &buffer.as_f32()?);
            state.put(Role::Parameter(port.name.clone()), values);
            for (role, values) in ROLES.into_iter().zip([first, second]) {
                // Before the first step there are none.
                if values.len() == buffer.dims().iter().product::<usize>() && done > 0 {
                    state.put(role(port.name.clone()), Tensor::f32(&port.dims, values));
                }
            }
        }
        let bytes = checkpoint(&state, &Vec::new()).map_err(plain)?;
        self.trainer = Some(Trainer::new(
            &self.runtime,
            &self.training_model,
            &self.optimizer_model,
            &bytes,
            &self.options,
        )?);
        Ok(())
    }

    fn run(&mut self, inputs: &[&Buffer]) -> Result<f32, TrainingError> {
        Ok(self.trainer()?.step(inputs)?)
    }

    fn update(&mut self, learning_rate: f32) -> Result<(), TrainingError> {
        Ok(self.trainer()?.update(learning_rate)?)
    }

    fn parameters(&mut self, into: &[Buffer]) -> Result<(), TrainingError> {
        Ok(self.trainer()?.read_parameters(into)?)
    }

    fn moments(&mut self, into: &mut [Moments]) -> Result<(), TrainingError> {
        let bytes = self.trainer()?.checkpoint()?;
        let wrong = |reason| {
            TrainingError::Mismatch(format!("what onnxruntime gives is no checkpoint: {reason}"))
        };
        let state = state(&bytes.into()).map_err(wrong)?;
        for (port, moments) in self.program.parameters.iter().zip(into) {
            let places = [&mut moments.first, &mut moments.second];
            for ((role, place), kept) in ROLES.into_iter().zip(places).zip(self.kept) {
                let role = role(port.name.clone());
                if !kept {
                    continue;
                }
                let found = state.get(&role).and_then(Tensor::to_f32);
                *place = found.ok_or_else(|| wrong(format!("it has no `{role}`")))?;
            }
        }
        Ok(())
    }
}
