//! The attributes of channels-last windows: convolutions and pools.

use std::collections::BTreeMap;

use crate::graph::{Attribute, GraphError, Node, Shapes, Window, WindowError};
use crate::onnx::DataType;

/// The attributes of the kernels' `Conv` that does what `node` does; `None` where that is not
/// two-dimensional, not float32 or beyond what it covers.
pub(super) fn of(
    node: &Node,
    shapes: &Shapes,
    x: &str,
    w: &str,
    y: &str,
) -> Result<Option<BTreeMap<String, Attribute>>, GraphError> {
    let (Ok(x), Ok(w), Ok(y)) = (shapes.info(x), shapes.info(w), shapes.info(y)) else {
        return Ok(None);
    };
    if x.dims.len() != 4 || w.dims.len() != 4 || x.dtype != DataType::Float {
        return Ok(None);
    }
    let group = node.int("group", 1)?;
    let Some(mut attributes) = attributes(node, &x.dims, &w.dims[2..], &y.dims)? else {
        return Ok(None);
    };
    attributes.insert("group".to_owned(), group.into());
    Ok((group > 0).then_some(attributes))
}

/// As [`of`], for the kernels' `MaxPool`.
pub(super) fn of_pool(
    node: &Node,
    shapes: &Shapes,
    x: &str,
    y: &str,
) -> Result<Option<BTreeMap<String, Attribute>>, GraphError> {
    let (Ok(x), Ok(y)) = (shapes.info(x), shapes.info(y)) else {
        return Ok(None);
    };
    let kernel = node.ints("kernel_shape")?.unwrap_or_default().to_vec();
    let sizes: Vec<usize> = kernel.iter().map(|&k| k.max(0) as usize).collect();
    if x.dims.len() != 4 || x.dtype != DataType::Float || sizes.len() != 2 {
        return Ok(None);
    }
    let Some(mut attributes) = attributes(node, &x.dims, &sizes, &y.dims)? else {
        return Ok(None);
    };
    attributes.insert("kernel_shape".to_owned(), kernel.into());
    Ok(Some(attributes))
}

/// What both have; `None` for a window that the kernels do not cover.
fn attributes(
    node: &Node,
    x: &[usize],
    kernel: &[usize],
    y: &[usize],
) -> Result<Option<BTreeMap<String, Attribute>>, GraphError> {
    let window = match Window::of(node, kernel, x, y) {
        Ok(window) if window.is_ordinary() => window,
        Ok(_) | Err(WindowError::Uncovered(_)) => return Ok(None),
        Err(WindowError::Graph(e)) => return Err(e),
    };
    let attributes = window.kernel_attributes(&y[2..]).into_iter();
    Ok(Some(attributes.map(|(n, v)| (n.to_owned(), v)).collect()))
}
