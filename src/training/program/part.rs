//! A part of a network as a network of its own.

use crate::graph::Value;
use crate::onnx::DataType;
use crate::surgery::extract;

use super::{Objective, Prepared};
use crate::training::TrainingError;

impl Prepared {
    /// The part that computes the value `to` from the value `from`, each of floats with a row for each sample, as a network
    /// of its own: its input is the one, its output the other, which a step holds against targets of its dimensions. What does
    /// not depend on the data is computed in each part that reads it.
    ///
    /// # Errors
    /// When one is no value of the graph, `to` needs other values of the data than `from`, or a dimension is not known.
    pub fn part(&self, from: &str, to: &str) -> Result<Prepared, TrainingError> {
        let value = |name: &str| -> Result<Value, TrainingError> {
            let dims = self.shapes.dims(name)?;
            Ok(Value::fixed(name, DataType::Float, dims))
        };
        let graph = extract(&self.graph, &[value(from)?], &[value(to)?])?;
        let dims = self.shapes.dims(to)?;
        let batch = dims.first().copied().unwrap_or(1);
        let objective = Objective::SquaredError;
        Ok(Prepared {
            graph,
            shapes: self.shapes.clone(),
            input: from.to_owned(),
            logits: to.to_owned(),
            scores: to.to_owned(),
            classes: objective.classes(dims, batch)?,
            objective,
            task: objective.task(),
            batch_norms: Vec::new(),
            freed: self.freed,
            targets: self.targets.clone(),
            is_mixed: false,
            constants: self.constants.clone(),
            noise: Vec::new(),
            penalties: Vec::new(),
            added: Vec::new(),
        })
    }
}
