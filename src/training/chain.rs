//! Computing a stage batch by batch along its chain of parents.

use std::collections::{HashMap, HashSet};

use crate::data::{Augmenter, FeaturePrecision, View};
use crate::graph::Value;
use crate::onnx::DataType;
use crate::runtime::{Binding, Buffer, Session};
use crate::surgery::extract;

use super::TrainingError;
use super::features::Features;
use super::lab::Lab;
use super::stages::{Stages, Walk};

/// The way from a base, which is a kept stage or the model's input, to a stage.
///
/// Every batch passes through the values of all stages on the way, each rounded as it would be if
/// it were kept: the same values come out whichever of them are.
pub(super) struct Chain<'a> {
    lab: &'a Lab<'a>,
    base: Option<&'a Features>,
    start: Vec<Buffer>,
    links: Vec<Link>,
    precision: FeaturePrecision,
    batch: usize,
}

/// One step on the way.
struct Link {
    /// `None` where all of its values are among those before it.
    run: Option<(Session, Binding)>,
    /// The stage's values.
    values: Vec<Buffer>,
}

impl<'a> Chain<'a> {
    /// The chain through the stages `path`, of which the last is wanted, from the kept values of
    /// `base`, which is the parent of the first; without it from the model's input.
    ///
    /// # Errors
    /// When the runtime refuses a part of the network.
    pub fn new(
        lab: &'a Lab<'a>,
        stages: &Stages,
        base: Option<(usize, &'a Features)>,
        path: &[usize],
        precision: FeaturePrecision,
    ) -> Result<Self, TrainingError> {
        let prepared = &stages.prepared;
        let walk = Walk::new(&prepared.graph, &prepared.shapes);
        let zeros =
            |name: &str| Ok::<_, TrainingError>(Buffer::zeros_f32(prepared.shapes.dims(name)?)?);
        let first = match base {
            Some((stage, _)) => stages.stages[stage].values.as_slice(),
            None => std::slice::from_ref(&prepared.input),
        };
        let start = first
            .iter()
            .map(|name| zeros(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut before: HashMap<&str, Buffer> = first
            .iter()
            .map(String::as_str)
            .zip(start.iter().cloned())
            .collect();
        let mut links = Vec::with_capacity(path.len());
        for &stage in path {
            let names = &stages.stages[stage].values;
            let new: Vec<String> = names
                .iter()
                .filter(|n| !before.contains_key(n.as_str()))
                .cloned()
                .collect();
            let mut values: HashMap<&str, Buffer> = HashMap::new();
            for name in names {
                let buffer = match before.get(name.as_str()) {
                    Some(buffer) => buffer.clone(),
                    None => zeros(name)?,
                };
                values.insert(name, buffer);
            }
            let run = if new.is_empty() {
                None
            } else {
                let from: HashSet<&str> = before.keys().copied().collect();
                let part = walk.part(&from, &new).ok_or_else(|| {
                    TrainingError::Mismatch(format!(
                        "the frozen value `{}` does not follow from those before it",
                        new[0]
                    ))
                })?;
                let mut reads: Vec<&str> = part.reads.into_iter().collect();
                reads.sort_unstable();
                let value = |name: &str| {
                    let dims = prepared.shapes.dims(name)?;
                    Ok(Value::fixed(name, DataType::Float, dims))
                };
                let inputs = reads.iter().map(|n| value(n));
                let inputs: Vec<Value> = inputs.collect::<Result<_, TrainingError>>()?;
                let outputs = new.iter().map(|n| value(n));
                let outputs: Vec<Value> = outputs.collect::<Result<_, TrainingError>>()?;
                let graph = extract(&prepared.graph, &inputs, &outputs)?;
                let session = lab.frozen_session(&graph, lab.options.threads)?;
                let inputs: Vec<(&str, &Buffer)> = reads
                    .iter()
                    .filter_map(|&n| Some((n, before.get(n)?)))
                    .collect();
                let outputs = new.iter().map(String::as_str);
                let outputs: Vec<(&str, &Buffer)> =
                    outputs.filter_map(|n| Some((n, values.get(n)?))).collect();
                let binding = session.bind(&inputs, &outputs)?;
                Some((session, binding))
            };
            links.push(Link {
                run,
                values: names
                    .iter()
                    .filter_map(|n| values.get(n.as_str()).cloned())
                    .collect(),
            });
            before = values;
        }
        Ok(Chain {
            lab,
            base: base.map(|(_, features)| features),
            start,
            links,
            precision,
            batch: stages.batch,
        })
    }

    /// Computes the wanted stage's values of `views`, which may be fewer than the batch; what
    /// follows their rows in the buffers then means nothing.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn run(
        &mut self,
        views: &[View],
        augmenter: &Augmenter,
    ) -> Result<&[Buffer], TrainingError> {
        match self.base {
            Some(base) => base.gather_kept(views, &self.start)?,
            None => {
                for input in &self.start {
                    let mut pixels = input.as_f32_mut()?;
                    let count = pixels.len() / self.batch * views.len();
                    self.lab
                        .write_views(views, augmenter, &mut pixels[..count])?;
                }
            }
        }
        for link in &mut self.links {
            if let Some((session, binding)) = &mut link.run {
                session.run_bound(binding)?;
            }
            for value in &link.values {
                self.precision.round(&mut value.as_f32_mut()?);
            }
        }
        Ok(self.links.last().map_or(&self.start, |link| &link.values))
    }
}
