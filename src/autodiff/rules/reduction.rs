//! Reductions.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "ReduceMean",
        limits: "computed axes",
        backward: reduce_mean,
    },
    Rule {
        op_type: "ReduceSum",
        limits: "computed axes",
        backward: reduce_sum,
    },
];

/// ReduceMean: Y = 1/n Σ X over axes; dX = dY / n, broadcast.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.
fn reduce_mean(c: &mut Context) -> Contributions {
    spread(c, true)
}

/// ReduceSum: Y = Σ X over axes; dX = dY, broadcast.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceSum.html>.
fn reduce_sum(c: &mut Context) -> Contributions {
    spread(c, false)
}

fn spread(c: &mut Context, mean: bool) -> Contributions {
    let dims = c.input_dims(0)?;
    let mut dy = c.gradient()?;
    let axes = c.axes(1, dims.len())?.unwrap_or_default();
    let axes = if !axes.is_empty() {
        axes
    } else if c.node.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(vec![Some(dy)]);
    } else {
        (0..dims.len()).collect()
    };
    if mean {
        let count: usize = axes.iter().map(|&a| dims[a]).product();
        dy = c.scale(&dy, 1.0 / count as f32);
    }
    let mut kept = dims.clone();
    axes.iter().for_each(|&a| kept[a] = 1);
    if c.node.int("keepdims", 1)? == 0 {
        dy = c.reshape(&dy, &kept);
    }
    Ok(vec![Some(c.expand(&dy, &dims))])
}
