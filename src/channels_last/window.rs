//! The kernels' windows of convolutions and pools.

use crate::graph::{GraphError, Node, Shapes, Window, WindowError};
use crate::kernels::dialect::{ConvWindow, PoolWindow};
use crate::onnx::DataType;

/// The window of the kernels' `Conv` that does what `node` does; `None` where that is not
/// two-dimensional, not float32 or beyond what it covers.
pub(super) fn of(
    node: &Node,
    shapes: &Shapes,
    x: &str,
    w: &str,
    y: &str,
) -> Result<Option<ConvWindow>, GraphError> {
    let (Ok(x), Ok(w), Ok(y)) = (shapes.info(x), shapes.info(w), shapes.info(y)) else {
        return Ok(None);
    };
    if x.dims.len() != 4 || w.dims.len() != 4 || x.dtype != DataType::Float {
        return Ok(None);
    }
    let kernel = &w.dims[2..];
    let window = covered(Window::of(node, kernel, &x.dims, &y.dims))?;
    Ok(window.and_then(|w| w.conv_kernel(&x.dims, y.dims.get(2..)?)))
}

/// As [`of`], for the kernels' `MaxPool`.
pub(super) fn of_pool(
    node: &Node,
    shapes: &Shapes,
    x: &str,
    y: &str,
) -> Result<Option<PoolWindow>, GraphError> {
    let (Ok(x), Ok(y)) = (shapes.info(x), shapes.info(y)) else {
        return Ok(None);
    };
    if x.dims.len() != 4 || x.dtype != DataType::Float {
        return Ok(None);
    }
    let window = covered(Window::of_pool(node, &x.dims, &y.dims))?;
    Ok(window.and_then(|w| w.pool_kernel(&x.dims, &y.dims)))
}

/// `None` for a window of a kind that no one here works with.
fn covered<T>(window: Result<T, WindowError>) -> Result<Option<T>, GraphError> {
    match window {
        Ok(window) => Ok(Some(window)),
        Err(WindowError::Uncovered(_)) => Ok(None),
        Err(WindowError::Graph(e)) => Err(e),
    }
}
