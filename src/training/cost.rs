//! What a step of a trial costs.

use crate::autodiff::dependents;
use crate::graph::macs;

use super::{Lab, Trained, TrainingError};

/// What one step takes, from the frozen values on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCost {
    /// Floating-point operations: two per multiply-accumulate of convolutions and dense products,
    /// forward and for each gradient; all else not counted.
    pub flops: u64,
    /// Bytes of memory, roughly: every value behind a trained parameter and its gradient, and of each
    /// parameter its gradient, two moments, its value, the best one and its average where there is one.
    pub bytes: u64,
}

/// Bytes of a float.
const FLOAT: u64 = 4;

impl Lab<'_> {
    /// Bytes for the outputs of frozen layers, as the [options](super::LabOptions) say.
    pub fn memory_budget(&self) -> u64 {
        self.options.memory_budget
    }

    /// What one step on `batch` samples takes, where parameters are averaged or not; `None` where a shape is not
    /// known.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form.
    pub fn step_cost(
        &self,
        trained: Trained<'_>,
        batch: usize,
        is_averaged: bool,
    ) -> Result<Option<StepCost>, TrainingError> {
        let mut prepared = self.prepare_for(trained, batch)?;
        prepared.fold()?;
        let (graph, shapes) = (&prepared.graph, &prepared.shapes);
        let dependent = dependents(graph, shapes, trained.parameters, &prepared.constants);
        let elements = |value: &str| {
            let dims = shapes.dims(value).ok()?;
            Some(dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64)))
        };
        let [mut flops, mut values, mut weights] = [0u64; 3];
        for parameter in trained.parameters {
            let Some(count) = elements(parameter) else {
                return Ok(None);
            };
            weights = weights.saturating_add(count);
        }
        for node in &graph.nodes {
            if !node.present_outputs().any(|o| dependent.contains_key(o)) {
                continue;
            }
            for output in node.present_outputs() {
                let Some(count) = elements(output) else {
                    return Ok(None);
                };
                values = values.saturating_add(count);
            }
            let Some(macs) = macs(node, |name| shapes.dims(name).ok()) else {
                return Ok(None);
            };
            let operands = node.inputs.iter().take(2);
            let gradients = operands.filter(|i| dependent.contains_key(*i)).count() as u64;
            flops = flops.saturating_add(macs.saturating_mul(2 * (1 + gradients)));
        }
        let floats = values
            .saturating_mul(2)
            .saturating_add(weights.saturating_mul(5 + u64::from(is_averaged)));
        Ok(Some(StepCost {
            flops,
            bytes: floats.saturating_mul(FLOAT),
        }))
    }
}
