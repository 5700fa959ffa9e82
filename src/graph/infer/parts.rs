//! Joining, splitting, cutting and padding.

use crate::graph::{GraphError, TensorInfo};

use super::op::{Inferred, Op};

/// `Concat`.
pub(in crate::graph) fn concat(op: &Op) -> Inferred {
    let mut dims = op.dims(0)?.to_vec();
    if !op.node.attributes.contains_key("axis") {
        return Err(op.error("attribute `axis` is missing"));
    }
    let axis = op.axis(op.node.int("axis", 0)?, dims.len())?;
    for index in 1..op.node.inputs.len() {
        let next = op.info(index)?;
        let fits = next.dims.len() == dims.len()
            && next.dtype == op.dtype(0)?
            && (0..dims.len()).all(|i| i == axis || next.dims[i] == dims[i]);
        if !fits {
            return Err(op.error(format!(
                "input {index} of {:?} {:?} does not join {dims:?} along axis {axis}",
                next.dtype, next.dims
            )));
        }
        dims[axis] = op.size(dims[axis] as i128 + next.dims[axis] as i128)?;
    }
    Op::one(op.dtype(0)?, dims)
}

/// The sizes of the parts of a `Split` along its axis.
pub(super) fn split_sizes(op: &Op) -> Result<(usize, Vec<usize>), GraphError> {
    let dims = op.dims(0)?;
    let axis = op.axis(op.node.int("axis", 0)?, dims.len())?;
    let length = dims[axis];
    let outputs = op.node.outputs.len();
    let misfit = |what: String| op.error(format!("axis {axis} of {dims:?} does not split {what}"));
    let sizes = match op.int_input(1)? {
        Some(split) => {
            let sizes = split
                .iter()
                .map(|&s| usize::try_from(s))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| misfit(format!("into {split:?}")))?;
            let total = sizes.iter().map(|&s| s as i128).sum::<i128>();
            if total != length as i128 {
                return Err(misfit(format!("into {split:?}")));
            }
            sizes
        }
        None => {
            let count = op.node.int("num_outputs", outputs as i64)?;
            let count = usize::try_from(count)
                .ok()
                .filter(|&c| c > 0 && c == outputs)
                .ok_or_else(|| misfit(format!("into {count} parts for {outputs} outputs")))?;
            let part = length.div_ceil(count);
            (0..count)
                .map(|i| length.saturating_sub(i.saturating_mul(part)).min(part))
                .collect()
        }
    };
    if sizes.len() != outputs {
        return Err(misfit(format!(
            "{} ways for {outputs} outputs",
            sizes.len()
        )));
    }
    Ok((axis, sizes))
}

/// `Split`.
pub(in crate::graph) fn split(op: &Op) -> Inferred {
    let input = op.info(0)?;
    let (axis, sizes) = split_sizes(op)?;
    let part = |size| {
        let mut part: TensorInfo = input.clone();
        part.dims[axis] = size;
        part
    };
    Ok(sizes.into_iter().map(part).collect())
}

/// The cut of one axis: first index, step and number of elements.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub start: usize,
    pub step: i64,
    pub count: usize,
}

/// The cut of every axis by a `Slice`.
pub(super) fn cuts(op: &Op) -> Result<Vec<Cut>, GraphError> {
    let dims = op.dims(0)?;
    let (starts, ends) = (op.required_ints(1)?, op.required_ints(2)?);
    let axes = match op.int_input(3)? {
        Some(axes) => op.axes(&axes, dims.len())?,
        None if starts.len() <= dims.len() => (0..starts.len()).collect(),
        None => return Err(op.error(format!("{} starts for {dims:?}", starts.len()))),
    };
    let steps = op.int_input(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(op.error("starts, ends, axes and steps differ in length"));
    }
    let mut cuts: Vec<Cut> = dims
        .iter()
        .map(|&count| Cut {
            start: 0,
            step: 1,
            count,
        })
        .collect();
    for (i, &axis) in axes.iter().enumerate() {
        let (length, step) = (dims[axis] as i128, i128::from(steps[i]));
        // Python's rule: negative positions count from the end, then both clamp to the axis.
        let from_end = |v: i64| i128::from(v) + if v < 0 { length } else { 0 };
        let (first, last) = if step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let start = from_end(starts[i]).min(last).max(0);
        // onnxruntime takes the largest integers as "to the end" in either direction.
        let open = step < 0 && (ends[i] == i64::MAX || ends[i] == i64::from(i32::MAX));
        let end = if open {
            first
        } else {
            from_end(ends[i]).min(last).max(first)
        };
        let count = match step {
            0 => return Err(op.error("a step is 0")),
            _ if length == 0 => 0,
            1.. => (end - start + step - 1) / step,
            _ => (start - end - step - 1) / -step,
        };
        cuts[axis] = Cut {
            start: usize::try_from(start).unwrap_or(0),
            step: steps[i],
            count: op.size(count.max(0))?,
        };
    }
    Ok(cuts)
}

/// `Slice`.
pub(in crate::graph) fn slice(op: &Op) -> Inferred {
    let dims = cuts(op)?.iter().map(|cut| cut.count).collect();
    Op::one(op.dtype(0)?, dims)
}

/// `Pad`; negative pads cut.
pub(in crate::graph) fn pad(op: &Op) -> Inferred {
    let mut dims = op.dims(0)?.to_vec();
    let pads = op.required_ints(1)?;
    let axes = match op.int_input(3)? {
        Some(axes) => op.axes(&axes, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(op.error(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        dims[axis] = op.size(dims[axis] as i128 + i128::from(before) + i128::from(after))?;
    }
    Op::one(op.dtype(0)?, dims)
}
