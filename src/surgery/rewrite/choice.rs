//! A choice between a tuned value and a frozen one, which a gate makes for each sample.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::graph::{Attribute, Node};
use crate::onnx::DataType;
use crate::random::{Purpose, stream};

use super::super::SurgeryError;
use super::Form;
use super::changes::Changes;

/// The oldest operator set that has the operators of a gate.
pub(super) const OLDEST: i64 = 7;
/// Why a model of an older one is refused.
pub(super) const TOO_OLD: &str = "gates need operator set 7 or newer";
/// The operator set from which there is `Where`.
const WHERE: i64 = 9;
/// The operator set from which `Split` reads the sizes of its parts.
const SIZES_READ: i64 = 13;

/// Where the training of gates begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateStart {
    /// With all gates open, as ordinary fine-tuning does: their logits have a bias.
    #[default]
    Tuned,
    /// With about half of them: no bias.
    Half,
}

named!(GateStart, "tuned, half", "tuned" => GateStart::Tuned, "half" => GateStart::Half);

/// Nodes that are added, each named for what it makes, behind a prefix.
pub(super) struct Adder<'a> {
    prefix: String,
    nodes: &'a mut Vec<Node>,
}

impl<'a> Adder<'a> {
    pub fn new(prefix: impl Into<String>, nodes: &'a mut Vec<Node>) -> Self {
        Adder {
            prefix: prefix.into(),
            nodes,
        }
    }

    /// The name of a value or tensor.
    pub fn name(&self, part: &str) -> String {
        format!("{}/{part}", self.prefix)
    }

    /// Adds a node and gives the name of what it makes.
    pub fn op(&mut self, part: &str, op: &str, inputs: &[&str]) -> String {
        self.with(part, op, inputs, &[])
    }

    /// As [`Adder::op`], with attributes.
    pub fn with(
        &mut self,
        part: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = self.name(part);
        let node = Node::new(&output, op, inputs, &[&output]);
        let with = |node: Node, (key, value): &(&str, Attribute)| node.with(key, value.clone());
        self.nodes.push(attributes.iter().fold(node, with));
        output
    }

    /// Adds a `Split` of the columns of `value` into parts of `sizes`, in the form of operator set `opset`.
    pub fn split<const N: usize>(
        &mut self,
        parts: [&str; N],
        value: &str,
        sizes: [usize; N],
        opset: i64,
        changes: &mut Changes,
    ) -> [String; N] {
        let outputs = parts.map(|part| self.name(part));
        let sizes = sizes.map(|size| size as i64);
        let name = format!("{}/split", outputs[0]);
        let as_attribute = opset < SIZES_READ;
        let read = (!as_attribute).then(|| changes.ints(format!("{name}/sizes"), &sizes));
        let inputs: Vec<&str> = std::iter::once(value).chain(read.as_deref()).collect();
        let refs = outputs.each_ref().map(String::as_str);
        let mut node = Node::new(&name, "Split", &inputs, &refs).with("axis", Attribute::Int(1));
        if as_attribute {
            node = node.with("split", Attribute::Ints(sizes.to_vec()));
        }
        self.nodes.push(node);
        outputs
    }
}

/// Where a choice stands: the type of its floats, the model's operator set, the form in which it is made.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub dtype: DataType,
    pub opset: i64,
    pub form: Form,
}

/// Gates that are open or closed.
pub(super) struct Open {
    /// 1 and 0, or booleans.
    pub value: String,
    pub is_bool: bool,
    /// What is to be constant for gradients, while training.
    pub jump: Option<String>,
}

/// Adds `soft > ½`. While training it has the gradient of `soft` (straight-through, with the jump between the two
/// constant).
pub(super) fn threshold(
    soft: &str,
    place: Place,
    changes: &mut Changes,
    add: &mut Adder<'_>,
) -> Result<Open, SurgeryError> {
    let Place { dtype, opset, form } = place;
    let half = changes.tensor(add.name("half"), dtype, &[], &[0.5])?;
    let open = add.op("open", "Greater", &[soft, &half]);
    if form == Form::Inference && opset >= WHERE {
        return Ok(Open {
            value: open,
            is_bool: true,
            jump: None,
        });
    }
    let to = ("to", Attribute::Int(dtype as i64));
    let hard = add.with("hard", "Cast", &[&open], &[to]);
    if form == Form::Inference {
        return Ok(Open {
            value: hard,
            is_bool: false,
            jump: None,
        });
    }
    let jump = add.op("jump", "Sub", &[&hard, soft]);
    Ok(Open {
        value: add.op("straight", "Add", &[soft, &jump]),
        is_bool: false,
        jump: Some(jump),
    })
}

/// Adds what takes `tuned` where a gate is open and `kept` where it is not, and gives the value that it makes. The
/// gate's dimensions go with theirs.
///
/// While training, `kept + gate (tuned − kept)`, in which the gate has a gradient; where all is decided, `Where`, or the
/// formula itself of a gate of numbers.
pub(super) fn mix(
    [tuned, kept]: [&str; 2],
    (gate, is_bool): (&str, bool),
    place: Place,
    changes: &mut Changes,
    add: &mut Adder<'_>,
) -> Result<String, SurgeryError> {
    Ok(match place.form {
        Form::Training => {
            let difference = add.op("difference", "Sub", &[tuned, kept]);
            let part = add.op("part", "Mul", &[gate, &difference]);
            add.op("mixed", "Add", &[kept, &part])
        }
        Form::Inference if is_bool => add.op("mixed", "Where", &[gate, tuned, kept]),
        Form::Inference => {
            let one = changes.tensor(add.name("one"), place.dtype, &[], &[1.0])?;
            let closed = add.op("closed", "Sub", &[&one, gate]);
            let of_tuned = add.op("of_tuned", "Mul", &[gate, tuned]);
            let of_kept = add.op("of_kept", "Mul", &[&closed, kept]);
            add.op("mixed", "Add", &[&of_tuned, &of_kept])
        }
    })
}

/// First values of so many numbers of a network that chooses, evenly between ±`gain`/√`inputs`.
pub(super) fn drawn(seed: u64, name: &str, count: usize, (inputs, gain): (usize, f32)) -> Vec<f32> {
    let mut rng = stream(Purpose::Gate, seed, &[name.as_bytes()]);
    let bound = gain / (inputs.max(1) as f32).sqrt();
    let values = (0..count).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0));
    values.collect()
}
