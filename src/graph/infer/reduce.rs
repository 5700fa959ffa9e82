//! Reductions and operators that run along axes: sums, arg-max, top-k, softmax, normalisations.

use crate::graph::{GraphError, TensorInfo};
use crate::onnx::DataType;

use super::op::{Inferred, Op};

/// `dims` with `axes` reduced to 1 or removed.
fn reduced(dims: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    dims.iter()
        .enumerate()
        .filter_map(|(i, &d)| match (axes.contains(&i), keep) {
            (false, _) => Some(d),
            (true, true) => Some(1),
            (true, false) => None,
        })
        .collect()
}

/// The axes that a `Reduce*` node reduces (its second input; all axes when absent or empty,
/// unless `noop_with_empty_axes` is set).
pub(super) fn reduced_axes(op: &Op) -> Result<Vec<usize>, GraphError> {
    let rank = op.dims(0)?.len();
    let axes = op.int_input(1)?.unwrap_or_default();
    if !axes.is_empty() {
        return op.axes(&axes, rank);
    }
    if op.node.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(Vec::new());
    }
    Ok((0..rank).collect())
}

/// `ReduceSum` and its kin.
pub(in crate::graph) fn reduce(op: &Op) -> Inferred {
    let axes = reduced_axes(op)?;
    let keep = op.node.int("keepdims", 1)? != 0;
    Op::one(op.dtype(0)?, reduced(op.dims(0)?, &axes, keep))
}

/// `ArgMax` and `ArgMin`.
pub(in crate::graph) fn arg(op: &Op) -> Inferred {
    let dims = op.dims(0)?;
    let axis = op.axis(op.node.int("axis", 0)?, dims.len())?;
    let keep = op.node.int("keepdims", 1)? != 0;
    Op::one(DataType::Int64, reduced(dims, &[axis], keep))
}

/// `TopK`: values and indices.
pub(in crate::graph) fn top_k(op: &Op) -> Inferred {
    let mut dims = op.dims(0)?.to_vec();
    let axis = op.axis(op.node.int("axis", -1)?, dims.len())?;
    let k = op.required_ints(1)?;
    let &[k] = k.as_slice() else {
        return Err(op.error("K is not one number"));
    };
    dims[axis] = usize::try_from(k)
        .ok()
        .filter(|&k| k <= dims[axis])
        .ok_or_else(|| op.error(format!("K is {k} of {}", dims[axis])))?;
    let output = |dtype| TensorInfo {
        dtype,
        dims: dims.clone(),
    };
    Ok(vec![output(op.dtype(0)?), output(DataType::Int64)])
}

/// Same type and dimensions, along the axis in attribute `axis` (-1 by default): `Softmax`,
/// `LogSoftmax`, `Hardmax`, `LpNormalization`.
pub(in crate::graph) fn along_axis(op: &Op) -> Inferred {
    op.axis(op.node.int("axis", -1)?, op.dims(0)?.len())?;
    op.same()
}

/// `CumSum`.
pub(in crate::graph) fn cum_sum(op: &Op) -> Inferred {
    op.dims(1)?;
    op.same()
}

/// `BatchNormalization`: X [N, C, …]; scale, bias, mean and variance [C]. In training mode mean and
/// variance [C] are outputs, too.
pub(in crate::graph) fn batch_norm(op: &Op) -> Inferred {
    let x = op.dims_at_least(0, 2)?;
    for index in 1..5 {
        let dims = op.dims(index)?;
        if dims != [x[1]] {
            return Err(op.error(format!(
                "input {index} has dimensions {dims:?}, not [{}]",
                x[1]
            )));
        }
    }
    let mut outputs = vec![op.info(0)?.clone()];
    if op.node.int("training_mode", 0)? != 0 {
        outputs.extend([op.info(3)?.clone(), op.info(4)?.clone()]);
    }
    Ok(outputs)
}

/// `InstanceNormalization` and `GroupNormalization`: X [N, C, …], scale and bias [C].
pub(in crate::graph) fn channel_norm(op: &Op) -> Inferred {
    let x = op.dims_at_least(0, 3)?;
    for index in 1..3 {
        let dims = op.dims(index)?;
        if dims != [x[1]] {
            return Err(op.error(format!(
                "input {index} has dimensions {dims:?}, not [{}]",
                x[1]
            )));
        }
    }
    if op.node.op_type == "GroupNormalization" {
        let groups = op.node.int("num_groups", 0)?;
        if !usize::try_from(groups).is_ok_and(|g| g > 0 && x[1].is_multiple_of(g)) {
            return Err(op.error(format!("{} channels in {groups} groups", x[1])));
        }
    }
    op.same()
}

/// `LayerNormalization`: output, mean and inverse standard deviation.
pub(in crate::graph) fn layer_norm(op: &Op) -> Inferred {
    let x = op.info(0)?;
    let rank = x.dims.len();
    let axis = op.axis(op.node.int("axis", -1)?, rank)?;
    op.info(1)?;
    for index in 1..3 {
        if let Some(affine) = op.optional(index)?
            && super::elementwise::broadcast(&x.dims, &affine.dims).as_ref() != Some(&x.dims)
        {
            return Err(op.error(format!(
                "input {index} of dimensions {:?} does not broadcast to {:?}",
                affine.dims, x.dims
            )));
        }
    }
    let axes: Vec<usize> = (axis..rank).collect();
    let statistic = TensorInfo {
        dtype: DataType::Float,
        dims: reduced(&x.dims, &axes, true),
    };
    Ok(vec![x.clone(), statistic.clone(), statistic])
}
