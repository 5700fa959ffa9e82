//! Operators of [`crate::kernels`], as the reverse sweep writes them: channels first.

use crate::graph::{GraphError, TensorInfo};
use crate::kernels::dialect::{ConvWindow, Kernel, Operator};

use super::ShapeRule;
use super::op::{Inferred, Op};

/// The rule of an operator; `None` of those that only `channels_last` writes.
pub(super) fn rule(operator: Operator) -> Option<ShapeRule> {
    match operator {
        Operator::ConvInputGradient => Some(conv_input_gradient),
        Operator::ConvWeightGradient => Some(conv_weight_gradient),
        Operator::RowScaleGradient => Some(row_scale_gradient),
        Operator::ActivationGradient | Operator::HardSwishGradient | Operator::MaxPoolGradient => {
            Some(like_first)
        }
        Operator::Conv
        | Operator::Gemm
        | Operator::GemmWeightGradient
        | Operator::HardSwish
        | Operator::MaxPool => None,
    }
}

/// Gradient of a convolution's input, from dY and W.
fn conv_input_gradient(op: &Op) -> Inferred {
    let (dy, w) = (op.info(0)?, op.dims_at_least(1, 2)?);
    let (batch, conv) = (op.dims_at_least(0, 1)?[0], window(op)?);
    let channels = op.product(&[w[1], conv.group])?;
    Op::one(dy.dtype, with_extent(batch, channels, conv))
}

/// Gradients of a convolution's weight and bias, from X and dY.
fn conv_weight_gradient(op: &Op) -> Inferred {
    let (x, dy) = (op.info(0)?, op.dims_at_least(1, 2)?);
    let (channels, conv) = (op.dims_at_least(0, 2)?[1], window(op)?);
    let gradient = |dims| TensorInfo {
        dtype: x.dtype,
        dims,
    };
    let dims = with_extent(dy[1], channels / conv.group.max(1), conv);
    Ok(vec![gradient(dims), gradient(vec![dy[1]])])
}

/// Gradients of a matrix and of its rows' factors.
fn row_scale_gradient(op: &Op) -> Inferred {
    Ok(vec![op.info(1)?.clone(), op.info(2)?.clone()])
}

/// A gradient with the shape of input 0.
fn like_first(op: &Op) -> Inferred {
    op.same()
}

fn window(op: &Op) -> Result<ConvWindow, GraphError> {
    match op.node.kernel()? {
        Some(Kernel::ConvInputGradient { window, .. } | Kernel::ConvWeightGradient(window)) => {
            Ok(window)
        }
        _ => Err(op.error("it is no gradient of a convolution")),
    }
}

fn with_extent(first: usize, second: usize, conv: ConvWindow) -> Vec<usize> {
    let [height, width] = conv.window.extent;
    vec![first, second, height, width]
}
