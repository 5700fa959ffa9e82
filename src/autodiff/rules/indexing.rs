//! Operators that pick elements by position. Their gradients put the elements back, adding up
//! where one was picked several times.

use crate::onnx::Tensor;

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;
use super::layout::slice;

/// Elements beyond which an axis padded by copies is refused: their places are listed here.
const MAX_PLACES: usize = 1 << 26;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Slice",
        limits: "computed starts, axes or steps",
        backward: slice_rule,
    },
    Rule {
        op_type: "Gather",
        limits: "",
        backward: gather,
    },
    Rule {
        op_type: "Tile",
        limits: "computed repeats",
        backward: tile,
    },
    Rule {
        op_type: "Pad",
        limits: "computed pads; a trained value; negative pads in modes other than \
                 constant; padding by copies to more than 2²⁶",
        backward: pad,
    },
];

/// Slice: Y = X[start + i·step] along some axes; dX is dY at those positions, 0 elsewhere.
/// Source: <https://onnx.ai/onnx/operators/onnx__Slice.html>.
fn slice_rule(c: &mut Context) -> Contributions {
    let (x_dims, y_dims) = (c.input_dims(0)?, c.output_dims()?);
    let Some(starts) = c.int_input(1)? else {
        return c.refuse("no starts");
    };
    let axes = match c.axes(3, x_dims.len())? {
        Some(axes) => axes,
        None => (0..starts.len()).collect(),
    };
    let steps = c.int_input(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if axes.len() != starts.len()
        || steps.len() != starts.len()
        || axes.iter().any(|&a| a >= x_dims.len())
    {
        return Err(c.node.error("starts, axes and steps do not fit").into());
    }
    if x_dims.contains(&0) {
        let zero = c.scalar(0.0);
        return Ok(vec![Some(c.expand(&zero, &x_dims))]);
    }
    let mut gradient = c.gradient()?;
    let mut dims = y_dims;
    let mut pads = vec![0i64; 2 * dims.len()];
    for ((&axis, &start), &step) in axes.iter().zip(&starts).zip(&steps) {
        let (size, count) = (x_dims[axis] as i64, dims[axis] as i64);
        let start = if start < 0 {
            start.saturating_add(size)
        } else {
            start
        };
        if step == 1 {
            let start = start.clamp(0, size);
            pads[axis] = start;
            pads[axis + x_dims.len()] = size - start - count;
            continue;
        }
        let start = start.clamp(0, size - i64::from(step < 0));
        let places: Vec<i64> = (0..count).map(|i| start + i * step).collect();
        gradient = put_back(c, &gradient, &mut dims, axis, &places, x_dims[axis]);
    }
    if pads.iter().any(|&p| p != 0) {
        let pads = c.ints(&pads);
        gradient = c.call("Pad", &[&gradient, &pads]);
    }
    Ok(vec![Some(gradient)])
}

/// Gather: Y picks X's slices along an axis by integer indices; dX adds dY's slices at those
/// places.
/// Source: <https://onnx.ai/onnx/operators/onnx__Gather.html>.
fn gather(c: &mut Context) -> Contributions {
    let (x_dims, index_dims) = (c.input_dims(0)?, c.input_dims(1)?);
    let axis = c.axis(c.node.int("axis", 0)?, x_dims.len())?;
    let picked: usize = index_dims.iter().product();
    let mut flat = x_dims.clone();
    flat[axis] = picked;
    let dy = c.gradient()?;
    let dy = c.reshape(&dy, &flat);
    let mut along = vec![1; x_dims.len()];
    along[axis] = picked;
    let indices = c.input(1)?;
    let indices = c.reshape(indices, &along);
    Ok(vec![Some(scatter_add(
        c, &dy, &flat, axis, &indices, &x_dims,
    ))])
}

/// Tile: Y repeats X along each axis; dX sums over the repeats.
/// Source: <https://onnx.ai/onnx/operators/onnx__Tile.html>.
fn tile(c: &mut Context) -> Contributions {
    let (x_dims, y_dims) = (c.input_dims(0)?, c.output_dims()?);
    if c.int_input(1)?.is_none() || x_dims.contains(&0) {
        return c.refuse("no repeats, or an empty input");
    }
    let split: Vec<usize> = x_dims
        .iter()
        .zip(&y_dims)
        .flat_map(|(&x, &y)| [y / x, x])
        .collect();
    let dy = c.gradient()?;
    let dy = c.reshape(&dy, &split);
    let repeats: Vec<usize> = (0..x_dims.len()).map(|a| 2 * a).collect();
    Ok(vec![Some(c.reduce_sum(&dy, &repeats, false))])
}

/// Pad: with constants, dX is the inner part of dY; with copies of X (edge, reflect, wrap), each
/// copy's gradient is added to the element it is a copy of.
/// Source: <https://onnx.ai/onnx/operators/onnx__Pad.html>.
fn pad(c: &mut Context) -> Contributions {
    let mode = c.node.string("mode", "constant")?;
    if c.wants(2) {
        return c.refuse("a trained padding value");
    }
    let dims = c.input_dims(0)?;
    let axes = c
        .axes(3, dims.len())?
        .unwrap_or_else(|| (0..dims.len()).collect());
    let Some(pads) = c.int_input(1)? else {
        return c.refuse("no pads");
    };
    if pads.len() != 2 * axes.len() {
        return Err(Refusal::Graph(c.node.error("pads do not fit the axes")));
    }
    let (begins, ends) = pads.split_at(axes.len());
    let negative = pads.iter().any(|&p| p < 0);
    let dy = c.gradient()?;
    if mode == "constant" && negative {
        let mut opposite = vec![0; 2 * dims.len()];
        for ((&axis, &begin), &end) in axes.iter().zip(begins).zip(ends) {
            opposite[axis] = -begin;
            opposite[axis + dims.len()] = -end;
        }
        let pads = c.ints(&opposite);
        return Ok(vec![Some(c.call("Pad", &[&dy, &pads]))]);
    }
    if mode == "constant" {
        let starts: Vec<usize> = begins.iter().map(|&b| b as usize).collect();
        let ends: Vec<usize> = axes
            .iter()
            .zip(&starts)
            .map(|(&a, &s)| s + dims[a])
            .collect();
        return Ok(vec![Some(slice(c, &dy, &axes, &starts, &ends))]);
    }
    if negative {
        return c.refuse(format!("negative pads in mode `{mode}`"));
    }
    let mut gradient = dy;
    let mut current = c.output_dims()?;
    for (&axis, &begin) in axes.iter().zip(begins) {
        let size = dims[axis] as i64;
        if current[axis] == dims[axis] {
            continue;
        }
        if current[axis] > MAX_PLACES {
            return c.refuse(format!("padding {size} to {}", current[axis]));
        }
        if size == 0 {
            return c.refuse(format!("padding nothing in mode `{mode}`"));
        }
        let place = |i: i64| match mode {
            "edge" => Some(i.clamp(0, size - 1)),
            "wrap" => Some(i.rem_euclid(size)),
            "reflect" => {
                let period = 2 * (size - 1).max(1);
                let i = i.rem_euclid(period);
                Some(if size == 1 { 0 } else { i.min(period - i) })
            }
            _ => None,
        };
        let places: Option<Vec<i64>> = (0..current[axis] as i64)
            .map(|i| place(i - begin))
            .collect();
        let Some(places) = places else {
            return c.refuse(format!("mode `{mode}`"));
        };
        gradient = put_back(c, &gradient, &mut current, axis, &places, dims[axis]);
    }
    Ok(vec![Some(gradient)])
}

/// Adds element i of `value` along `axis` to element `places[i]` of zeros of length `size`;
/// `dims` become those of the result.
fn put_back(
    c: &mut Context,
    value: &str,
    dims: &mut [usize],
    axis: usize,
    places: &[i64],
    size: usize,
) -> String {
    let mut along = vec![1; dims.len()];
    along[axis] = places.len();
    let mut indices = Tensor::i64s(places);
    indices.dims = along;
    let indices = c.constant(indices);
    let from = dims.to_vec();
    dims[axis] = size;
    scatter_add(c, value, &from, axis, &indices, dims)
}

/// Zeros of dimensions `to`, to which `value` (of dimensions `from`, which differ along `axis`
/// only) is added at `indices` along that axis.
fn scatter_add(
    c: &mut Context,
    value: &str,
    from: &[usize],
    axis: usize,
    indices: &str,
    to: &[usize],
) -> String {
    let zero = c.scalar(0.0);
    let zeros = c.expand(&zero, to);
    let indices = c.expand(indices, from);
    let attributes = vec![("axis", (axis as i64).into()), ("reduction", "add".into())];
    c.op("ScatterElements", &[&zeros, &indices, value], attributes)
}
