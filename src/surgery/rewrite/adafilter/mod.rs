//! AdaFilter (Guo et al., "AdaFilter: Adaptive Filter Fine-Tuning for Deep Transfer Learning", AAAI 2020): for each
//! sample a gate chooses which filters of a convolution are the fine-tuned ones and which the pre-trained.
//!
//! A convolution l exists twice, with the normalisation behind it: pre-trained `S_l`, which is the model's own and
//! frozen, and tuned `F_l`, which begins as its copy. What is read in their place is
//!
//! `y_l = g_l ∘ F_l(x_l) + (1 − g_l) ∘ S_l(x_l)`, `g_l ∈ {0, 1}` one number per sample and output channel.
//!
//! `gate.rs` makes the `g_l`. A BatchNormalization behind the convolution is copied with it: F has a scale, a bias and
//! statistics of its own (the paper's gated batch normalisation). Where it was folded into the convolution, or written
//! out, there is nothing to copy, and what follows is applied to the mixture.
//!
//! Our reading, where summaries of the paper are silent (its code is not public): F's batch statistics, where they are
//! asked for, are those of F's maps of all samples; the gate of a layer is computed from the mixture that the layer reads.

mod bake;
mod gate;
mod kinds;
mod part;
#[cfg(test)]
mod tests;
mod unit;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Node};
use crate::onnx::{DataType, Model};

use super::super::SurgeryError;
use super::Form;
use super::changes::{Changes, Penalty, Splice};
use super::choice::{self, GateStart, Place};
use super::layer::refuse;

use gate::Recurrent;
pub use kinds::{FilterGate, TunedShare};
use part::{Part, copy, put};
pub use unit::Gateable;
use unit::Unit;

/// Convolutions with a tuned copy of each filter, and gates that choose for each sample.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdaFilter {
    /// Names of the convolutions' weights (initializers, or constants by their output).
    pub weights: Vec<String>,
    /// What opens the gates.
    pub gate: FilterGate,
    /// At which of the two training begins.
    pub start: GateStart,
    /// Width of what the gate network remembers, and of what each layer tells it; at least 1.
    pub width: usize,
    /// The share of open gates that the loss asks for; `None` asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<TunedShare>,
    /// Decides the first values of the gate network.
    pub seed: u64,
    /// Of each of `weights` the filters whose gate depends on the sample, ascending; the others are
    /// [baked](super::Rewrite::bake) into the model's own tensors. `None`: all depend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependent: Option<Vec<Vec<usize>>>,
}

const PREFIX: &str = "ftsurgery/adafilter/";

fn prefix(weight: &str) -> String {
    format!("{PREFIX}{weight}")
}

fn name(weight: &str, part: &str) -> String {
    format!("{}/{part}", prefix(weight))
}

/// The name of what is not of one layer, which none of a layer can have.
fn of_all(what: &str, part: &str) -> String {
    format!("ftsurgery/adafilter-{what}/{part}")
}

impl AdaFilter {
    /// The convolutions of a model that can be gated, in its order.
    ///
    /// # Errors
    /// When the model's graph is malformed.
    pub fn gateable(model: &Model) -> Result<Vec<Gateable>, SurgeryError> {
        let graph = Graph::from_model(model)?;
        let weights = graph.nodes.iter().filter(|n| n.is("Conv"));
        let weights = weights.filter_map(|node| node.input(1));
        let gateable = weights.filter_map(|weight| {
            let unit = Unit::of(&graph, weight).ok()?;
            let trained = unit
                .copies(weight)
                .into_iter()
                .filter(|(_, trained)| *trained);
            Some(Gateable {
                weight: weight.to_owned(),
                channels: unit.channels(),
                tuned: trained.map(|(name, _)| name).collect(),
            })
        });
        Ok(gateable.collect())
    }

    /// The parameters of the gate network of these layers; none where the gates are constant.
    pub fn gate_parameters(&self) -> Vec<String> {
        match self.gate {
            FilterGate::Learned | FilterGate::Random => gate::parameters(self),
            FilterGate::Ones | FilterGate::Zeros => Vec::new(),
        }
    }

    /// The value of the trained network that holds the gates of a layer, `[N, channels]` of 0 and 1, in float32.
    pub fn gates_of(weight: &str) -> String {
        name(weight, "hard")
    }

    /// The weight of the gated convolution to whose copy this belongs.
    pub(super) fn stands_for(parameter: &str) -> Option<&str> {
        let (weight, _) = parameter.strip_prefix(PREFIX)?.rsplit_once('/')?;
        Some(weight)
    }

    /// The filters of a layer, by its place among the weights, that have a gate; `None`: all.
    fn filters(&self, place: usize) -> Option<&[usize]> {
        let dependent = self.dependent.as_ref()?;
        Some(dependent.get(place).map_or(&[], Vec::as_slice))
    }

    pub(super) fn changes(&self, graph: &Graph, form: Form) -> Result<Changes, SurgeryError> {
        let mut units = Vec::new();
        for (place, weight) in self.weights.iter().enumerate() {
            let unit = Unit::of(graph, weight)?;
            let filters = match self.filters(place) {
                Some(filters) => filters.to_vec(),
                None => (0..unit.channels()).collect(),
            };
            if filters.iter().any(|&f| f >= unit.channels()) {
                return refuse(weight, "it has fewer filters than are gated");
            }
            units.push((weight.as_str(), unit, filters));
        }
        if let Some((first, ..)) = units.first()
            && graph.opset < choice::OLDEST
        {
            return refuse(first, choice::TOO_OLD);
        }
        units.sort_by_key(|(_, unit, _)| unit.place);
        let mut changes = Changes::default();
        let mut network = Recurrent::new(self, graph.opset);
        let mut shares = Vec::new();
        let mut nodes = Vec::new();
        for (weight, unit, filters) in &units {
            let reads = changes.instead_of(unit.layer.input);
            let part = Part {
                weight,
                unit,
                filters,
            };
            if filters.is_empty() {
                // Later gates depend on it.
                network.step((weight, unit), &reads, &mut changes, &mut nodes)?;
                continue;
            }
            let place = Place {
                dtype: unit.layer.weight.dtype,
                opset: graph.opset,
                form,
            };
            let tuned = copy(graph, &part, &reads, &mut changes, &mut nodes)?;
            let gate = network.gate(&part, &reads, place, &mut changes, &mut nodes)?;
            shares.extend(gate.share);
            let decided = (gate.value.as_str(), gate.is_bool);
            let instead = put(&part, &tuned, decided, place, &mut changes, &mut nodes)?;
            changes.splices.push(Splice {
                value: unit.output().to_owned(),
                nodes: std::mem::take(&mut nodes),
                instead,
            });
        }
        if let (Form::Training, Some(share)) = (form, self.share) {
            let dtype = units.last().map(|(_, unit, _)| unit.layer.weight.dtype);
            ask(
                share,
                &shares,
                dtype.unwrap_or(DataType::Float),
                &mut changes,
            )?;
        }
        Ok(changes)
    }
}

/// Adds what a share of open gates costs, behind the last layer.
fn ask(
    share: TunedShare,
    shares: &[String],
    dtype: DataType,
    changes: &mut Changes,
) -> Result<(), SurgeryError> {
    let Some((first, others)) = shares.split_first() else {
        return Ok(());
    };
    let name = |part: &str| of_all("share", part);
    let each = changes.tensor(name("each"), dtype, &[], &[1.0 / shares.len() as f32])?;
    let target = changes.tensor(name("target"), dtype, &[], &[share.target.0])?;
    let Some(splice) = changes.splices.last_mut() else {
        return Ok(());
    };
    let mut op = |part: &str, op: &str, inputs: &[&str]| {
        let output = name(part);
        splice
            .nodes
            .push(Node::new(&output, op, inputs, &[&output]));
        output
    };
    let mut sum = first.clone();
    for (place, next) in (1..).zip(others) {
        sum = op(&format!("sum{place}"), "Add", &[&sum, next]);
    }
    let mean = op("mean", "Mul", &[&sum, &each]);
    let off = op("off", "Sub", &[&mean, &target]);
    let square = op("square", "Mul", &[&off, &off]);
    changes.penalties.push(Penalty {
        value: square,
        weight: share.weight.0,
    });
    Ok(())
}
