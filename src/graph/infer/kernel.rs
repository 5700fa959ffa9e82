//! Operators of [`crate::kernels`], as the reverse sweep writes them: channels first.
//!
//! Their attribute `extent` gives the spatial dimensions of what they make.

use crate::graph::TensorInfo;

use super::op::{Inferred, Op};

/// Gradient of a convolution's input, from dY and W.
pub(super) fn conv_input_gradient(op: &Op) -> Inferred {
    let (dy, w) = (op.info(0)?, op.dims_at_least(1, 2)?);
    let batch = op.dims_at_least(0, 1)?[0];
    let group = usize::try_from(op.node.int("group", 1)?).unwrap_or(1);
    let channels = op.product(&[w[1], group])?;
    Op::one(dy.dtype, with_extent(op, batch, channels)?)
}

/// Gradients of a convolution's weight and bias, from X and dY.
pub(super) fn conv_weight_gradient(op: &Op) -> Inferred {
    let (x, dy) = (op.info(0)?, op.dims_at_least(1, 2)?);
    let channels = op.dims_at_least(0, 2)?[1];
    let group = usize::try_from(op.node.int("group", 1)?).unwrap_or(1);
    let gradient = |dims| TensorInfo {
        dtype: x.dtype,
        dims,
    };
    let dims = with_extent(op, dy[1], channels / group.max(1))?;
    Ok(vec![gradient(dims), gradient(vec![dy[1]])])
}

/// Gradients of a matrix and of its rows' factors.
pub(super) fn row_scale_gradient(op: &Op) -> Inferred {
    Ok(vec![op.info(1)?.clone(), op.info(2)?.clone()])
}

/// A gradient with the shape of input 0.
pub(super) fn like_first(op: &Op) -> Inferred {
    op.same()
}

fn with_extent(
    op: &Op,
    first: usize,
    second: usize,
) -> Result<Vec<usize>, crate::graph::GraphError> {
    let mut dims = vec![first, second];
    for &d in op.node.ints("extent")?.unwrap_or_default() {
        dims.push(op.size(i128::from(d))?);
    }
    Ok(dims)
}
