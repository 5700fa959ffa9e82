//! The attributes of channels-last windows: convolutions and pools.

use std::collections::BTreeMap;

use crate::graph::{Attribute, GraphError, Node, Shapes};
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
    let Some(window) = Window::read(node, &x.dims, &w.dims[2..], &y.dims)? else {
        return Ok(None);
    };
    let group = node.int("group", 1)?;
    if group < 1 {
        return Ok(None);
    }
    let mut attributes = window.attributes();
    attributes.insert("group".to_owned(), group.into());
    Ok(Some(attributes))
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
    let Some(window) = Window::read(node, &x.dims, &sizes, &y.dims)? else {
        return Ok(None);
    };
    let mut attributes = window.attributes();
    attributes.insert("kernel_shape".to_owned(), kernel.into());
    Ok(Some(attributes))
}

/// Strides, dilations and pads beyond this no real model has, and no arithmetic here overflows with.
const LARGEST: i64 = 1 << 30;

struct Window {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Before the first row and column.
    pads: Vec<i64>,
    extent: Vec<i64>,
}

impl Window {
    /// `None` for what the kernels do not cover.
    fn read(
        node: &Node,
        x: &[usize],
        kernel: &[usize],
        y: &[usize],
    ) -> Result<Option<Self>, GraphError> {
        let list = |name: &str, default: Vec<i64>| -> Result<Vec<i64>, GraphError> {
            Ok(node.ints(name)?.map_or(default, <[i64]>::to_vec))
        };
        let strides = list("strides", vec![1, 1])?;
        let dilations = list("dilations", vec![1, 1])?;
        let mut pads = list("pads", vec![0; 4])?;
        if strides.len() != 2 || dilations.len() != 2 || pads.len() != 4 {
            return Ok(None);
        }
        pads.truncate(2);
        let steps = || strides.iter().chain(&dilations);
        if steps().any(|&n| n < 1) || steps().chain(&pads).any(|&n| !(0..=LARGEST).contains(&n)) {
            return Ok(None);
        }
        match node.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => {}
            "VALID" => pads = vec![0; 2],
            mode => {
                for a in 0..2 {
                    // Below 2⁶²: see `LARGEST`.
                    let reach = (y[a + 2] as i64 - 1).min(LARGEST) * strides[a]
                        + (kernel[a] as i64 - 1).min(LARGEST) * dilations[a]
                        + 1;
                    let total = (reach - x[a + 2] as i64).max(0);
                    pads[a] = match mode {
                        "SAME_LOWER" => total - total / 2,
                        _ => total / 2,
                    };
                }
            }
        }
        Ok(Some(Window {
            strides,
            dilations,
            pads,
            extent: y[2..].iter().map(|&d| d as i64).collect(),
        }))
    }

    fn attributes(self) -> BTreeMap<String, Attribute> {
        BTreeMap::from([
            ("strides".to_owned(), self.strides.into()),
            ("pads".to_owned(), self.pads.into()),
            ("dilations".to_owned(), self.dilations.into()),
            ("extent".to_owned(), self.extent.into()),
        ])
    }
}
