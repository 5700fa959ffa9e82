//! In what two models differ: fields, nodes, tensors.
//!
//! Parts are matched by their names, and where another matching leaves fewer differences, by their place in the graph: what is
//! the same but for its name is told as renamed. What order metadata have, and where values of tensors are stored, is no
//! difference; the latter is told.

mod constants;
mod graph;
mod lists;
mod norm;
mod operand;
mod pairing;
mod sequence;
#[cfg(test)]
mod tests;
mod values;
mod walk;
mod words;

use serde::Serialize;

use crate::onnx::{Model, OnnxError};

pub use values::ValueChange;
pub(crate) use values::between;

/// In what two models differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Fields of the models, their graphs and functions: versions, operator sets, metadata, declared inputs and outputs,
    /// noted types.
    pub fields: Vec<FieldChange>,
    /// Nodes.
    pub nodes: Vec<NodeChange>,
    /// Initializers, `Constant` nodes by their outputs, and tensors in attributes of other nodes, `NODE.ATTRIBUTE`.
    pub tensors: Vec<TensorChange>,
    /// What has another name, in all places that name it.
    pub renamed: Vec<Renamed>,
    /// Tensors that are stored elsewhere. This is no difference.
    pub stored: Vec<Stored>,
    /// How many things were compared.
    pub counts: Counts,
    /// The nodes of the main graphs that belong to each other: of each its name or, without one, its first output.
    #[serde(skip)]
    pub pairs: Vec<[String; 2]>,
}

impl Diff {
    /// Whether the models are the same.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
            && self.nodes.is_empty()
            && self.tensors.is_empty()
            && self.renamed.is_empty()
    }
}

/// A field, an attribute or the like, before and after; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is, such as `ir_version`, ``metadata `author` `` or ``attribute `axis` ``.
    pub field: String,
    /// What it was, in words.
    pub before: Option<String>,
    /// What it is now, in words.
    pub after: Option<String>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The way from the model to the graph or function where it is; empty for the model and its main graph.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// What differs.
    #[serde(flatten)]
    pub change: Change,
}

/// What became of a node or tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is not what it was.
    Changed,
    /// It stands elsewhere in the order of nodes, and is what it was.
    Moved,
}

/// A node that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeChange {
    /// As in [`FieldChange::scope`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Its name or, without one, its first output; the one it had, if it is not new.
    pub name: String,
    /// Its operator; the one it had, if it is not new.
    pub op_type: String,
    /// What became of it.
    pub what: Fate,
    /// What of it changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A tensor that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorChange {
    /// As in [`FieldChange::scope`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Its name; the one it had, if it is not new.
    pub name: String,
    /// Type and dimensions; those it had, if it is not new.
    pub declared: String,
    /// What became of it.
    pub what: Fate,
    /// What of it changed, besides values that are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How its values changed, where they did and both are numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<ValueChange>,
}

/// The kinds of things that are renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An input of a graph or function.
    Input,
    /// What a node gives.
    Value,
    /// A node.
    Node,
    /// An initializer or the output of a `Constant`.
    Tensor,
}

/// Something with another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// As in [`FieldChange::scope`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// What it is.
    pub kind: Kind,
    /// Its name before.
    pub from: String,
    /// Its name now.
    pub to: String,
}

/// A tensor whose values are stored elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// As in [`FieldChange::scope`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Its name before.
    pub name: String,
    /// Where they were: a field of the message, or a file.
    pub before: String,
    /// Where they are.
    pub after: String,
}

/// How many things two models have, those of inner graphs and functions included; of a pair the first is before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Nodes other than `Constant`.
    pub nodes: [usize; 2],
    /// Nodes that are the same, but for names.
    pub nodes_same: usize,
    /// Tensors.
    pub tensors: [usize; 2],
    /// Tensors that are the same, but for names and where they are stored.
    pub tensors_same: usize,
    /// Elements of the tensors.
    pub elements: [u64; 2],
}

/// Compares two models. Those that are opened in place ([`Model::open_in_place`]) are read piece by piece: no large tensor
/// is held whole.
///
/// # Errors
/// When the values of a tensor cannot be read.
pub fn diff(before: &Model, after: &Model) -> Result<Diff, OnnxError> {
    walk::models(before, after)
}
