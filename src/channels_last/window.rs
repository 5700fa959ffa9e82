//! The attributes of a channels-last convolution.

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
    let list = |name: &str, default: Vec<i64>| -> Result<Vec<i64>, GraphError> {
        Ok(node.ints(name)?.map_or(default, <[i64]>::to_vec))
    };
    let strides = list("strides", vec![1, 1])?;
    let dilations = list("dilations", vec![1, 1])?;
    let mut pads = list("pads", vec![0; 4])?;
    if strides.len() != 2 || dilations.len() != 2 || pads.len() != 4 {
        return Ok(None);
    }
    match node.string("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {}
        "VALID" => pads = vec![0; 4],
        mode => {
            for a in 0..2 {
                let size = |dims: &[usize]| dims[a + 2] as i64;
                let reach =
                    (size(&y.dims) - 1) * strides[a] + (size(&w.dims) - 1) * dilations[a] + 1;
                let total = (reach - size(&x.dims)).max(0);
                pads[a] = match mode {
                    "SAME_LOWER" => total - total / 2,
                    _ => total / 2,
                };
            }
        }
    }
    let group = node.int("group", 1)?;
    let numbers = [&strides[..], &dilations[..], &[group]];
    if pads.iter().any(|&p| p < 0) || numbers.iter().any(|n| n.iter().any(|&n| n < 1)) {
        return Ok(None);
    }
    let extent: Vec<i64> = y.dims[2..].iter().map(|&d| d as i64).collect();
    Ok(Some(BTreeMap::from([
        ("strides".to_owned(), strides.into()),
        ("pads".to_owned(), pads[..2].to_vec().into()),
        ("dilations".to_owned(), dilations.into()),
        ("group".to_owned(), group.into()),
        ("extent".to_owned(), extent.into()),
    ])))
}
