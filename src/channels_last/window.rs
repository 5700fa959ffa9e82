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
    let kernel = &w.dims[2..];
    let window = covered(Window::of(node, kernel, &x.dims, &y.dims))?;
    let window = window.filter(|w| group > 0 && w.is_ordinary(kernel, &x.dims));
    Ok(window.map(|window| {
        let mut attributes = attributes(&window, &y.dims);
        attributes.insert("group".to_owned(), group.into());
        attributes
    }))
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
    let window = covered(Window::of(node, &sizes, &x.dims, &y.dims))?;
    let window = window.filter(|w| w.is_ordinary_pool(&sizes, &x.dims));
    Ok(window.map(|window| {
        let mut attributes = attributes(&window, &y.dims);
        attributes.insert("kernel_shape".to_owned(), kernel.into());
        attributes
    }))
}

/// `None` for a window of a kind that no one here works with.
fn covered(window: Result<Window, WindowError>) -> Result<Option<Window>, GraphError> {
    match window {
        Ok(window) => Ok(Some(window)),
        Err(WindowError::Uncovered(_)) => Ok(None),
        Err(WindowError::Graph(e)) => Err(e),
    }
}

/// What both have.
fn attributes(window: &Window, y: &[usize]) -> BTreeMap<String, Attribute> {
    let attributes = window.kernel_attributes(&y[2..]).into_iter();
    attributes.map(|(n, v)| (n.to_owned(), v)).collect()
}
