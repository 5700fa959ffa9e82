//! What is known of each operator of ONNX's own domain, one row per operator.
//!
//! Whoever asks what kind of operator a node is, which of its inputs are weights, what it mixes or how it
//! takes to channels-last maps asks [`Node::operator`]; no other file lists operators. What is *done* with
//! an operator (its gradient, how its batch is freed) stands in the room that does it, keyed by a column
//! here or, where each has a formula of its own, by its name. `docs/adding-an-operator.md` adds one as an
//! example.
//!
//! [`schemas`] has every operator's forms: what a node of it may have in each version of the operator set.
//!
//! Sources: <https://onnx.ai/onnx/operators/> and
//! <https://github.com/onnx/onnx/blob/main/docs/Changelog.md> for opsets.

mod functions;
mod layers;
mod moves;
mod others;
mod row;
pub(crate) mod schemas;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Node;
use super::infer::ShapeRule;

/// A row of the table. What a row does not say is not so, or not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator {
    /// The operator's name.
    pub name: &'static str,
    /// The version of the default operator set that brought it (`docs/operators.md` tells it).
    #[cfg_attr(not(test), expect(dead_code, reason = "only docs are made of it"))]
    pub since: i64,
    /// What older forms are brought from, where the operator changed on the way to opset 21.
    pub adapted: Option<Adapted>,
    /// The types and dimensions of its outputs; `None` where they are not known here.
    pub(in crate::graph) shapes: Option<ShapeRule>,
    /// What kind of thing it is in a network.
    pub class: Class,
    /// What its input 0 must be.
    pub data: Data,
    /// At which inputs a constant is a weight.
    pub parameters: Parameters,
    /// From which inputs weights come to its outputs, besides those of `parameters`.
    pub carries: Carries,
    /// Which axes of its inputs it mixes, so that samples along them would not stay apart.
    pub mixing: Mixing,
    /// How it takes to channels-last maps.
    pub channels_last: ChannelsLast,
    /// What becomes of the elements of its input 0.
    pub elements: Elements,
    /// Whether its outputs are floats.
    pub gives: Gives,
    /// How its multiply-accumulate operations are counted.
    pub work: Work,
    /// The least and the largest element that it gives, whatever it reads.
    pub range: Option<[f64; 2]>,
}

/// An older form of an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adapted {
    /// Nodes of an older opset than this are rewritten; `None`: of every opset.
    pub below: Option<i64>,
    /// What was different there, or what becomes of it.
    pub change: &'static str,
}

impl Adapted {
    /// Whether nodes of an opset are rewritten.
    pub fn applies(&self, opset: i64) -> bool {
        self.below.is_none_or(|below| opset < below)
    }
}

/// What kind of thing an operator is in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Any other.
    Other,
    /// A layer, where it has a weight at one of these inputs.
    Layer(&'static [usize]),
    /// Adds to its data or multiplies it: with a constant per channel a bias or a scale.
    Affine,
    /// Normalises by statistics.
    Norm,
    /// An activation function.
    Activation,
    /// Pools over windows.
    WindowPool,
    /// Pools over the whole map.
    GlobalPool,
    /// Runs graphs of its own.
    ControlFlow,
    /// Works on quantised numbers.
    Quantised,
    /// Works on sequences or optionals.
    Sequence,
}

/// What an operator's input 0 must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Anything.
    Any,
    /// `[N, C, …]`.
    Channels,
    /// `[N, C, …]` with one spatial axis at least.
    Map,
}

/// Inputs of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// These, the likeliest first.
    At(&'static [usize]),
    /// All.
    Every,
}

impl Inputs {
    /// Their indices for a node.
    pub fn of(self, node: &Node) -> Vec<usize> {
        match self {
            Inputs::At(places) => places.to_vec(),
            Inputs::Every => (0..node.inputs.len()).collect(),
        }
    }
}

/// At which inputs of an operator a constant is a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    /// At none.
    None,
    /// At these: layers, normalisations and tables.
    Own(Inputs),
    /// At these, but not each: the operator has no weights of its own and mixes what it reads.
    Mixed(Inputs),
}

/// Inputs from which weights come to an operator's outputs: what is made of them is still that weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// None.
    Nothing,
    /// Input 0.
    First,
    /// All.
    Every,
}

/// Axes of input 0 that an operator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axes {
    /// Always these.
    Fixed(&'static [i64]),
    /// The one that the attribute `axis` names, with this default.
    Axis(i64),
    /// From the one that the attribute `axis` names, with this default, to the last.
    FromAxis(i64),
    /// Those of the attribute `axes`, with this default.
    List(&'static [i64]),
    /// Those of input 1.
    Input,
}

/// Which axes of its inputs an operator mixes: elements of the result depend on elements at other positions
/// along these axes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mixing {
    /// It is not known.
    Unknown,
    /// None: each element of the result depends on the elements at the same (broadcast) place.
    Elementwise,
    /// None of input 0, from which alone the elements come.
    Nothing,
    /// These of input 0, which keeps all its axes.
    Along(Axes),
    /// Those of input 0 from this one on.
    Behind(usize),
    /// Those of its input 1, or all, which it reduces.
    Reduction,
    /// These, which it reduces.
    Reduced(Axes),
    /// By its own rule.
    Own(Own),
}

/// Operators that mix axes by a rule of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    MatMul,
    Gemm,
    Einsum,
    /// `Reshape` and its like.
    Rearranged,
    Transpose,
    Expand,
    Tile,
    /// `ConstantOfShape`.
    Repeated,
    Concat,
    Slice,
    Pad,
    Resize,
    Gather,
    /// `GatherElements`, `ScatterElements`.
    Elements,
    GatherNd,
    OneHot,
}

/// How an operator takes to channels-last maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelsLast {
    /// It works on plain values.
    Plain,
    /// It does not care, as each element is for itself.
    Elementwise,
    /// It reduces the turned axes.
    Reduction,
    /// The kernels' convolution.
    Conv,
    /// The kernels' pool.
    MaxPool,
    /// This reduction over the turned spatial axes.
    GlobalPool(&'static str),
    /// Where it turns a map, it only renames.
    Transpose,
    /// Of few rows, the kernels' product.
    Product,
    /// Works along the turned axis.
    AlongAxis,
    /// To the turned dimensions.
    Expand,
    /// A factor and a shift per channel.
    BatchNorm,
}

/// What becomes of the elements of an operator's input 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Something is computed of them.
    Computed,
    /// They pass.
    Same,
    /// They pass but in training.
    Dropped,
    /// They pass as another type.
    Converted,
    /// They pass in the same order, in other dimensions.
    Reshaped,
    /// They pass, in another order.
    Permuted,
    /// Some of them, or copies of them, pass.
    Picked,
}

impl Elements {
    /// Whether the output is the input, but for training.
    pub fn is_copy(self) -> bool {
        matches!(self, Elements::Same | Elements::Dropped)
    }

    /// Whether the output has each element of the input once, in whatever form and place.
    pub fn is_rearrangement(self) -> bool {
        use Elements::{Converted, Permuted, Reshaped, Same};
        matches!(self, Same | Converted | Reshaped | Permuted)
    }
}

/// Whether an operator's outputs are floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// They may be.
    Floats,
    /// They are integers or truth values.
    Integers,
    /// They are sizes of its input, which are known before the graph runs.
    Sizes,
    /// They are of the type of the attribute `to`.
    TypeOfTo,
}

/// How an operator's multiply-accumulate operations are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// As none.
    None,
    /// Each output element meets the weight of its channel.
    Conv,
    /// Each input element meets the weight of its channel.
    ConvTranspose,
    /// Each output element is a product along the inner axis, which may be turned.
    Gemm,
    /// Each output element is a product along the inner axis.
    MatMul,
    /// All weights act once per step.
    Recurrent,
    /// They are not.
    Uncounted,
}

impl Operator {
    /// Whether the shapes that it makes are known here.
    pub fn knows_shapes(&self) -> bool {
        self.shapes.is_some()
    }
}

static TABLE: LazyLock<HashMap<&'static str, &'static Operator>> =
    LazyLock::new(|| all().map(|operator| (operator.name, operator)).collect());

/// All rows.
pub(crate) fn all() -> impl Iterator<Item = &'static Operator> {
    [functions::ROWS, layers::ROWS, moves::ROWS, others::ROWS]
        .into_iter()
        .flatten()
}

/// The row of an operator of ONNX's own domain.
pub(crate) fn named(name: &str) -> Option<&'static Operator> {
    TABLE.get(name).copied()
}

impl Node {
    /// What is known of the node's operator; `None` of another domain, or where nothing is.
    pub(crate) fn operator(&self) -> Option<&'static Operator> {
        named(&self.op_type).filter(|_| self.domain.is_empty())
    }

    /// Whether the node's operator is of a class.
    pub(crate) fn is_a(&self, class: Class) -> bool {
        self.operator().is_some_and(|o| o.class == class)
    }

    /// What becomes of the elements of input 0.
    pub(crate) fn elements(&self) -> Elements {
        self.operator().map_or(Elements::Computed, |o| o.elements)
    }

    /// Whether the outputs are sizes of the input, which are known before the graph runs.
    pub(crate) fn gives_sizes(&self) -> bool {
        self.operator().is_some_and(|o| o.gives == Gives::Sizes)
    }
}
