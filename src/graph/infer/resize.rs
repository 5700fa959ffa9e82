//! `Resize`, by scales or by sizes.

use crate::graph::GraphError;

use super::op::{Inferred, Op};

/// `Resize`: inputs X, roi, scales, sizes; of the last two, one is given.
pub(in crate::graph) fn resize(op: &Op) -> Inferred {
    let mut dims = op.dims(0)?.to_vec();
    let axes = match op.node.ints("axes")? {
        Some(axes) => op.axes(axes, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    if op
        .node
        .string("coordinate_transformation_mode", "half_pixel")?
        == "tf_crop_and_resize"
    {
        return Err(op.error("tf_crop_and_resize is not supported"));
    }
    let scales = scales(op)?.filter(|s| !s.is_empty());
    let sizes = op.int_input(3)?.filter(|s| !s.is_empty());
    let count = scales.as_ref().map_or(0, Vec::len) + sizes.as_ref().map_or(0, Vec::len);
    if count != axes.len() || (scales.is_some() && sizes.is_some()) {
        return Err(op.error(format!("it needs {} scales or sizes", axes.len())));
    }
    if let Some(scales) = scales {
        for (&axis, scale) in axes.iter().zip(scales) {
            let size = (dims[axis] as f32 * scale).floor();
            if !(scale > 0.0 && size < isize::MAX as f32) {
                return Err(op.error(format!("the scale {scale} is not usable")));
            }
            dims[axis] = size as usize;
        }
    } else if let Some(sizes) = sizes {
        let sizes = sizes
            .iter()
            .map(|&s| op.size(i128::from(s)))
            .collect::<Result<Vec<_>, _>>()?;
        let ratios = || {
            let pairs = axes.iter().zip(&sizes);
            pairs.map(|(&axis, &size)| size as f32 / dims[axis] as f32)
        };
        let ratio = match op.node.string("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => None,
            "not_larger" => Some(ratios().fold(f32::INFINITY, f32::min)),
            "not_smaller" => Some(ratios().fold(0.0, f32::max)),
            other => return Err(op.error(format!("policy `{other}` is not known"))),
        };
        for (&axis, &size) in axes.iter().zip(&sizes) {
            dims[axis] = match ratio {
                None => size,
                Some(ratio) => {
                    let size = (ratio * dims[axis] as f32).round();
                    if size.is_nan() || size >= isize::MAX as f32 {
                        return Err(op.error(format!("the sizes {sizes:?} are not usable")));
                    }
                    size as usize
                }
            };
        }
    }
    Op::one(op.dtype(0)?, dims)
}

fn scales(op: &Op) -> Result<Option<Vec<f32>>, GraphError> {
    let Some(name) = op.node.input(2) else {
        return Ok(None);
    };
    let refuse = || {
        op.error(format!(
            "its scales `{name}` are not numbers known before it runs"
        ))
    };
    op.known(2)
        .and_then(|t| t.to_f32())
        .map(Some)
        .ok_or_else(refuse)
}
