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

mod gate;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Node};
use crate::onnx::{DataType, Model};

use super::super::SurgeryError;
use super::changes::{Changes, Penalty, Splice};
use super::layer::{Layer, refuse, tensor};
use super::{Form, Number};

use gate::Recurrent;

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
}

/// What opens the gates of the tuned filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterGate {
    /// A network that is trained with the filters.
    #[default]
    Learned,
    /// That network as it was drawn, which is not trained.
    Random,
    /// All are open: ordinary fine-tuning of the layers.
    Ones,
    /// None is: the frozen backbone.
    Zeros,
}

/// Where training begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateStart {
    /// With all gates open, as ordinary fine-tuning does: the logits have a bias of 1.
    #[default]
    Tuned,
    /// With about half of them: no bias.
    Half,
}

/// Reads the names of flags and files.
macro_rules! named {
    ($kind:ty, $expected:literal, $($name:literal => $value:expr),+) => {
        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok($value),)+
                    _ => Err(format!("`{name}` is none of {}", $expected)),
                }
            }
        }
    };
}

named!(
    FilterGate,
    "learned, random, ones, zeros",
    "learned" => FilterGate::Learned,
    "random" => FilterGate::Random,
    "ones" => FilterGate::Ones,
    "zeros" => FilterGate::Zeros
);
named!(GateStart, "tuned, half", "tuned" => GateStart::Tuned, "half" => GateStart::Half);

/// A share of open gates, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TunedShare {
    /// The share, 0 to 1, of the mean over layers of their open gates.
    pub target: Number,
    /// `weight (share − target)²` is added to the loss.
    pub weight: Number,
}

/// A convolution that can be gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateable {
    /// Name of its weight.
    pub weight: String,
    /// Its output channels.
    pub channels: usize,
    /// The parameters of its tuned copy.
    pub tuned: Vec<String>,
}

/// A convolution with the BatchNormalization behind it, where there is one.
struct Unit<'g> {
    layer: Layer<'g>,
    norm: Option<&'g Node>,
    /// Where the last of its nodes stands.
    place: usize,
}

/// Of a BatchNormalization, the inputs behind its first, and whether they are trained.
const OF_NORM: [(&str, bool); 4] = [
    ("scale", true),
    ("shift", true),
    ("mean", false),
    ("variance", false),
];

impl<'g> Unit<'g> {
    fn of(graph: &'g Graph, weight: &str) -> Result<Self, SurgeryError> {
        let layer = Layer::of(graph, weight, &["Conv"])?;
        let dims = &layer.weight.dims;
        if dims.len() < 3 {
            return refuse(weight, format!("it has dimensions {dims:?}"));
        }
        if let Some(bias) = layer.node.input(2).filter(|b| tensor(graph, b).is_none()) {
            return refuse(weight, format!("its bias `{bias}` is computed"));
        }
        let reads = |n: &Node| n.present_inputs().any(|i| i == layer.output);
        let mut readers = graph.nodes.iter().filter(|n| reads(n));
        let norm = match (readers.next(), readers.next()) {
            (Some(norm), None) if is_own_norm(graph, norm, layer.output)? => Some(norm),
            _ => None,
        };
        let last = norm.unwrap_or(layer.node);
        let place = graph.nodes.iter().position(|n| std::ptr::eq(n, last));
        Ok(Unit {
            layer,
            norm,
            place: place.unwrap_or_default(),
        })
    }

    /// What S gives.
    fn output(&self) -> &'g str {
        let of_norm = self.norm.and_then(|norm| norm.output(0));
        of_norm.unwrap_or(self.layer.output)
    }

    fn channels(&self) -> usize {
        self.layer.weight.dims[0]
    }

    /// The names of F's tensors, and whether they are trained.
    fn copies(&self, weight: &str) -> Vec<(String, bool)> {
        let bias = self.layer.node.input(2).map(|_| ("bias", true));
        let norm = self.norm.into_iter().flat_map(|_| OF_NORM);
        let parts = [("weight", true)].into_iter().chain(bias).chain(norm);
        parts
            .map(|(part, trained)| (name(weight, part), trained))
            .collect()
    }
}

/// Whether a node is a BatchNormalization of `value` that infers, with tensors that can be copied.
fn is_own_norm(graph: &Graph, node: &Node, value: &str) -> Result<bool, SurgeryError> {
    let infers = node.present_outputs().count() == 1 && node.int("training_mode", 0)? == 0;
    let has_tensors = (1..5).all(|i| node.input(i).is_some_and(|t| tensor(graph, t).is_some()));
    let is_read_once = node.present_inputs().filter(|i| *i == value).count() == 1;
    let is_output = graph
        .outputs
        .iter()
        .any(|o| Some(o.name.as_str()) == node.output(0));
    Ok(node.is("BatchNormalization")
        && node.input(0) == Some(value)
        && infers
        && has_tensors
        && is_read_once
        && !is_output)
}

fn name(weight: &str, part: &str) -> String {
    format!("ftsurgery/adafilter/{weight}/{part}")
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
            FilterGate::Learned | FilterGate::Random => gate::parameters(&self.weights),
            FilterGate::Ones | FilterGate::Zeros => Vec::new(),
        }
    }

    /// The value of the trained network that holds the gates of a layer, `[N, channels]` of 0 and 1, in float32.
    pub fn gates_of(weight: &str) -> String {
        name(weight, "hard")
    }

    pub(super) fn changes(&self, graph: &Graph, form: Form) -> Result<Changes, SurgeryError> {
        let mut units = Vec::new();
        for weight in &self.weights {
            units.push((weight.as_str(), Unit::of(graph, weight)?));
        }
        if let Some((first, _)) = units.first()
            && graph.opset < 7
        {
            return refuse(first, "gates need operator set 7 or newer");
        }
        units.sort_by_key(|(_, unit)| unit.place);
        let mut changes = Changes::default();
        let mut network = Recurrent::new(self, graph.opset);
        let mut shares = Vec::new();
        for (weight, unit) in &units {
            let reads = changes.instead_of(unit.layer.input);
            let mut nodes = Vec::new();
            let tuned = copy(graph, (*weight, unit), &reads, &mut changes, &mut nodes)?;
            let gate = network.gate((*weight, unit), &reads, form, &mut changes, &mut nodes)?;
            shares.extend(gate.share);
            let instead = mix(
                (*weight, unit),
                [&tuned, &gate.value],
                (gate.is_bool, form),
                &mut changes,
                &mut nodes,
            )?;
            changes.splices.push(Splice {
                value: unit.output().to_owned(),
                nodes,
                instead,
            });
        }
        if let (Form::Training, Some(share)) = (form, self.share) {
            let dtype = units.last().map(|(_, unit)| unit.layer.weight.dtype);
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

/// Adds F, and gives the value that it makes.
fn copy(
    graph: &Graph,
    (weight, unit): (&str, &Unit<'_>),
    reads: &str,
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let conv = unit.layer.node;
    let from_conv = [conv.input(1), conv.input(2)].into_iter().flatten();
    let of_norm = |norm: &'_ Node| {
        (1..5)
            .map(|i| norm.input(i).unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let originals: Vec<String> = from_conv
        .map(str::to_owned)
        .chain(unit.norm.map(of_norm).unwrap_or_default())
        .collect();
    let mut copies = Vec::new();
    for (original, (name, trained)) in originals.iter().zip(unit.copies(weight)) {
        let Some(old) = tensor(graph, original) else {
            return refuse(weight, format!("`{original}` is no tensor"));
        };
        copies.push(match trained {
            true => changes.copy(name, (original, old))?,
            false => {
                let values = old.to_f32().unwrap_or_default();
                changes.tensor(name, old.dtype, &old.dims, &values)?
            }
        });
    }
    let of_conv = originals.len() - unit.norm.map_or(0, |_| OF_NORM.len());
    let mut add = |like: &Node, part: &str, reads: &str, own: &[String]| {
        let output = name(weight, part);
        let inputs = std::iter::once(reads).chain(own.iter().map(String::as_str));
        let inputs: Vec<&str> = inputs.collect();
        let mut node = Node::new(&output, &like.op_type, &inputs, &[&output]);
        node.attributes.clone_from(&like.attributes);
        nodes.push(node);
        output
    };
    let tuned = add(conv, "conv", reads, &copies[..of_conv]);
    Ok(match unit.norm {
        Some(norm) => add(norm, "norm", &tuned, &copies[of_conv..]),
        None => tuned,
    })
}

/// Adds what chooses between F and S, and gives the value that it makes. The gate is `[N, channels, 1, …]`.
///
/// While training, `S + g (F − S)`, in which the gate has a gradient; where all is decided, `Where`, or the formula
/// itself in files whose operator set has no such operator.
fn mix(
    (weight, unit): (&str, &Unit<'_>),
    [tuned, gate]: [&str; 2],
    (gate_is_bool, form): (bool, Form),
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let kept = unit.output();
    let mut op = |part: &str, op: &str, inputs: &[&str]| {
        let output = name(weight, part);
        nodes.push(Node::new(&output, op, inputs, &[&output]));
        output
    };
    Ok(match form {
        Form::Training => {
            let difference = op("difference", "Sub", &[tuned, kept]);
            let part = op("part", "Mul", &[gate, &difference]);
            op("mixed", "Add", &[kept, &part])
        }
        Form::Inference if gate_is_bool => op("mixed", "Where", &[gate, tuned, kept]),
        Form::Inference => {
            let one = changes.tensor(name(weight, "one"), unit.layer.weight.dtype, &[], &[1.0])?;
            let closed = op("closed", "Sub", &[&one, gate]);
            let of_tuned = op("of_tuned", "Mul", &[gate, tuned]);
            let of_kept = op("of_kept", "Mul", &[&closed, kept]);
            op("mixed", "Add", &[&of_tuned, &of_kept])
        }
    })
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
    let name = |part: &str| format!("ftsurgery/adafilter/share/{part}");
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
