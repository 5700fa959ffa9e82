//! Who makes the steps of a trial.
//!
//! A trial makes them itself, with a session of its own and its optimizer ([`Engine::Graph`]), or leaves them to a
//! [`StepMaker`], which then holds parameters and moments. What else reads these (scores, checkpoints, the best epoch) finds
//! them in the trial's own buffers, after [`Elsewhere::read`]; who writes them says so by [`Elsewhere::write`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::autodiff::{Operators, Targets};
use crate::runtime::Buffer;

use super::in_graph::{Making, OnHost};
use super::inputs::{Inputs, StepPlace};
use super::program::Program;
use super::sessions::Sessions;
use super::{Lab, Moments, TrainingError, TrialSpec};

/// What steps and updates of trials are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// A graph of loss and gradients of our own, which any onnxruntime runs, and our optimizers.
    #[default]
    Graph,
    /// onnxruntime's training API with the same gradients and its own optimizers, where the library has it.
    OrtTraining,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Graph => "graph",
            Engine::OrtTraining => "ort-training",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "graph" => Ok(Engine::Graph),
            "ort-training" => Ok(Engine::OrtTraining),
            _ => Err(format!("`{name}` is neither graph nor ort-training")),
        }
    }
}

/// Makes the steps of trials elsewhere.
pub(crate) trait StepMaker: Send + Sync {
    /// The steps of a trial.
    ///
    /// # Errors
    /// When the trial asks for what this cannot do, there is no gradient for a parameter, or its graph cannot be made.
    fn steps(&self, job: &StepJob<'_>) -> Result<Box<dyn Steps>, TrainingError>;
}

/// Steps of one trial, which hold its parameters and what the optimizer remembers of them.
pub(crate) trait Steps {
    /// The inputs of a step but for parameters, of one batch size; it is for any.
    fn program(&self) -> &Program;

    /// Goes on from these parameters and moments, behind so many steps.
    ///
    /// # Errors
    /// When they cannot be taken.
    fn begin(
        &mut self,
        parameters: &[Buffer],
        moments: &[Moments],
        done: usize,
    ) -> Result<(), TrainingError>;

    /// Loss and gradients of a batch, whose inputs are in the order of [`Program::inputs`]; gives the loss.
    ///
    /// # Errors
    /// When the runtime fails.
    fn run(&mut self, inputs: &[&Buffer]) -> Result<f32, TrainingError>;

    /// Updates the parameters by the gradients of the last run.
    ///
    /// # Errors
    /// When the runtime fails.
    fn update(&mut self, learning_rate: f32) -> Result<(), TrainingError>;

    /// Writes the parameters as they are into buffers.
    ///
    /// # Errors
    /// When a buffer is in use or the runtime fails.
    fn parameters(&mut self, into: &[Buffer]) -> Result<(), TrainingError>;

    /// Writes what the optimizer remembers of each parameter.
    ///
    /// # Errors
    /// When the runtime fails.
    fn moments(&mut self, into: &mut [Moments]) -> Result<(), TrainingError>;
}

/// A trial whose steps are asked for.
#[derive(Clone, Copy)]
pub(crate) struct StepJob<'a> {
    pub(super) lab: &'a Lab<'a>,
    /// The trial.
    pub spec: &'a TrialSpec,
    targets: &'a Targets,
}

impl<'a> StepJob<'a> {
    pub(super) fn new(lab: &'a Lab<'a>, spec: &'a TrialSpec, targets: &'a Targets) -> Self {
        StepJob { lab, spec, targets }
    }

    /// Loss and gradients behind the frozen layers for a batch of this size, each gradient one value.
    ///
    /// # Errors
    /// When a parameter is unknown or there is no gradient for it.
    pub fn program(&self, batch: usize, operators: Operators) -> Result<Program, TrainingError> {
        self.lab.step_of(self.spec, self.targets, batch, operators)
    }
}

/// The steps of a trial that are made elsewhere, with what they read.
pub(super) struct Elsewhere {
    steps: Box<dyn Steps>,
    inputs: Sessions<(Inputs, Program)>,
    /// Whether the trial's own buffers are newer.
    is_behind: bool,
    /// Whether its parameters are older; whether its moments are.
    is_ahead: [bool; 2],
}

impl Elsewhere {
    /// Before the first step.
    pub fn new(steps: Box<dyn Steps>) -> Self {
        Elsewhere {
            steps,
            inputs: Sessions::default(),
            is_behind: true,
            is_ahead: [false; 2],
        }
    }

    /// A step on the samples of `place`, from what the last one has come to. Gives the loss before the update; where it is
    /// not finite, nothing is updated.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn step(
        &mut self,
        making: Making<'_>,
        place: &StepPlace,
        (learning_rate, host): (f32, OnHost<'_>),
    ) -> Result<f32, TrainingError> {
        if self.is_behind {
            let parameters = &host.buffers[..host.moments.len()];
            self.steps.begin(parameters, host.moments, host.done)?;
            self.is_behind = false;
        }
        let batch = place.rows.len();
        let program = self.steps.program();
        let make = || {
            let program = program.of_batch(batch);
            Ok((Inputs::of(&program)?, program))
        };
        let (inputs, program) = self.inputs.get(batch, make)?;
        inputs.fill(program, (making.lab, making.spec, making.features), place)?;
        let bound = inputs.bound(program);
        let buffers: Vec<&Buffer> = bound.into_iter().map(|(_, buffer)| buffer).collect();
        let loss = self.steps.run(&buffers)?;
        if loss.is_finite() {
            self.steps.update(learning_rate)?;
            self.is_ahead = [true; 2];
        }
        Ok(loss)
    }

    /// Brings what the trial itself has to what the last step has come to, and where that is asked for its moments, too.
    ///
    /// # Errors
    /// When a buffer is in use or the runtime fails.
    pub fn read(&mut self, host: OnHost<'_>, with_moments: bool) -> Result<(), TrainingError> {
        if std::mem::take(&mut self.is_ahead[0]) {
            self.steps.parameters(&host.buffers[..host.moments.len()])?;
        }
        if with_moments && std::mem::take(&mut self.is_ahead[1]) {
            self.steps.moments(host.moments)?;
        }
        Ok(())
    }

    /// Says that what the trial itself has was written, from which the next step is to go on.
    pub fn write(&mut self) {
        self.is_behind = true;
        self.is_ahead = [false; 2];
    }
}
