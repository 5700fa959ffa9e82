//! One step of a trial: its optimizer a loop on the host, or in its graph.

use crate::training::batch_norm::update_running;
use crate::training::checkpoint::State;
use crate::training::in_graph::{Making, OnHost, Updating};
use crate::training::inputs::StepPlace;
use crate::training::norm::clipping;
use crate::training::{Divergence, TrainingError, Update};

use super::{Trial, update};

impl Trial<'_> {
    /// The step of `place`; gives the loss before its update. `next` is the step behind it, where that is known.
    pub(super) fn step(
        &mut self,
        place: &StepPlace,
        next: Option<&StepPlace>,
        learning_rate: f32,
    ) -> Result<f32, TrainingError> {
        let [loss, penalty] = match self.in_graph {
            Some(_) => self.graph_step(place, next, learning_rate)?,
            None => self.host_step(place, learning_rate)?,
        };
        let progress = &mut self.state.progress;
        let samples = place.rows.len() as f64;
        progress.step = place.step;
        progress.done += 1;
        progress.loss_sum += f64::from(loss) * samples;
        progress.penalty_sum += f64::from(penalty) * samples;
        Ok(loss)
    }

    fn diverged(place: &StepPlace, loss: f32) -> TrainingError {
        TrainingError::Diverged {
            step: place.step,
            epoch: place.epoch,
            what: Divergence::Loss(loss),
        }
    }

    /// Loss and penalty of a step whose optimizer is a loop on the host.
    fn host_step(
        &mut self,
        place: &StepPlace,
        learning_rate: f32,
    ) -> Result<[f32; 2], TrainingError> {
        let (parameters, running) = self.buffers.split_at(self.spec.trainable.len());
        let State {
            progress, moments, ..
        } = &mut self.state;
        let (lab, spec) = (self.lab, self.spec);
        let targets = &self.targets;
        let batch = place.rows.len();
        let bind = || lab.bind_step(spec, targets, batch, parameters);
        let bound = self.steps.get(batch, bind)?;
        let of = (lab, spec, self.features);
        bound.inputs.fill(&bound.program, of, place)?;
        bound.session.run_bound(&mut bound.binding)?;
        let loss = bound.loss()?;
        let penalty = bound.penalty()?.unwrap_or_default();
        if !(loss + penalty).is_finite() {
            return Err(Self::diverged(place, loss + penalty));
        }
        self.moves.average(&bound.gradients)?;
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
            (&spec.rates, &self.moves.decays),
            parameters,
            &bound.gradients,
            moments,
            spec.threads,
        )?;
        update_running(&bound.program.norms, running, &bound.statistics)?;
        if let Some(average) = &self.average {
            average.update(progress.step, &self.buffers, spec.threads)?;
        }
        Ok([loss, penalty])
    }

    /// Loss and penalty of a step whose optimizer is in its graph.
    fn graph_step(
        &mut self,
        place: &StepPlace,
        next: Option<&StepPlace>,
        learning_rate: f32,
    ) -> Result<[f32; 2], TrainingError> {
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
        let Some(in_graph) = &mut self.in_graph else {
            return Err(TrainingError::Mismatch("the step has no update".to_owned()));
        };
        let [loss, penalty] = in_graph.step(making, place, next, (learning_rate, host))?;
        match (loss + penalty).is_finite() {
            true => Ok([loss, penalty]),
            false => Err(Self::diverged(place, loss + penalty)),
        }
    }

    /// Brings the trial's own buffers to what its steps have come to, and where that is asked for its moments, too.
    pub(super) fn settle(&mut self, with_moments: bool) -> Result<(), TrainingError> {
        let Some(in_graph) = &mut self.in_graph else {
            return Ok(());
        };
        let host = OnHost {
            buffers: &self.buffers,
            average: self.average.as_ref(),
            moments: &mut self.state.moments,
            done: self.state.progress.step,
        };
        in_graph.read(host, with_moments)
    }

    /// Says that parameters, moments or averages were written, from which the next step is to go on.
    pub(super) fn written(&mut self) {
        if let Some(in_graph) = &mut self.in_graph {
            in_graph.write();
        }
    }
}
