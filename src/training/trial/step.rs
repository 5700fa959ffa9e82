//! One step of a trial, by whoever makes it.

use crate::runtime::Buffer;
use crate::training::batch_norm::update_running;
use crate::training::engine::{Elsewhere, StepJob};
use crate::training::in_graph::{InGraph, Making, OnHost, Updating};
use crate::training::inputs::StepPlace;
use crate::training::norm::clipping;
use crate::training::sessions::{Bound, Sessions};
use crate::training::{Divergence, TrainingError, Update};

use super::{Moves, Trial, update};

/// Who makes the steps of a trial, and has what they go on from between two of them.
pub(super) enum By {
    /// The trial: a session gives gradients, and its optimizer is a loop over its own buffers.
    Host(Sessions<Bound>),
    /// A graph with the optimizer in it, whose buffers are on the device.
    Graph(Box<InGraph>),
    /// Whoever the lab has for it.
    Maker(Elsewhere),
}

impl By {
    /// For a trial that is to begin.
    ///
    /// # Errors
    /// When the trial asks for what they cannot do.
    pub fn of(job: StepJob<'_>) -> Result<Self, TrainingError> {
        let StepJob { lab, spec, .. } = job;
        Ok(match lab.step_maker.as_ref().filter(|_| spec.epochs > 0) {
            Some(maker) => By::Maker(Elsewhere::new(maker.steps(&job)?)),
            None if spec.optimizer_in_graph => By::Graph(Box::default()),
            None => By::Host(Sessions::default()),
        })
    }

    /// Puts a parameter, by its place, to these values; `buffers` are the trial's own.
    ///
    /// # Errors
    /// When a buffer is in use, the runtime fails, or who makes the steps cannot do it.
    pub fn hold(
        &mut self,
        buffers: &[Buffer],
        (place, values): (usize, &[f32]),
    ) -> Result<(), TrainingError> {
        match self {
            By::Host(_) => Ok(buffers[place].write_f32(values)?),
            By::Graph(in_graph) => in_graph.hold(place, values),
            By::Maker(_) => Err(TrainingError::Mismatch(
                "a parameter is to be held where others make the steps".to_owned(),
            )),
        }
    }
}

impl Trial<'_> {
    /// The step of `place`; gives the loss before its update. `next` is the step behind it, where that is known.
    pub(super) fn step(
        &mut self,
        place: &StepPlace,
        next: Option<&StepPlace>,
        learning_rate: f32,
    ) -> Result<f32, TrainingError> {
        let spec = self.spec;
        let making = Making {
            lab: self.lab,
            spec,
            features: self.features,
            targets: &self.targets,
            updating: Updating {
                optimizer: spec.optimizer,
                clip_norm: spec.clip_norm,
                ema: spec.ema,
                rates: &spec.rates,
                decays: &self.moves.decays,
            },
        };
        let host = OnHost {
            buffers: &self.buffers,
            average: self.average.as_ref(),
            moments: &mut self.state.moments,
            done: self.state.progress.step,
        };
        let at = (learning_rate, host);
        let [loss, penalty] = match &mut self.by {
            By::Host(sessions) => host_step(sessions, &self.moves, making, place, at)?,
            By::Graph(in_graph) => in_graph.step(making, place, next, at)?,
            By::Maker(elsewhere) => [elsewhere.step(making, place, at)?, 0.0],
        };
        if !(loss + penalty).is_finite() {
            return Err(TrainingError::Diverged {
                step: place.step,
                epoch: place.epoch,
                what: Divergence::Loss(loss + penalty),
            });
        }
        let progress = &mut self.state.progress;
        let samples = place.rows.len() as f64;
        progress.step = place.step;
        progress.done += 1;
        progress.loss_sum += f64::from(loss) * samples;
        progress.penalty_sum += f64::from(penalty) * samples;
        Ok(loss)
    }

    /// Brings the trial's own buffers to what its steps have come to, and where that is asked for its moments, too.
    pub(super) fn settle(&mut self, with_moments: bool) -> Result<(), TrainingError> {
        let host = OnHost {
            buffers: &self.buffers,
            average: self.average.as_ref(),
            moments: &mut self.state.moments,
            done: self.state.progress.step,
        };
        match &mut self.by {
            By::Host(_) => Ok(()),
            By::Graph(in_graph) => in_graph.read(host, with_moments),
            By::Maker(elsewhere) => elsewhere.read(host, with_moments),
        }
    }

    /// Says that parameters, moments or averages were written, from which the next step is to go on.
    pub(super) fn written(&mut self) {
        match &mut self.by {
            By::Host(_) => {}
            By::Graph(in_graph) => in_graph.write(),
            By::Maker(elsewhere) => elsewhere.write(),
        }
    }
}

/// Loss and penalty of a step whose optimizer is a loop on the host. When they are not finite, all stays as it was.
fn host_step(
    sessions: &mut Sessions<Bound>,
    moves: &Moves,
    making: Making<'_>,
    place: &StepPlace,
    (learning_rate, host): (f32, OnHost<'_>),
) -> Result<[f32; 2], TrainingError> {
    let Making { lab, spec, .. } = making;
    let (parameters, running) = host.buffers.split_at(spec.trainable.len());
    let batch = place.rows.len();
    let bind = || lab.bind_step(spec, making.targets, batch, parameters);
    let bound = sessions.get(batch, bind)?;
    let of = (lab, spec, making.features);
    bound.inputs.fill(&bound.program, of, place)?;
    bound.session.run_bound(&mut bound.binding)?;
    let loss = bound.loss()?;
    let penalty = bound.penalty()?.unwrap_or_default();
    if !(loss + penalty).is_finite() {
        return Ok([loss, penalty]);
    }
    moves.average(&bound.gradients)?;
    let scale = match spec.clip_norm {
        Some(limit) => clipping(&bound.gradients, limit, spec.threads)?,
        None => 1.0,
    };
    update(
        &spec.optimizer,
        Update {
            step: place.step as u64,
            learning_rate,
            scale,
            towards: None,
        },
        (&spec.rates, &moves.decays),
        parameters,
        &bound.gradients,
        host.moments,
        spec.threads,
    )?;
    update_running(&bound.program.norms, running, &bound.statistics)?;
    if let Some(average) = host.average {
        average.update(host.done, host.buffers, spec.threads)?;
    }
    Ok([loss, penalty])
}
