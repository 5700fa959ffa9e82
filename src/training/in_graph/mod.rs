//! A trial whose optimizer is in the graph: a step reads parameters, moments, running statistics and averages, and gives
//! those behind it.
//!
//! There are two sets of buffers of this state, in the memory of the device. A step reads one and writes the other, and the
//! next step goes the other way, so that nothing is copied and no value is overwritten that is still read. Of a step the
//! host reads the loss alone. What else reads the state (scores, checkpoints, the best epoch) finds it in the trial's own
//! buffers, after [`InGraph::read`]; who writes these says so by [`InGraph::write`].

mod nodes;
mod program;

use std::sync::Arc;
use std::thread;

use crate::autodiff::Targets;
use crate::runtime::{Binding, Buffer, Session};

use super::average::Average;
use super::inputs::{Inputs, StepPlace};
use super::program::Program;
use super::sessions::Sessions;
use super::{Features, Lab, Moments, TrainingError, TrialSpec};

pub(crate) use nodes::UpdateNodes;
use program::{Part, Slot};
pub(in crate::training) use program::{UpdatedProgram, Updating};

/// The steps of one trial, with what they go on from.
#[derive(Default)]
pub(super) struct InGraph {
    /// What each tensor of the state is; none before the first step.
    slots: Vec<Slot>,
    /// Both sets of it.
    sets: [Vec<Buffer>; 2],
    /// The set that is behind the last step.
    present: usize,
    /// Whether the trial's own buffers are newer.
    is_behind: bool,
    /// Whether parameters, running statistics and averages of the trial's own are older; whether its moments are.
    is_ahead: [bool; 2],
    steps: Sessions<GraphStep>,
    /// What the inputs of the next step were filled for.
    ready: Option<StepPlace>,
}

/// What the trial has on the host.
pub(super) struct OnHost<'a> {
    /// Parameters, and behind them running statistics.
    pub buffers: &'a [Buffer],
    pub average: Option<&'a Average>,
    pub moments: &'a mut [Moments],
    /// Steps that are done.
    pub done: usize,
}

/// A step for one batch size.
pub(super) struct GraphStep {
    session: Session,
    program: Arc<Program>,
    /// Of each direction: from the first set to the second, and back.
    ways: [Way; 2],
    learning_rate: Buffer,
    /// Steps before this one.
    done: Buffer,
    loss: Buffer,
    penalty: Option<Buffer>,
}

/// A step in one direction, with inputs of its own, so that those of the next are filled while it runs.
struct Way {
    inputs: Inputs,
    binding: Binding,
}

/// What a step is made of.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub lab: &'a Lab<'a>,
    pub spec: &'a TrialSpec,
    pub features: &'a Features,
    pub targets: &'a Targets,
    pub updating: Updating<'a>,
}

impl InGraph {
    /// A step on the samples of `place`, from what the last one has come to; `next` is the one behind it, where that is
    /// known, whose samples are made ready meanwhile. Gives the loss before the update, and what is added to it.
    ///
    /// When the loss is not finite, the state stays as it was.
    ///
    /// # Errors
    /// When there is no gradient for a parameter or the runtime fails.
    pub fn step(
        &mut self,
        making: Making<'_>,
        place: &StepPlace,
        next: Option<&StepPlace>,
        (learning_rate, host): (f32, OnHost<'_>),
    ) -> Result<[f32; 2], TrainingError> {
        self.ensure(making, place.rows.len())?;
        if let Some(next) = next {
            self.ensure(making, next.rows.len())?;
        }
        if self.is_behind {
            self.upload(&host)?;
        }
        let way = self.present;
        let of = (making.lab, making.spec, making.features);
        let following = match next {
            None => None,
            Some(next) => {
                let step = self.made(next.rows.len())?;
                // Handles of the same memory: the session below is borrowed for its run.
                let inputs = step.inputs(1 - way).clone();
                Some((inputs, Arc::clone(&step.program), next))
            }
        };
        let is_ready = self.ready.take().as_ref() == Some(place);
        let step = self.made(place.rows.len())?;
        if !is_ready {
            step.inputs(way).fill(&step.program, of, place)?;
        }
        let (ran, filled) = thread::scope(|scope| {
            let filled = following
                .as_ref()
                .map(|(inputs, program, next)| scope.spawn(move || inputs.fill(program, of, next)));
            let ran = step.run(way, learning_rate, host.done);
            let filled = filled.map(|filled| match filled.join() {
                Ok(filled) => filled,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            (ran, filled)
        });
        let [loss, penalty] = ran?;
        filled.transpose()?;
        if (loss + penalty).is_finite() {
            self.present = 1 - way;
            self.is_ahead = [true; 2];
            self.ready = next.cloned();
        }
        Ok([loss, penalty])
    }

    /// Brings what the trial has on the host to what the last step has come to: parameters, running statistics and
    /// averages, and where that is asked for moments.
    ///
    /// # Errors
    /// When a buffer is in use or the runtime fails.
    pub fn read(&mut self, host: OnHost<'_>, with_moments: bool) -> Result<(), TrainingError> {
        let wanted = [true, with_moments];
        for (slot, buffer) in self.slots.iter().zip(&self.sets[self.present]) {
            let is_moment = matches!(slot.part, Part::First | Part::Second);
            let kind = usize::from(is_moment);
            if !(self.is_ahead[kind] && wanted[kind]) {
                continue;
            }
            match (slot.part, host.average) {
                (Part::Value, _) => host.buffers[slot.of].copy_from(buffer)?,
                (Part::Average, Some(average)) => average.buffers[slot.of].copy_from(buffer)?,
                // While rates are tried there is none on the host.
                (Part::Average, None) => {}
                (Part::First, _) => host.moments[slot.of].first = buffer.to_f32()?,
                (Part::Second, _) => host.moments[slot.of].second = buffer.to_f32()?,
            }
        }
        for (ahead, wanted) in self.is_ahead.iter_mut().zip(wanted) {
            *ahead &= !wanted;
        }
        Ok(())
    }

    /// Says that the next step is to go on from what the trial has on the host.
    pub fn write(&mut self) {
        self.is_behind = true;
        self.is_ahead = [false; 2];
    }

    /// Puts a parameter, by its place, to these values.
    ///
    /// # Errors
    /// When a buffer is in use or the runtime fails.
    pub fn hold(&mut self, place: usize, values: &[f32]) -> Result<(), TrainingError> {
        let slots = self.slots.iter().zip(&self.sets[self.present]);
        let mut own = slots.filter(|(slot, _)| slot.part == Part::Value && slot.of == place);
        match own.next() {
            Some((_, buffer)) => Ok(buffer.write_f32(values)?),
            None => Ok(()),
        }
    }

    /// Puts the present set to what is on the host.
    fn upload(&mut self, host: &OnHost<'_>) -> Result<(), TrainingError> {
        for (slot, buffer) in self.slots.iter().zip(&self.sets[self.present]) {
            let moment = |values: &[f32]| match values {
                // Before the first step.
                [] => buffer.write_f32(&vec![0.0; slot.dims.iter().product()]),
                values => buffer.write_f32(values),
            };
            match (slot.part, host.average) {
                (Part::Value, _) => buffer.copy_from(&host.buffers[slot.of])?,
                (Part::Average, Some(average)) => buffer.copy_from(&average.buffers[slot.of])?,
                (Part::Average, None) => {}
                (Part::First, _) => moment(&host.moments[slot.of].first)?,
                (Part::Second, _) => moment(&host.moments[slot.of].second)?,
            }
        }
        self.is_behind = false;
        Ok(())
    }

    /// Makes the step for so many samples, and with the first one the state.
    fn ensure(&mut self, making: Making<'_>, batch: usize) -> Result<(), TrainingError> {
        if self.steps.has(batch) {
            return Ok(());
        }
        let (lab, spec) = (making.lab, making.spec);
        let (made, session) = lab.updated_step(spec, making.targets, batch, making.updating)?;
        if self.slots.is_empty() {
            self.sets = GraphStep::sets(&session, &made.state)?;
            self.slots.clone_from(&made.state);
            self.is_behind = true;
        }
        let step = GraphStep::new(session, made, &self.sets)?;
        self.steps.get(batch, || Ok(step))?;
        Ok(())
    }

    fn made(&mut self, batch: usize) -> Result<&mut GraphStep, TrainingError> {
        let missing = || TrainingError::Mismatch(format!("there is no step of {batch} samples"));
        self.steps.get(batch, || Err(missing()))
    }
}

impl GraphStep {
    /// Two sets of buffers of zeros for a state, where `session` computes.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn sets(session: &Session, state: &[Slot]) -> Result<[Vec<Buffer>; 2], TrainingError> {
        let set = || {
            let buffers = state.iter().map(|slot| session.buffer_f32(&slot.dims));
            buffers.collect::<Result<Vec<_>, _>>()
        };
        Ok([set()?, set()?])
    }

    /// A step from one of the `sets` to the other.
    ///
    /// # Errors
    /// When a buffer does not fit.
    pub fn new(
        session: Session,
        made: UpdatedProgram,
        sets: &[Vec<Buffer>; 2],
    ) -> Result<Self, TrainingError> {
        let UpdatedProgram {
            program,
            learning_rate: rate_name,
            step: step_name,
            state,
        } = made;
        let zero = || Buffer::zeros_f32(&[]);
        let (learning_rate, done, loss) = (zero()?, Buffer::zeros_i64(&[])?, zero()?);
        let penalty = program.penalty.as_ref().map(|_| zero()).transpose()?;
        let way = |from: usize| {
            let own = Inputs::of(&program)?;
            let mut inputs = own.bound(&program);
            inputs.extend([
                (rate_name.as_str(), &learning_rate),
                (step_name.as_str(), &done),
            ]);
            let names = |side: usize| state.iter().map(move |slot| slot.values[side].as_str());
            inputs.extend(names(0).zip(&sets[from]));
            let mut outputs: Vec<(&str, &Buffer)> = names(1).zip(&sets[1 - from]).collect();
            outputs.extend(program.loss.iter().map(|(name, _)| (name.as_str(), &loss)));
            let penalties = program.penalty.iter().zip(&penalty);
            outputs.extend(penalties.map(|(name, buffer)| (name.as_str(), buffer)));
            let binding = session.bind(&inputs, &outputs)?;
            Ok(Way {
                inputs: own,
                binding,
            })
        };
        let ways: [Result<Way, TrainingError>; 2] = [way(0), way(1)];
        let [there, back] = ways;
        Ok(GraphStep {
            ways: [there?, back?],
            session,
            program: Arc::new(program),
            learning_rate,
            done,
            loss,
            penalty,
        })
    }

    /// What it reads besides the state, for a step from the first set or from the second.
    pub fn inputs(&self, way: usize) -> &Inputs {
        &self.ways[way].inputs
    }

    /// Runs it from the first set to the second, or with `way` 1 back, behind so many other steps. The loss before the
    /// update, and what is added to it.
    ///
    /// # Errors
    /// When a buffer is in use or the runtime fails.
    pub fn run(
        &mut self,
        way: usize,
        learning_rate: f32,
        done: usize,
    ) -> Result<[f32; 2], TrainingError> {
        self.learning_rate.as_f32_mut()?.fill(learning_rate);
        let done = i64::try_from(done).unwrap_or(i64::MAX);
        self.done.as_i64_mut()?.fill(done);
        self.session.run_bound(&mut self.ways[way].binding)?;
        let penalty = self.penalty.as_ref().map(only).transpose()?;
        Ok([only(&self.loss)?, penalty.unwrap_or_default()])
    }
}

fn only(buffer: &Buffer) -> Result<f32, TrainingError> {
    Ok(buffer.as_f32()?.first().copied().unwrap_or(f32::NAN))
}
