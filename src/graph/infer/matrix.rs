//! Matrix products.

use std::collections::BTreeMap;

use super::elementwise::broadcast;
use super::op::{Inferred, Op};

/// `MatMul`, as NumPy's: leading dimensions broadcast, one-dimensional operands lose their axis.
pub(super) fn matmul(op: &Op) -> Inferred {
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
pub(super) fn gemm(op: &Op) -> Inferred {
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

/// `Einsum` over named axes; the ellipsis is not supported.
pub(super) fn einsum(op: &Op) -> Inferred {
    let equation: String = op
        .node
        .string("equation", "")?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let refuse = || op.error(format!("the equation `{equation}` is not supported"));
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != op.node.inputs.len() {
        return Err(refuse());
    }
    let mut sizes: BTreeMap<char, (usize, usize)> = BTreeMap::new();
    for (index, term) in terms.iter().enumerate() {
        let dims = op.dims(index)?;
        if term.chars().count() != dims.len() || !term.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(refuse());
        }
        for (letter, &size) in term.chars().zip(dims) {
            let entry = sizes.entry(letter).or_insert((size, 0));
            entry.1 += 1;
            if entry.0 == 1 {
                entry.0 = size;
            }
            if size != entry.0 && size != 1 {
                return Err(op.error(format!(
                    "the sizes {} and {size} of `{letter}` differ",
                    entry.0
                )));
            }
        }
    }
    let output: Vec<char> = match right {
        Some(right) => right.chars().collect(),
        None => sizes
            .iter()
            .filter(|(_, (_, count))| *count == 1)
            .map(|(letter, _)| *letter)
            .collect(),
    };
    let dims = output
        .iter()
        .map(|letter| sizes.get(letter).map(|(size, _)| *size))
        .collect::<Option<_>>()
        .ok_or_else(refuse)?;
    Op::one(op.dtype(0)?, dims)
}
