//! Matrix products.

use crate::graph::Einsum;

use super::elementwise::broadcast;
use super::op::{Inferred, Op};

/// `MatMul`, as NumPy's: leading dimensions broadcast, one-dimensional operands lose their axis.
pub(in crate::graph) fn matmul(op: &Op) -> Inferred {
    let a = op.dims_at_least(0, 1)?;
    let b = op.dims_at_least(1, 1)?;
    if op.dtype(0)? != op.dtype(1)? {
        return Err(op.error("its inputs differ in type"));
    }
    let misfit = || op.error(format!("dimensions {a:?} and {b:?} do not fit"));
    let (a_lead, a_rows, a_inner) = match a {
        [inner] => (&[][..], None, *inner),
        [lead @ .., rows, inner] => (lead, Some(*rows), *inner),
        [] => return Err(misfit()),
    };
    let (b_lead, b_inner, b_columns) = match b {
        [inner] => (&[][..], *inner, None),
        [lead @ .., inner, columns] => (lead, *inner, Some(*columns)),
        [] => return Err(misfit()),
    };
    if a_inner != b_inner {
        return Err(misfit());
    }
    let mut dims = broadcast(a_lead, b_lead).ok_or_else(misfit)?;
    dims.extend(a_rows);
    dims.extend(b_columns);
    Op::one(op.dtype(0)?, dims)
}

/// `Gemm`: A [M, K], B [K, N] (or their transposes), C broadcasting to [M, N].
pub(in crate::graph) fn gemm(op: &Op) -> Inferred {
    let (a, b) = (op.dims(0)?, op.dims(1)?);
    let (&[a0, a1], &[b0, b1]) = (a, b) else {
        return Err(op.error(format!("inputs {a:?} and {b:?} are not two matrices")));
    };
    let (rows, inner) = if op.node.int("transA", 0)? != 0 {
        (a1, a0)
    } else {
        (a0, a1)
    };
    let (b_inner, columns) = if op.node.int("transB", 0)? != 0 {
        (b1, b0)
    } else {
        (b0, b1)
    };
    if inner != b_inner {
        return Err(op.error(format!("dimensions {a:?} and {b:?} do not fit")));
    }
    let dims = vec![rows, columns];
    if let Some(c) = op.optional(2)?
        && broadcast(&c.dims, &dims).as_ref() != Some(&dims)
    {
        return Err(op.error(format!("C {:?} does not broadcast to {dims:?}", c.dims)));
    }
    Op::one(op.dtype(0)?, dims)
}

/// `Einsum`: the sizes of the output's letters.
pub(in crate::graph) fn einsum(op: &Op) -> Inferred {
    let dims: Vec<&[usize]> = (0..op.node.inputs.len())
        .map(|i| op.dims(i))
        .collect::<Result<_, _>>()?;
    let equation = Einsum::of(op.node, &dims)?;
    let sizes = equation.output.iter().filter_map(|l| equation.sizes.get(l));
    Op::one(op.dtype(0)?, sizes.copied().collect())
}
