//! What may differ between a model and one that was made from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One difference between two models, found by the names of their parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Difference {
    /// The way from the model to the graph or function where it is, in words; empty for the model
    /// itself and its main graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// What kind of thing differs.
    pub part: Part,
    /// Its name. A node goes by its first output, which is unique where node names need not be; the
    /// second of the same name is `NAME #2`.
    pub name: String,
    /// How it differs.
    #[serde(flatten)]
    pub what: What,
}

/// The parts of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A field of the model, a graph or a function that stands for itself, by its name in
    /// `onnx.proto`.
    Header,
    /// An imported operator set, by its domain.
    OperatorSet,
    /// A metadata property, by its key. Their order means nothing.
    Metadata,
    /// A local function, `DOMAIN:NAME`.
    Function,
    /// A declared input.
    Input,
    /// A declared output.
    Output,
    /// The noted type of an inner value.
    ValueInfo,
    /// A quantisation annotation, by its tensor.
    Annotation,
    /// A node.
    Node,
    /// An initializer, a `Constant` by its output, or `NODE.ATTRIBUTE` of another node.
    Tensor,
    /// A sparse initializer, or a sparse attribute `NODE.ATTRIBUTE`.
    SparseTensor,
    /// A value, wherever it is named.
    Value,
}

/// How a part differs. Where content is new, `content` is the SHA-256 of its message as encoded, so
/// that a manifest holds for these bytes and no others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// It is there now.
    Added {
        /// SHA-256 of its message.
        content: String,
        /// What stands before it in the same list; empty at the beginning, `None` where order means
        /// nothing.
        after: Option<String>,
    },
    /// It is no longer there.
    Removed,
    /// It is not what it was.
    Changed {
        /// SHA-256 of its message.
        content: String,
    },
    /// A tensor has other values; its name, element type, dimensions and notes are as they were.
    Set {
        /// SHA-256 of its message.
        content: String,
    },
    /// A tensor whose values lay in a file beside the model has them inside; they are the same.
    TakenIn,
    /// A tensor whose values lay inside the model has them in a file beside it; they are the same.
    PutBeside,
    /// A tensor whose values lie in a file beside the model has them at another place there, or in another file; they
    /// are the same.
    Relocated,
    /// It stands behind what it stood before.
    Moved {
        /// What stands before it now; empty at the beginning.
        after: String,
    },
    /// A value or node has another name, in all places that name it. Only a manifest says so: two
    /// models tell of something that is gone and something that is new.
    Renamed {
        /// The name it has now.
        to: String,
    },
}

impl What {
    /// Whether it tells of where the values of a tensor lie, and of nothing else.
    pub fn is_place(&self) -> bool {
        matches!(self, What::TakenIn | What::PutBeside | What::Relocated)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Header => "field",
            Part::OperatorSet => "operator set",
            Part::Metadata => "metadata property",
            Part::Function => "function",
            Part::Input => "input",
            Part::Output => "output",
            Part::ValueInfo => "noted type of",
            Part::Annotation => "quantisation annotation of",
            Part::Node => "node",
            Part::Tensor => "tensor",
            Part::SparseTensor => "sparse tensor",
            Part::Value => "value",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scope in &self.scope {
            write!(f, "in {scope}: ")?;
        }
        write!(f, "{} `{}` ", self.part, self.name)?;
        match &self.what {
            What::Added { after: None, .. } => f.write_str("is new"),
            What::Added {
                after: Some(after), ..
            } if after.is_empty() => f.write_str("is new, in the first place"),
            What::Added {
                after: Some(after), ..
            } => write!(f, "is new, behind `{after}`"),
            What::Removed => f.write_str("is gone"),
            What::Changed { .. } => f.write_str("is not what it was"),
            What::Set { .. } => f.write_str("has other values"),
            What::TakenIn => f.write_str("has its values inside instead of beside the model"),
            What::PutBeside => f.write_str("has its values beside instead of inside the model"),
            What::Relocated => f.write_str("has its values at another place beside the model"),
            What::Moved { after } if after.is_empty() => {
                f.write_str("has moved to the first place")
            }
            What::Moved { after } => write!(f, "has moved behind `{after}`"),
            What::Renamed { to } => write!(f, "is now named `{to}`"),
        }
    }
}
