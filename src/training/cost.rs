//! What a step of a trial costs.

use crate::autodiff::dependents;
use crate::graph::macs;

use super::{Lab, Trained, TrainingError};

impl Lab<'_> {
    /// Floating-point operations of one step on `batch` samples, from the frozen values on: two per
    /// multiply-accumulate of its convolutions and dense products, forward and for each gradient;
    /// all else not counted. `None` where a shape is not known.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form.
    pub fn step_flops(
        &self,
        trained: Trained<'_>,
        batch: usize,
    ) -> Result<Option<u64>, TrainingError> {
        let mut prepared = self.prepare_for(trained, batch)?;
        prepared.fold()?;
        let (graph, shapes) = (&prepared.graph, &prepared.shapes);
        let dependent = dependents(graph, shapes, trained.parameters);
        let mut flops = 0u64;
        for node in &graph.nodes {
            if !node.present_outputs().any(|o| dependent.contains_key(o)) {
                continue;
            }
            let Some(macs) = macs(node, |name| shapes.dims(name).ok()) else {
                return Ok(None);
            };
            let operands = node.inputs.iter().take(2);
            let gradients = operands.filter(|i| dependent.contains_key(*i)).count() as u64;
            flops = flops.saturating_add(macs.saturating_mul(2 * (1 + gradients)));
        }
        Ok(Some(flops))
    }
}
