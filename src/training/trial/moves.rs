//! How parameters move by their gradients: which of them together, what they decay to, and by which rate.

use std::collections::HashMap;

use crate::runtime::Buffer;
use crate::training::decay::Decay;
use crate::training::gradient::GradientBuffers;
use crate::training::groups::{Asked, Grouped, digest};
use crate::training::{Lab, Moments, Observer, Optimizer, Start, TrainingError, TrialSpec, Update};

/// What holds for each parameter of a trial, all along.
pub(super) struct Moves {
    /// Which filters of it move together; `None` where each moves by itself.
    groups: Vec<Option<Grouped>>,
    pub decays: Vec<Decay>,
}

impl Moves {
    /// For a trial on the samples `train`, of whose parameters `buffers` hold the first values.
    ///
    /// # Errors
    /// When the observer asks to stop, or the runtime fails.
    pub fn of(
        lab: &Lab<'_>,
        spec: &TrialSpec,
        train: &[usize],
        buffers: &[Buffer],
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        let origins = lab.origins(&spec.rewrite, &spec.trainable)?;
        let groups = match spec.group_filters.filter(|_| spec.epochs > 0) {
            None => vec![None; origins.len()],
            Some(count) => {
                let asked = Asked {
                    count,
                    seed: spec.seed,
                    samples: train.to_vec(),
                };
                lab.groups(asked, &origins, observer)?
            }
        };
        let names = spec.trainable.iter().zip(&origins);
        let names = names.filter(|(_, origin)| spec.l2_sp.is_some() && origin.is_some());
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        // As in the model, wherever the trial begins.
        let values = match names.is_empty() {
            true => Vec::new(),
            false => lab.initial_parameters(&spec.rewrite, &names, &Start::default())?,
        };
        let pretrained: HashMap<&String, &Buffer> = names.iter().zip(&values).collect();
        let all = spec.trainable.iter().zip(&groups).zip(buffers);
        let decays = all.map(|((name, grouped), buffer)| {
            let (rate, target) = match (spec.l2_sp, pretrained.get(name)) {
                (Some(alpha), Some(values)) => (alpha, Some(values.as_f32()?.to_vec())),
                _ => (spec.optimizer.weight_decay, None),
            };
            let first = buffer.as_f32()?;
            Ok(Decay::of(rate, &first, target, grouped.as_ref()))
        });
        let decays = decays.collect::<Result<_, TrainingError>>()?;
        Ok(Moves { groups, decays })
    }

    /// Digest of which filters move together, empty where none do.
    pub fn digest(&self, names: &[String]) -> String {
        digest(names, &self.groups)
    }

    /// Makes one gradient of those of each group.
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn average(&self, gradients: &[GradientBuffers]) -> Result<(), TrainingError> {
        for (grouped, gradient) in self.groups.iter().zip(gradients) {
            if let Some(grouped) = grouped {
                grouped.average_gradient(gradient)?;
            }
        }
        Ok(())
    }
}

/// One step of the optimizer on all parameters, by `threads` threads (0 for all cores); `rates` multiply the
/// learning rate of each, none by 1; without `decays` each decays to 0.
pub(in crate::training) fn update(
    optimizer: &Optimizer,
    at: Update<'_>,
    (rates, decays): (&[f32], &[Decay]),
    parameters: &[Buffer],
    gradients: &[GradientBuffers],
    moments: &mut [Moments],
    threads: usize,
) -> Result<(), TrainingError> {
    let all = parameters.iter().zip(gradients).zip(moments);
    for (i, ((parameter, gradient), state)) in all.enumerate() {
        let decay = decays.get(i);
        let optimizer = Optimizer {
            weight_decay: decay.map_or(optimizer.weight_decay, |decay| decay.rate),
            ..*optimizer
        };
        let at = Update {
            learning_rate: at.learning_rate * rates.get(i).unwrap_or(&1.0),
            towards: decay.and_then(|decay| decay.towards.as_deref()),
            ..at
        };
        let mut values = parameter.as_f32_mut()?;
        gradient.read(|gradient| optimizer.update(at, &mut values, gradient, state, threads))?;
    }
    Ok(())
}
