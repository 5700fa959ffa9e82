//! What a step of a trial costs.

use crate::autodiff::dependents;
use crate::graph::macs;
use crate::surgery::Rewrite;

use super::program::Prepared;
use super::{BatchNormMode, Lab, Trained, TrainingError};

/// What one step takes, from the frozen values on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCost {
    /// Floating-point operations: two per multiply-accumulate of convolutions and dense products,
    /// forward and for each gradient; all else not counted.
    pub flops: u64,
    /// Those of the forward pass among them.
    pub forward: u64,
    /// Operations of the layers before, which are not among them: those that compute the frozen values.
    pub frozen: u64,
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

    /// What one step on `batch` samples takes of each of some sets of parameters, where these are averaged or not;
    /// `None` where a shape is not known. `go_on` is asked before each.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form; those of `go_on`.
    pub fn step_costs(
        &self,
        sets: &[Trained<'_>],
        batch: usize,
        is_averaged: bool,
        go_on: &dyn Fn() -> Result<(), TrainingError>,
    ) -> Result<Vec<Option<StepCost>>, TrainingError> {
        let mut costs = Vec::with_capacity(sets.len());
        // The network of the set before, which mostly is that of the next.
        let mut last: Option<(&Rewrite, Prepared)> = None;
        for &trained in sets {
            go_on()?;
            let is_same = trained.batch_norm == BatchNormMode::Frozen
                && last.as_ref().is_some_and(|(of, _)| *of == trained.rewrite);
            if !is_same {
                let mut prepared = self.prepare_for(trained, batch)?;
                prepared.fold()?;
                last = Some((trained.rewrite, prepared));
            }
            let prepared = last.as_ref().map(|(_, prepared)| prepared);
            costs.push(prepared.and_then(|p| step_cost(p, trained.parameters, is_averaged)));
        }
        Ok(costs)
    }
}

fn step_cost(prepared: &Prepared, parameters: &[String], is_averaged: bool) -> Option<StepCost> {
    let (graph, shapes) = (&prepared.graph, &prepared.shapes);
    let dependent = dependents(graph, shapes, parameters, &prepared.constants);
    let elements = |value: &str| {
        let dims = shapes.dims(value).ok()?;
        Some(dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64)))
    };
    let mut cost = StepCost::default();
    let [mut values, mut weights] = [0u64; 2];
    for parameter in parameters {
        weights = weights.saturating_add(elements(parameter)?);
    }
    for node in &graph.nodes {
        let macs = macs(node, |name| shapes.dims(name).ok());
        if !node.present_outputs().any(|o| dependent.contains_key(o)) {
            cost.frozen = cost
                .frozen
                .saturating_add(macs.unwrap_or(0).saturating_mul(2));
            continue;
        }
        for output in node.present_outputs() {
            values = values.saturating_add(elements(output)?);
        }
        let macs = macs?;
        let operands = node.inputs.iter().take(2);
        let gradients = operands.filter(|i| dependent.contains_key(*i)).count() as u64;
        cost.forward = cost.forward.saturating_add(macs.saturating_mul(2));
        let all = macs.saturating_mul(2 * (1 + gradients));
        cost.flops = cost.flops.saturating_add(all);
    }
    let floats = values
        .saturating_mul(2)
        .saturating_add(weights.saturating_mul(5 + u64::from(is_averaged)));
    cost.bytes = floats.saturating_mul(FLOAT);
    Some(cost)
}
