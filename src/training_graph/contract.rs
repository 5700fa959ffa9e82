//! The names of what goes into a training graph and comes out of it, which are a contract.

use std::fmt;

use crate::graph::{Dim, Value};
use crate::onnx::DataType;

/// Number of the contract, which the model's metadata have as `ftsurgery.contract`.
pub const VERSION: u32 = 1;
/// Input: what the loss is held against.
pub const LABELS: &str = "labels";
/// Input: the learning rate of the step, a float32 scalar.
pub const LEARNING_RATE: &str = "learning_rate";
/// Output: the loss before the update, a float32 scalar.
pub const LOSS: &str = "loss";
/// What stands before the name of a tensor of the state where it comes out.
const NEXT: &str = "next/";

/// What a tensor of the state is. Names are those of initializers of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// How many steps are done: int64, a scalar.
    Step,
    /// SHA-256 of the model that is trained: uint8 `[32]`. It comes out as it went in, and is there so that a state that
    /// any program keeps says what it is of.
    Backbone,
    /// A trained parameter.
    Parameter(String),
    /// Adam's mean of its gradients, SGD's velocity.
    FirstMoment(String),
    /// Adam's mean of the squares of its gradients.
    SecondMoment(String),
    /// A running mean or variance of a BatchNormalization.
    Running(String),
    /// The average of a parameter or a running statistic over the steps.
    Average(String),
}

/// Names of roles of one tensor, with how the role is made of the initializer's name.
type OfTensor = (&'static str, fn(String) -> Role);

const OF_TENSORS: [OfTensor; 5] = [
    ("param/", Role::Parameter),
    ("moment1/", Role::FirstMoment),
    ("moment2/", Role::SecondMoment),
    ("running/", Role::Running),
    ("average/", Role::Average),
];
const STEP: &str = "step";
const BACKBONE: &str = "backbone";

impl fmt::Display for Role {
    /// The name of the input, and of the tensor in a file of the state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [parameter, first, second, running, average] = OF_TENSORS.map(|(prefix, _)| prefix);
        match self {
            Role::Step => f.write_str(STEP),
            Role::Backbone => f.write_str(BACKBONE),
            Role::Parameter(of) => write!(f, "{parameter}{of}"),
            Role::FirstMoment(of) => write!(f, "{first}{of}"),
            Role::SecondMoment(of) => write!(f, "{second}{of}"),
            Role::Running(of) => write!(f, "{running}{of}"),
            Role::Average(of) => write!(f, "{average}{of}"),
        }
    }
}

impl Role {
    /// What a tensor of this name is; `None` where the contract has none of the name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            STEP => return Some(Role::Step),
            BACKBONE => return Some(Role::Backbone),
            _ => {}
        }
        OF_TENSORS.iter().find_map(|(prefix, role)| {
            let of = name.strip_prefix(prefix)?;
            Some(role(of.to_owned()))
        })
    }

    /// The initializer that a tensor of this role is of.
    pub(super) fn of_tensor(&self) -> Option<&str> {
        match self {
            Role::Step | Role::Backbone => None,
            Role::Parameter(of)
            | Role::FirstMoment(of)
            | Role::SecondMoment(of)
            | Role::Running(of)
            | Role::Average(of) => Some(of),
        }
    }
}

/// A tensor of the state: an input and an output of the same type and dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What it is; written out, the name of the input.
    pub role: Role,
    /// Element type.
    pub dtype: DataType,
    /// Dimensions.
    pub dims: Vec<usize>,
}

impl Slot {
    /// Name of the input: the value before the step.
    pub fn name(&self) -> String {
        self.role.to_string()
    }

    /// Name of the output: the value behind the step, `next/` and the name of the input.
    pub fn next(&self) -> String {
        format!("{NEXT}{}", self.role)
    }
}

/// What goes into a training graph and comes out of it.
///
/// The model's own inputs and its logits have their own names. Where one of these has a name that the contract has for
/// labels, learning rate or loss, the contract's gets a number (`labels_2`); tensors of the state never do.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Inputs: the model's own, the data first.
    pub inputs: Vec<Value>,
    /// Input: what the loss is held against: of a cross-entropy the class of each sample, int64 `[batch]` (of one output
    /// 0 or 1); of a binary one of several classes float32 `[batch, classes]`, 1 for each that a sample is of and 0 for
    /// the others; of a squared error float32 of the output's dimensions. `None` where the model makes the loss itself.
    pub labels: Option<Value>,
    /// Input: the learning rate.
    pub learning_rate: String,
    /// Output: the loss.
    pub loss: String,
    /// Output: the logits of the batch before the update, or what else the loss is taken of; `None` where that is one number.
    pub logits: Option<Value>,
    /// Inputs and outputs: the state.
    pub state: Vec<Slot>,
}

impl Contract {
    /// Whether the batch may be of any size.
    pub fn takes_any_batch(&self) -> bool {
        let dims = self.inputs.first().and_then(|input| input.dims.as_deref());
        matches!(dims, Some([Dim::Symbolic(_), ..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_tensor_is() {
        let of = || "a/b".to_owned();
        let all = [
            (Role::Step, "step"),
            (Role::Backbone, "backbone"),
            (Role::Parameter(of()), "param/a/b"),
            (Role::FirstMoment(of()), "moment1/a/b"),
            (Role::SecondMoment(of()), "moment2/a/b"),
            (Role::Running(of()), "running/a/b"),
            (Role::Average(of()), "average/a/b"),
        ];
        for (role, name) in all {
            assert_eq!(role.to_string(), name);
            assert_eq!(Role::of(name), Some(role));
        }
        for name in ["steps", "param", "a", "next/step", ""] {
            assert_eq!(Role::of(name), None, "{name}");
        }
    }
}
