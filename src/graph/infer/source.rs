//! Operators whose output follows from shapes: `Shape`, `Size`, `ConstantOfShape`, `Range`.

use crate::graph::{Attribute, GraphError};
use crate::onnx::DataType;

use super::layout::dims_input;
use super::op::{Inferred, Op};

/// The dimensions that `Shape` reports, from its `start` to its `end` attribute.
pub(super) fn shape_part<'a>(op: &Op<'a>) -> Result<&'a [usize], GraphError> {
    let dims = op.dims(0)?;
    let rank = dims.len() as i128;
    let place = |v: i64| {
        let v = i128::from(v) + if v < 0 { rank } else { 0 };
        usize::try_from(v.clamp(0, rank)).unwrap_or(0)
    };
    let start = place(op.node.int("start", 0)?);
    let end = place(op.node.int("end", i64::MAX)?);
    Ok(dims.get(start..end).unwrap_or_default())
}

/// `Shape`.
pub(in crate::graph) fn shape(op: &Op) -> Inferred {
    Op::one(DataType::Int64, vec![shape_part(op)?.len()])
}

/// `Size`.
pub(in crate::graph) fn size(op: &Op) -> Inferred {
    op.product(op.dims(0)?)?;
    Op::one(DataType::Int64, Vec::new())
}

/// `ConstantOfShape`.
pub(in crate::graph) fn constant_of_shape(op: &Op) -> Inferred {
    let dtype = match op.node.attributes.get("value") {
        None => DataType::Float,
        Some(Attribute::Tensor(value)) if value.len() == 1 => value.dtype,
        Some(_) => return Err(op.error("attribute `value` is not a tensor of one element")),
    };
    Op::one(dtype, dims_input(op, 0)?)
}

/// Number of steps of a `Range` from known start, limit and delta.
pub(in crate::graph) fn range(op: &Op) -> Inferred {
    let dtype = op.dtype(0)?;
    let mut numbers = [0.0f64; 3];
    for (index, number) in numbers.iter_mut().enumerate() {
        let known = op
            .known(index)
            .ok_or_else(|| op.error("start, limit and delta are not known before it runs"))?;
        let value = if known.dtype.is_float() {
            known
                .to_f32()
                .map(|v| v.into_iter().map(f64::from).collect())
        } else {
            known
                .to_i64()
                .map(|v| v.into_iter().map(|v| v as f64).collect::<Vec<_>>())
        };
        match value.as_deref() {
            Some(&[value]) => *number = value,
            _ => return Err(op.error("start, limit and delta are not single numbers")),
        }
    }
    let [start, limit, delta] = numbers;
    let count = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || !count.is_finite() || count > isize::MAX as f64 / 16.0 {
        return Err(op.error(format!(
            "the range {start}..{limit} by {delta} is not usable"
        )));
    }
    Op::one(dtype, vec![count as usize])
}
