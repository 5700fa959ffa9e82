//! The operators of the domain [`DOMAIN`]: how a node of a graph says which kernel is to run, and how.
//!
//! Nodes are written and read here alone: gradient rules and `channels_last` make a [`Kernel`] into the
//! attributes of a node, sessions make these into a [`Kernel`] again.
//!
//! All maps are channels-last, weights `[O, I/group, kH, kW]`:
//!
//! | operator | inputs | outputs |
//! | --- | --- | --- |
//! | `Conv` | X, W, bias?, residual? | act(W ∗ X + bias + residual) |
//! | `ConvInputGradient` | dY, W, addend?, X? | (Wᵀ ∗ dY + addend) ⊙ act′(X) |
//! | `ConvWeightGradient` | X, dY | dW, dbias? |
//! | `ActivationGradient` | dY, Y | dY ⊙ act′(Y) |
//! | `Gemm` | A, B, bias? | A · B + bias, or A · Bᵀ + bias where `transB` = 1 |
//! | `GemmWeightGradient` | A, dY | Aᵀ · dY |
//! | `HardSwish` | X | Y |
//! | `HardSwishGradient` | dY, X | dX |
//! | `RowScaleGradient` | dY, A, s | gradients of Y = A ⊙ s, one factor for each row |
//! | `MaxPool` | X | Y |
//! | `MaxPoolGradient` | X, dY | dX |
//!
//! Attributes: `strides`, `pads` (before the first row and column), `dilations`, `group`,
//! `kernel_shape` of pools, and `extent`, height and width of the output (for a weight gradient those
//! of the kernel). `low` and `high` bound the activation act, min(max(·, low), high); without them it is
//! the identity. `coarse` = 1 lets a `Conv` save time at the price of a digit. `rows` of a
//! `GemmWeightGradient` are those of A. `shape0` and `shape1` are the dimensions of the outputs, for
//! runtimes that plan ahead. Of the optional inputs only those that a node has are there, and an
//! attribute of the name of each ([`Optional`]) says which input it is.

mod kernel;
mod window;

use thiserror::Error;

pub use kernel::Kernel;
pub use window::{ConvWindow, PoolWindow, Window};

/// The domain of the operators that call the kernels.
pub const DOMAIN: &str = "ftsurgery";

/// An operator of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says what each does")]
pub enum Operator {
    Conv,
    ConvInputGradient,
    ConvWeightGradient,
    ActivationGradient,
    Gemm,
    GemmWeightGradient,
    HardSwish,
    HardSwishGradient,
    RowScaleGradient,
    MaxPool,
    MaxPoolGradient,
}

/// An input that a node may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// Added to every channel.
    Bias,
    /// A map that is added.
    Residual,
    /// A gradient that is added.
    Addend,
    /// The output of the activation whose slope is multiplied with.
    X,
}

impl Optional {
    /// The attribute that says which input it is.
    pub const fn name(self) -> &'static str {
        match self {
            Optional::Bias => "bias",
            Optional::Residual => "residual",
            Optional::Addend => "addend",
            Optional::X => "x",
        }
    }
}

/// What a node of an operator reads and makes.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The operator's name.
    pub name: &'static str,
    /// The inputs that every node has.
    pub inputs: usize,
    /// Those that may stand behind them, in this order.
    pub optional: &'static [Optional],
    /// The outputs that every node has.
    pub outputs: usize,
    /// How many may follow them.
    pub optional_outputs: usize,
}

impl Operator {
    /// All operators.
    pub const ALL: [Operator; 11] = [
        Operator::Conv,
        Operator::ConvInputGradient,
        Operator::ConvWeightGradient,
        Operator::ActivationGradient,
        Operator::Gemm,
        Operator::GemmWeightGradient,
        Operator::HardSwish,
        Operator::HardSwishGradient,
        Operator::RowScaleGradient,
        Operator::MaxPool,
        Operator::MaxPoolGradient,
    ];

    /// The operator of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    /// The operator's name in the domain.
    pub const fn name(self) -> &'static str {
        self.signature().name
    }

    /// What its nodes read and make.
    pub const fn signature(self) -> Signature {
        use Optional::{Addend, Bias, Residual, X};
        let (name, inputs, optional, [outputs, optional_outputs]): (_, _, &[Optional], _) =
            match self {
                Operator::Conv => ("Conv", 2, &[Bias, Residual], [1, 0]),
                Operator::ConvInputGradient => ("ConvInputGradient", 2, &[Addend, X], [1, 0]),
                Operator::ConvWeightGradient => ("ConvWeightGradient", 2, &[], [1, 1]),
                Operator::ActivationGradient => ("ActivationGradient", 2, &[], [1, 0]),
                Operator::Gemm => ("Gemm", 2, &[Bias], [1, 0]),
                Operator::GemmWeightGradient => ("GemmWeightGradient", 2, &[], [1, 0]),
                Operator::HardSwish => ("HardSwish", 1, &[], [1, 0]),
                Operator::HardSwishGradient => ("HardSwishGradient", 2, &[], [1, 0]),
                Operator::RowScaleGradient => ("RowScaleGradient", 3, &[], [2, 0]),
                Operator::MaxPool => ("MaxPool", 1, &[], [1, 0]),
                Operator::MaxPoolGradient => ("MaxPoolGradient", 2, &[], [1, 0]),
            };
        Signature {
            name,
            inputs,
            optional,
            outputs,
            optional_outputs,
        }
    }

    /// Where an optional input stands while absent ones before it have a place, too.
    pub fn place(self, input: Optional) -> Option<usize> {
        let Signature {
            inputs, optional, ..
        } = self.signature();
        Some(inputs + optional.iter().position(|&o| o == input)?)
    }
}

/// The attribute with the dimensions of output `index`.
pub fn shape_attribute(index: usize) -> String {
    format!("shape{index}")
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of their types")]
pub enum Value {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
}

/// What the attributes of a node are read from: `None` where there is none of the name and type.
pub trait Attributes {
    /// An integer.
    fn int(&self, name: &str) -> Option<i64>;
    /// A float.
    fn float(&self, name: &str) -> Option<f32>;
    /// A list of integers.
    fn ints(&self, name: &str) -> Option<Vec<i64>>;
}

/// An attribute that is missing or not what it must be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("attribute `{0}` is missing or malformed")]
pub struct DialectError(&'static str);

/// Which input an optional one is; `None` where a node has it not.
///
/// # Errors
/// When the attribute is malformed.
pub fn read_place(from: &dyn Attributes, input: Optional) -> Result<Option<usize>, DialectError> {
    let place = from.int(input.name()).map(usize::try_from).transpose();
    place.map_err(|_| DialectError(input.name()))
}

fn read_size(from: &dyn Attributes, name: &'static str) -> Result<usize, DialectError> {
    let size = from.int(name).and_then(|v| usize::try_from(v).ok());
    size.ok_or(DialectError(name))
}

#[cfg(test)]
mod tests;
