//! An operator of the domain with its settings, and how attributes say them.

use crate::kernels::Activation;

use super::{Attributes, ConvWindow, DialectError, Operator, PoolWindow, Value, read_size};

/// An operator with all that its node's attributes say.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "as for the operators and their attributes in the table"
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
                window.write(&mut list);
                write_activation(&mut list, activation);
                if coarse {
                    list.push(("coarse", Value::Int(1)));
                }
            }
            Kernel::ConvInputGradient { window, activation } => {
                window.write(&mut list);
                write_activation(&mut list, activation);
            }
            Kernel::ConvWeightGradient(window) => window.write(&mut list),
            Kernel::ActivationGradient(activation) => write_activation(&mut list, activation),
            Kernel::Gemm { transposed } => list.push(("transB", Value::Int(transposed.into()))),
            Kernel::GemmWeightGradient { rows } => list.push(("rows", Value::Int(rows as i64))),
            Kernel::MaxPool(window) | Kernel::MaxPoolGradient(window) => window.write(&mut list),
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
                window: ConvWindow::read(from)?,
                activation: read_activation(from),
                coarse: from.int("coarse") == Some(1),
            },
            Operator::ConvInputGradient => Kernel::ConvInputGradient {
                window: ConvWindow::read(from)?,
                activation: read_activation(from),
            },
            Operator::ConvWeightGradient => Kernel::ConvWeightGradient(ConvWindow::read(from)?),
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
            Operator::MaxPool => Kernel::MaxPool(PoolWindow::read(from)?),
            Operator::MaxPoolGradient => Kernel::MaxPoolGradient(PoolWindow::read(from)?),
        })
    }
}

fn write_activation(list: &mut Vec<(&'static str, Value)>, activation: Activation) {
    if let Some([low, high]) = activation.bounds() {
        list.push(("low", Value::Float(low)));
        list.push(("high", Value::Float(high)));
    }
}

fn read_activation(from: &dyn Attributes) -> Activation {
    match (from.float("low"), from.float("high")) {
        (Some(low), Some(high)) => Activation::between(low, high),
        _ => Activation::None,
    }
}
