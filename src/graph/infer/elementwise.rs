//! Operators that work element by element, with ONNX's multidirectional broadcasting.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md>.

use crate::graph::GraphError;
use crate::onnx::DataType;

use super::op::{Inferred, Op};

/// The dimensions two shapes broadcast to, `None` where they do not fit.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map(|i| dims[i]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (Some(x), Some(y)) if x == y || y == 1 => Some(x),
            (Some(1) | None, Some(y)) => Some(y),
            (Some(x), None) => Some(x),
            _ => None,
        })
        .collect()
}

impl Op<'_> {
    /// The dimensions that all of `inputs` broadcast to.
    pub fn broadcast_inputs(
        &self,
        inputs: impl Iterator<Item = usize>,
    ) -> Result<Vec<usize>, GraphError> {
        let mut dims = Vec::new();
        for index in inputs {
            let next = self.dims(index)?;
            dims = broadcast(&dims, next).ok_or_else(|| {
                self.error(format!("dimensions {dims:?} and {next:?} do not broadcast"))
            })?;
        }
        Ok(dims)
    }

    fn same_types(&self, inputs: std::ops::Range<usize>) -> Result<DataType, GraphError> {
        let first = self.dtype(inputs.start)?;
        for index in inputs {
            let other = self.dtype(index)?;
            if other != first {
                return Err(self.error(format!("inputs of types {first:?} and {other:?} mix")));
            }
        }
        Ok(first)
    }
}

/// One input and output of equal type and dimensions.
pub(in crate::graph) fn unary(op: &Op) -> Inferred {
    op.same()
}

/// A truth value for each element.
pub(in crate::graph) fn test(op: &Op) -> Inferred {
    Op::one(DataType::Bool, op.dims(0)?.to_vec())
}

/// Two inputs of one type.
pub(in crate::graph) fn binary(op: &Op) -> Inferred {
    Op::one(op.same_types(0..2)?, op.broadcast_inputs(0..2)?)
}

/// `Pow`: the exponent may have another type than the result.
pub(in crate::graph) fn pow(op: &Op) -> Inferred {
    op.dtype(1)?;
    Op::one(op.dtype(0)?, op.broadcast_inputs(0..2)?)
}

/// `PRelu`: the slope broadcasts to the input, not the other way.
pub(in crate::graph) fn prelu(op: &Op) -> Inferred {
    op.same_types(0..2)?;
    let dims = op.broadcast_inputs(0..2)?;
    if dims != op.dims(0)? {
        return Err(op.error(format!(
            "the slope's dimensions {:?} do not broadcast to the input's {:?}",
            op.dims(1)?,
            op.dims(0)?
        )));
    }
    op.same()
}

/// Comparisons.
pub(in crate::graph) fn compare(op: &Op) -> Inferred {
    op.same_types(0..2)?;
    Op::one(DataType::Bool, op.broadcast_inputs(0..2)?)
}

/// Any number of inputs of one type.
pub(in crate::graph) fn variadic(op: &Op) -> Inferred {
    let count = op.node.inputs.len();
    if count == 0 {
        return Err(op.error("it has no inputs"));
    }
    Op::one(op.same_types(0..count)?, op.broadcast_inputs(0..count)?)
}

/// `Where`.
pub(in crate::graph) fn select(op: &Op) -> Inferred {
    if op.dtype(0)? != DataType::Bool {
        return Err(op.error("the condition is not of type bool"));
    }
    Op::one(op.same_types(1..3)?, op.broadcast_inputs(0..3)?)
}

/// `Cast`.
pub(in crate::graph) fn cast(op: &Op) -> Inferred {
    let number = op.node.int("to", 0)?;
    let to = i32::try_from(number)
        .ok()
        .and_then(DataType::from_number)
        .ok_or_else(|| op.error(format!("a cast to element type {number} is not supported")))?;
    Op::one(to, op.dims(0)?.to_vec())
}

/// `CastLike`.
pub(in crate::graph) fn cast_like(op: &Op) -> Inferred {
    Op::one(op.dtype(1)?, op.dims(0)?.to_vec())
}

/// `Dropout`: output and mask.
pub(in crate::graph) fn dropout(op: &Op) -> Inferred {
    let x = op.info(0)?;
    let mut mask = x.clone();
    mask.dtype = DataType::Bool;
    Ok(vec![x.clone(), mask])
}
