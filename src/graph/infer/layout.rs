//! Operators that keep the elements and change their arrangement.

use crate::graph::GraphError;

use super::elementwise::broadcast;
use super::op::{Inferred, Op};

/// `Reshape`: 0 copies the input's dimension (unless `allowzero`), -1 takes what is left.
pub(in crate::graph) fn reshape(op: &Op) -> Inferred {
    let input = op.dims(0)?;
    let target = op.required_ints(1)?;
    let allow_zero = op.node.int("allowzero", 0)? != 0;
    let misfit = || op.error(format!("dimensions {input:?} do not reshape to {target:?}"));
    let mut dims = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &t) in target.iter().enumerate() {
        dims.push(match t {
            0 if !allow_zero => *input.get(i).ok_or_else(misfit)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            t => usize::try_from(t).map_err(|_| misfit())?,
        });
    }
    let total = op.product(input)?;
    let fixed = op.product(&dims)?;
    match open {
        Some(i) if fixed > 0 && total.is_multiple_of(fixed) => dims[i] = total / fixed,
        Some(_) => return Err(misfit()),
        None if fixed != total => return Err(misfit()),
        None => {}
    }
    Op::one(op.dtype(0)?, dims)
}

/// `Flatten` to two dimensions.
pub(in crate::graph) fn flatten(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let rank = dims.len();
    let axis = op.node.int("axis", 1)?;
    let axis = if axis == rank as i64 {
        rank
    } else {
        op.axis(axis, rank)?
    };
    let (outer, inner) = dims.split_at(axis);
    Op::one(op.dtype(0)?, vec![op.product(outer)?, op.product(inner)?])
}

/// The order of axes of a `Transpose`; reversed when absent.
pub(super) fn permutation(op: &Op) -> Result<Vec<usize>, GraphError> {
    let rank = op.dims(0)?.len();
    match op.node.ints("perm")? {
        None => Ok((0..rank).rev().collect()),
        Some(perm) if perm.len() == rank => op.axes(perm, rank),
        Some(perm) => Err(op.error(format!("perm {perm:?} is not one of {rank} axes"))),
    }
}

/// `Transpose`.
pub(in crate::graph) fn transpose(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let order = permutation(op)?;
    Op::one(op.dtype(0)?, order.iter().map(|&axis| dims[axis]).collect())
}

/// `Squeeze`: the axes of input 1, or all of size 1.
pub(in crate::graph) fn squeeze(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let axes = match op.int_input(1)? {
        Some(axes) => op.axes(&axes, dims.len())?,
        None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| dims[axis] != 1) {
        return Err(op.error(format!("axis {axis} of {dims:?} is not of size 1")));
    }
    let kept = (0..dims.len()).filter(|i| !axes.contains(i));
    Op::one(op.dtype(0)?, kept.map(|i| dims[i]).collect())
}

/// `Unsqueeze`: new axes of size 1, counted in the output.
pub(in crate::graph) fn unsqueeze(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let axes = op.required_ints(1)?;
    let rank = dims.len() + axes.len();
    if rank > super::MAX_RANK {
        return Err(op.error(format!("it would make {rank} dimensions")));
    }
    let axes = op.axes(&axes, rank)?;
    let mut old = dims.iter();
    let dims = (0..rank)
        .map(|i| {
            if axes.contains(&i) {
                1
            } else {
                old.next().copied().unwrap_or(1)
            }
        })
        .collect();
    Op::one(op.dtype(0)?, dims)
}

/// The dimensions in an integer input.
pub(super) fn dims_input(op: &Op, index: usize) -> Result<Vec<usize>, GraphError> {
    op.required_ints(index)?
        .into_iter()
        .map(|d| op.size(i128::from(d)))
        .collect()
}

/// `Expand`: broadcasting in both directions.
pub(in crate::graph) fn expand(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let target = dims_input(op, 1)?;
    let dims = broadcast(dims, &target)
        .ok_or_else(|| op.error(format!("dimensions {dims:?} do not expand to {target:?}")))?;
    Op::one(op.dtype(0)?, dims)
}

/// `Tile`.
pub(in crate::graph) fn tile(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let repeats = dims_input(op, 1)?;
    if repeats.len() != dims.len() {
        return Err(op.error(format!(
            "{} repeats for {} dimensions",
            repeats.len(),
            dims.len()
        )));
    }
    let tiled = dims.iter().zip(&repeats);
    let dims = tiled
        .map(|(&d, &r)| op.size(d as i128 * r as i128))
        .collect::<Result<_, _>>()?;
    Op::one(op.dtype(0)?, dims)
}

fn block_size(op: &Op) -> Result<(usize, usize), GraphError> {
    let block = op.node.int("blocksize", 0)?;
    usize::try_from(block)
        .ok()
        .filter(|&b| b > 0)
        .and_then(|b| Some((b, b.checked_mul(b)?)))
        .ok_or_else(|| op.error(format!("blocksize is {block}")))
}

/// `DepthToSpace` of [N, C, H, W].
pub(in crate::graph) fn depth_to_space(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let (block, square) = block_size(op)?;
    match *dims {
        [n, c, h, w] if c.is_multiple_of(square) => {
            let grow = |d: usize| op.size(d as i128 * block as i128);
            Op::one(op.dtype(0)?, vec![n, c / square, grow(h)?, grow(w)?])
        }
        _ => Err(op.error(format!("dimensions {dims:?} do not fit blocks of {block}"))),
    }
}

/// `SpaceToDepth` of [N, C, H, W].
pub(in crate::graph) fn space_to_depth(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let (block, square) = block_size(op)?;
    match *dims {
        [n, c, h, w] if h.is_multiple_of(block) && w.is_multiple_of(block) => {
            let channels = op.size(c as i128 * square as i128)?;
            Op::one(op.dtype(0)?, vec![n, channels, h / block, w / block])
        }
        _ => Err(op.error(format!("dimensions {dims:?} do not fit blocks of {block}"))),
    }
}

/// `Trilu`.
pub(in crate::graph) fn trilu(op: &Op) -> Inferred {
    op.dims_at_least(0, 2)?;
    op.same()
}
