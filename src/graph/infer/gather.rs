//! Picking and placing elements by index.

use crate::graph::GraphError;

use super::op::{Inferred, Op};

/// `Gather`: the axis is replaced by the dimensions of the indices.
pub(in crate::graph) fn gather(op: &Op) -> Inferred {
    let (data, indices) = (op.dims(0)?, op.dims(1)?);
    let axis = op.axis(op.node.int("axis", 0)?, data.len())?;
    let dims = [&data[..axis], indices, &data[axis + 1..]].concat();
    Op::one(op.dtype(0)?, dims)
}

fn equal_ranks(op: &Op, other: usize) -> Result<(), GraphError> {
    let (data, indices) = (op.dims(0)?, op.dims(other)?);
    if data.len() != indices.len() {
        return Err(op.error(format!(
            "dimensions {data:?} and indices {indices:?} differ in number"
        )));
    }
    op.axis(op.node.int("axis", 0)?, data.len()).map(|_| ())
}

/// `GatherElements`.
pub(in crate::graph) fn gather_elements(op: &Op) -> Inferred {
    equal_ranks(op, 1)?;
    Op::one(op.dtype(0)?, op.dims(1)?.to_vec())
}

/// `ScatterElements`.
pub(in crate::graph) fn scatter_elements(op: &Op) -> Inferred {
    equal_ranks(op, 1)?;
    if op.dims(2)? != op.dims(1)? {
        return Err(op.error("indices and updates differ in dimensions"));
    }
    op.same()
}

/// `GatherND`.
pub(in crate::graph) fn gather_nd(op: &Op) -> Inferred {
    let (data, indices) = (op.dims(0)?, op.dims_at_least(1, 1)?);
    let batch = op.node.int("batch_dims", 0)?;
    let misfit = || {
        op.error(format!(
            "indices {indices:?} with {batch} batch dimensions do not fit {data:?}"
        ))
    };
    let batch = usize::try_from(batch).map_err(|_| misfit())?;
    let depth = indices[indices.len() - 1];
    let used = batch.checked_add(depth).ok_or_else(misfit)?;
    if used > data.len()
        || batch >= indices.len()
        || depth == 0
        || data[..batch] != indices[..batch]
    {
        return Err(misfit());
    }
    let dims = [&indices[..indices.len() - 1], &data[used..]].concat();
    Op::one(op.dtype(0)?, dims)
}

/// `ScatterND`.
pub(in crate::graph) fn scatter_nd(op: &Op) -> Inferred {
    let (data, indices, updates) = (op.dims(0)?, op.dims_at_least(1, 1)?, op.dims(2)?);
    let depth = indices[indices.len() - 1];
    let fits =
        depth <= data.len() && updates == [&indices[..indices.len() - 1], &data[depth..]].concat();
    if !fits {
        return Err(op.error(format!(
            "indices {indices:?} and updates {updates:?} do not fit {data:?}"
        )));
    }
    op.same()
}

/// `OneHot`: a new axis of `depth` entries.
pub(in crate::graph) fn one_hot(op: &Op) -> Inferred {
    let mut dims = op.dims(0)?.to_vec();
    let depth = op.required_ints(1)?;
    let &[depth] = depth.as_slice() else {
        return Err(op.error("the depth is not one number"));
    };
    let axis = op.axis(op.node.int("axis", -1)?, dims.len() + 1)?;
    dims.insert(axis, op.size(i128::from(depth))?);
    Op::one(op.dtype(2)?, dims)
}
