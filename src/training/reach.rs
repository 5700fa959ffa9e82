//! Which parameters a gradient can reach, told before anything runs.

use std::collections::HashSet;

use crate::autodiff::{AutodiffError, Operators};
use crate::graph::{Graph, Node};
use crate::onnx::Model;

use super::program::{Objective, Prepared, step_program, whole_program};
use super::{BatchNormMode, Lab, Trained, TrainingError};

impl Lab<'_> {
    /// For each of these sets of parameters, in the network that it is for: why it cannot be trained in steps
    /// of `batches[0]` samples, if it cannot. The other numbers of samples are those of further batches, such
    /// as what is left over at the end of an epoch. `go_on` is asked before each set.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form for those batch sizes, the graph of a step
    /// fails for another reason than a missing gradient, or one of the batches has a single value per
    /// channel where its statistics are asked for; those of `go_on`.
    pub fn obstacles(
        &self,
        batches: &[usize],
        sets: &[Trained<'_>],
        go_on: &dyn Fn() -> Result<(), TrainingError>,
    ) -> Result<Vec<Option<AutodiffError>>, TrainingError> {
        let Some(first) = batches.first() else {
            return Err(TrainingError::NoSamples);
        };
        let mut obstacles = Vec::with_capacity(sets.len());
        // The network of the set before, which mostly is that of the next.
        let mut of = None;
        let mut networks: Vec<Prepared> = Vec::new();
        for &trained in sets {
            go_on()?;
            let now = Some((trained.rewrite, trained.batch_norm));
            if of != now {
                of = now;
                // With stored statistics, a batch of another size has no other nodes.
                let sizes = match trained.batch_norm {
                    BatchNormMode::Frozen => std::slice::from_ref(first),
                    BatchNormMode::Batch => batches,
                };
                let made = sizes.iter().map(|&n| self.prepare(trained.rewrite, n));
                networks = made.collect::<Result<_, _>>()?;
            }
            for network in &mut networks {
                network.train(trained)?;
            }
            let [prepared, others @ ..] = networks.as_slice() else {
                return Err(TrainingError::NoSamples);
            };
            for other in others {
                other.values_per_channel()?;
            }
            let dropout = self.dropout(trained.rewrite)?;
            obstacles.push(
                match step_program(prepared, trained.parameters, &dropout, Operators::Standard) {
                    Ok(_) => None,
                    Err(TrainingError::Autodiff(error)) => Some(error),
                    Err(error) => return Err(error),
                },
            );
        }
        Ok(obstacles)
    }
}

/// Those of `names` that have a gradient, in their order: of a model with an operator that has no
/// rule, the parameters behind it.
///
/// # Errors
/// When the model cannot be brought to normal form for `batch` samples of dimensions `sample`, its outputs are not as the
/// objective takes them, or a step's graph fails for another reason than a missing gradient.
pub fn differentiable(
    model: &Model,
    names: &[String],
    batch: usize,
    sample: &[usize],
    objective: impl Into<Objective>,
) -> Result<Vec<String>, TrainingError> {
    let prepared = Prepared::of(model, batch, sample, objective)?;
    Ok(differentiable_of(&prepared, names)?.0)
}

/// As [`differentiable`], of a network in normal form, with what was first in the way of a gradient.
///
/// # Errors
/// When a step's graph fails for another reason than a missing gradient.
pub(crate) fn differentiable_of(
    prepared: &Prepared,
    names: &[String],
) -> Result<(Vec<String>, Option<AutodiffError>), TrainingError> {
    let mut left = names.to_vec();
    let mut first = None;
    while !left.is_empty() {
        let error = match whole_program(prepared, &left, Operators::Standard) {
            Ok(_) => break,
            Err(TrainingError::Autodiff(error)) => error,
            Err(error) => return Err(error),
        };
        let (obstacle, parameter) = match &error {
            AutodiffError::NoRule {
                node, parameter, ..
            } => (
                prepared.graph.nodes.iter().find(|n| n.name == *node),
                parameter,
            ),
            AutodiffError::Refused {
                node, parameter, ..
            } => (
                prepared.graph.nodes.iter().find(|n| n.to_string() == *node),
                parameter,
            ),
            AutodiffError::Unused(parameter) | AutodiffError::NotAParameter(parameter) => {
                (None, parameter)
            }
            _ => return Err(error.into()),
        };
        // A node that only the step has is not found; its parameter goes at least.
        let before = obstacle.map_or_else(HashSet::new, |node| ancestors(&prepared.graph, node));
        let count = left.len();
        left.retain(|name| name != parameter && !before.contains(name.as_str()));
        if left.len() == count {
            return Err(error.into());
        }
        first.get_or_insert(error);
    }
    Ok((left, first))
}

/// Every value that `node` depends on.
fn ancestors<'g>(graph: &'g Graph, node: &'g Node) -> HashSet<&'g str> {
    let mut found: HashSet<&str> = node.present_inputs().collect();
    for earlier in graph.nodes.iter().rev() {
        if earlier.present_outputs().any(|o| found.contains(o)) {
            found.extend(earlier.present_inputs());
        }
    }
    found
}
