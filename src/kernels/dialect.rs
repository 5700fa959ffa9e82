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

use thiserror::Error;

use super::Activation;
use super::pool::PoolShape;
use super::shape::ConvShape;

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

/// Where windows lie over a map, by height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Steps of the window.
    pub strides: [usize; 2],
    /// Rows and columns of zeros before the first.
    pub pads: [usize; 2],
    /// Distances of its taps.
    pub dilations: [usize; 2],
    /// Height and width of what is made.
    pub extent: [usize; 2],
}

/// The window of a convolution or of one of its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvWindow {
    /// Where it lies.
    pub window: Window,
    /// Groups of channels.
    pub group: usize,
}

impl ConvWindow {
    /// The sizes of a convolution of X `[batch, height, width, channels]` to Y of this height, width and
    /// number of channels, with `kernel` taps.
    pub fn shape(&self, x: [usize; 4], y: [usize; 3], kernel: [usize; 2]) -> ConvShape {
        ConvShape {
            batch: x[0],
            input: [x[1], x[2]],
            in_channels: x[3],
            output: [y[0], y[1]],
            out_channels: y[2],
            kernel,
            strides: self.window.strides,
            pads: self.window.pads,
            dilations: self.window.dilations,
            group: self.group,
        }
    }
}

/// The window of a pool or of its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// Where it lies.
    pub window: Window,
    /// Taps by height and width.
    pub kernel: [usize; 2],
}

impl PoolWindow {
    /// The sizes of the pool of X `[batch, height, width, channels]`.
    pub fn shape(&self, [batch, height, width, channels]: [usize; 4]) -> PoolShape {
        PoolShape {
            batch,
            input: [height, width],
            output: self.window.extent,
            channels,
            kernel: self.kernel,
            strides: self.window.strides,
            pads: self.window.pads,
            dilations: self.window.dilations,
        }
    }
}

/// An operator with all that its node's attributes say.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "as for the operators and their attributes above"
)]
pub enum Kernel {
    Conv {
        window: ConvWindow,
        activation: Activation,
        coarse: bool,
    },
    ConvInputGradient {
        window: ConvWindow,
        activation: Activation,
    },
    ConvWeightGradient(ConvWindow),
    ActivationGradient(Activation),
    Gemm {
        transposed: bool,
    },
    GemmWeightGradient {
        rows: usize,
    },
    HardSwish,
    HardSwishGradient,
    RowScaleGradient,
    MaxPool(PoolWindow),
    MaxPoolGradient(PoolWindow),
}

impl Kernel {
    /// Its operator.
    pub const fn operator(&self) -> Operator {
        match self {
            Kernel::Conv { .. } => Operator::Conv,
            Kernel::ConvInputGradient { .. } => Operator::ConvInputGradient,
            Kernel::ConvWeightGradient(_) => Operator::ConvWeightGradient,
            Kernel::ActivationGradient(_) => Operator::ActivationGradient,
            Kernel::Gemm { .. } => Operator::Gemm,
            Kernel::GemmWeightGradient { .. } => Operator::GemmWeightGradient,
            Kernel::HardSwish => Operator::HardSwish,
            Kernel::HardSwishGradient => Operator::HardSwishGradient,
            Kernel::RowScaleGradient => Operator::RowScaleGradient,
            Kernel::MaxPool(_) => Operator::MaxPool,
            Kernel::MaxPoolGradient(_) => Operator::MaxPoolGradient,
        }
    }

    /// The attributes of a node of it.
    pub fn attributes(&self) -> Vec<(&'static str, Value)> {
        let mut list = Vec::new();
        match *self {
            Kernel::Conv {
                window,
                activation,
                coarse,
            } => {
                write_conv(&mut list, window);
                write_activation(&mut list, activation);
                if coarse {
                    list.push(("coarse", Value::Int(1)));
                }
            }
            Kernel::ConvInputGradient { window, activation } => {
                write_conv(&mut list, window);
                write_activation(&mut list, activation);
            }
            Kernel::ConvWeightGradient(window) => write_conv(&mut list, window),
            Kernel::ActivationGradient(activation) => write_activation(&mut list, activation),
            Kernel::Gemm { transposed } => list.push(("transB", Value::Int(transposed.into()))),
            Kernel::GemmWeightGradient { rows } => list.push(("rows", Value::Int(rows as i64))),
            Kernel::MaxPool(PoolWindow { window, kernel })
            | Kernel::MaxPoolGradient(PoolWindow { window, kernel }) => {
                write_window(&mut list, window);
                list.push(("kernel_shape", pair(kernel)));
            }
            Kernel::HardSwish | Kernel::HardSwishGradient | Kernel::RowScaleGradient => {}
        }
        list
    }

    /// What the attributes of a node of `operator` say.
    ///
    /// # Errors
    /// When one is missing or malformed.
    pub fn read(operator: Operator, from: &dyn Attributes) -> Result<Self, DialectError> {
        Ok(match operator {
            Operator::Conv => Kernel::Conv {
                window: read_conv(from)?,
                activation: read_activation(from),
                coarse: from.int("coarse") == Some(1),
            },
            Operator::ConvInputGradient => Kernel::ConvInputGradient {
                window: read_conv(from)?,
                activation: read_activation(from),
            },
            Operator::ConvWeightGradient => Kernel::ConvWeightGradient(read_conv(from)?),
            Operator::ActivationGradient => Kernel::ActivationGradient(read_activation(from)),
            Operator::Gemm => Kernel::Gemm {
                transposed: from.int("transB") == Some(1),
            },
            Operator::GemmWeightGradient => Kernel::GemmWeightGradient {
                rows: read_size(from, "rows")?,
            },
            Operator::HardSwish => Kernel::HardSwish,
            Operator::HardSwishGradient => Kernel::HardSwishGradient,
            Operator::RowScaleGradient => Kernel::RowScaleGradient,
            Operator::MaxPool => Kernel::MaxPool(read_pool(from)?),
            Operator::MaxPoolGradient => Kernel::MaxPoolGradient(read_pool(from)?),
        })
    }
}

/// Which input an optional one is; `None` where a node has it not.
///
/// # Errors
/// When the attribute is malformed.
pub fn read_place(from: &dyn Attributes, input: Optional) -> Result<Option<usize>, DialectError> {
    let place = from.int(input.name()).map(usize::try_from).transpose();
    place.map_err(|_| DialectError(input.name()))
}

fn pair([height, width]: [usize; 2]) -> Value {
    Value::Ints(vec![height as i64, width as i64])
}

fn write_window(list: &mut Vec<(&'static str, Value)>, window: Window) {
    list.push(("strides", pair(window.strides)));
    list.push(("pads", pair(window.pads)));
    list.push(("dilations", pair(window.dilations)));
    list.push(("extent", pair(window.extent)));
}

fn write_conv(list: &mut Vec<(&'static str, Value)>, ConvWindow { window, group }: ConvWindow) {
    write_window(list, window);
    list.push(("group", Value::Int(group as i64)));
}

fn write_activation(list: &mut Vec<(&'static str, Value)>, activation: Activation) {
    if let Some([low, high]) = activation.bounds() {
        list.push(("low", Value::Float(low)));
        list.push(("high", Value::Float(high)));
    }
}

fn read_size(from: &dyn Attributes, name: &'static str) -> Result<usize, DialectError> {
    let size = from.int(name).and_then(|v| usize::try_from(v).ok());
    size.ok_or(DialectError(name))
}

fn read_pair(from: &dyn Attributes, name: &'static str) -> Result<[usize; 2], DialectError> {
    let pair = from.ints(name).and_then(|values| match *values {
        [a, b] => Some([usize::try_from(a).ok()?, usize::try_from(b).ok()?]),
        _ => None,
    });
    pair.ok_or(DialectError(name))
}

fn read_window(from: &dyn Attributes) -> Result<Window, DialectError> {
    Ok(Window {
        strides: read_pair(from, "strides")?,
        pads: read_pair(from, "pads")?,
        dilations: read_pair(from, "dilations")?,
        extent: read_pair(from, "extent")?,
    })
}

fn read_conv(from: &dyn Attributes) -> Result<ConvWindow, DialectError> {
    Ok(ConvWindow {
        window: read_window(from)?,
        group: read_size(from, "group")?,
    })
}

fn read_pool(from: &dyn Attributes) -> Result<PoolWindow, DialectError> {
    Ok(PoolWindow {
        window: read_window(from)?,
        kernel: read_pair(from, "kernel_shape")?,
    })
}

fn read_activation(from: &dyn Attributes) -> Activation {
    match (from.float("low"), from.float("high")) {
        (Some(low), Some(high)) => Activation::between(low, high),
        _ => Activation::None,
    }
}

#[cfg(test)]
mod tests;
