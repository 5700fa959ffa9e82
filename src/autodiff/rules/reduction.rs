//! Reductions.

use super::super::context::{Context, Contributions, Refusal};
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
    Rule {
        op_type: "ReduceMax",
        limits: "computed axes",
        backward: extreme,
    },
    Rule {
        op_type: "ReduceMin",
        limits: "computed axes",
        backward: extreme,
    },
    Rule {
        op_type: "ReduceSumSquare",
        limits: "computed axes; no axes with noop_with_empty_axes",
        backward: sum_square,
    },
    Rule {
        op_type: "ReduceL1",
        limits: "computed axes; no axes with noop_with_empty_axes",
        backward: l1,
    },
    Rule {
        op_type: "ReduceL2",
        limits: "computed axes; no axes with noop_with_empty_axes",
        backward: l2,
    },
    Rule {
        op_type: "ReduceLogSum",
        limits: "computed axes; no axes with noop_with_empty_axes",
        backward: log_sum,
    },
    Rule {
        op_type: "ReduceLogSumExp",
        limits: "computed axes; no axes with noop_with_empty_axes",
        backward: log_sum_exp,
    },
];

/// A reduction's input dimensions, axes, and the dimensions of its output had it kept them.
struct Reduction {
    dims: Vec<usize>,
    axes: Vec<usize>,
    kept: Vec<usize>,
}

impl Reduction {
    /// `None` for a reduction over no axes, which passes its input through.
    fn of(c: &Context) -> Result<Option<Self>, Refusal> {
        let dims = c.input_dims(0)?;
        let axes = c.axes(1, dims.len())?.unwrap_or_default();
        let axes = if !axes.is_empty() {
            axes
        } else if c.node.int("noop_with_empty_axes", 0)? != 0 {
            return Ok(None);
        } else {
            (0..dims.len()).collect()
        };
        let mut kept = dims.clone();
        axes.iter().for_each(|&a| kept[a] = 1);
        Ok(Some(Reduction { dims, axes, kept }))
    }

    /// As [`Reduction::of`], with a reduction over no axes refused: what operators that also
    /// change the values then do is not agreed on.
    fn of_some_axes(c: &Context) -> Result<Self, Refusal> {
        match Self::of(c)? {
            Some(reduction) => Ok(reduction),
            None => c.refuse("no axes with noop_with_empty_axes"),
        }
    }

    /// A value of the output's shape with the reduced axes put back as 1.
    fn keep(&self, c: &mut Context, value: &str) -> Result<String, Refusal> {
        Ok(match c.output_dims()? == self.kept {
            true => value.to_owned(),
            false => c.reshape(value, &self.kept),
        })
    }
}

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
    let mut dy = c.gradient()?;
    let Some(r) = Reduction::of(c)? else {
        return Ok(vec![Some(dy)]);
    };
    if mean {
        let count: usize = r.axes.iter().map(|&a| r.dims[a]).product();
        dy = c.scale(&dy, 1.0 / count as f32);
    }
    let dy = r.keep(c, &dy)?;
    Ok(vec![Some(c.expand(&dy, &r.dims))])
}

/// ReduceMax, ReduceMin: Y = max X (min X) over axes; dX = dY / n where X = Y, n the number of
/// elements equal to Y. Equal elements share evenly, as in PyTorch's `amax`.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceMax.html>.
fn extreme(c: &mut Context) -> Contributions {
    let (dy, x, y) = (c.gradient()?, c.input(0)?, c.output(0)?);
    let Some(r) = Reduction::of(c)? else {
        return Ok(vec![Some(dy)]);
    };
    let (dy, y) = (r.keep(c, &dy)?, r.keep(c, y)?);
    let (zero, one) = (c.scalar(0.0), c.scalar(1.0));
    let chosen = c.call("Equal", &[x, &y]);
    let flags = c.call("Where", &[&chosen, &one, &zero]);
    let ties = c.reduce_sum(&flags, &r.axes, true);
    let share = c.call("Div", &[&dy, &ties]);
    Ok(vec![Some(c.masked(&chosen, &share))])
}

/// ReduceSumSquare: Y = Σ X² over axes; dX = 2 X dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceSumSquare.html>.
fn sum_square(c: &mut Context) -> Contributions {
    let r = Reduction::of_some_axes(c)?;
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let dy = r.keep(c, &dy)?;
    let twice = c.scale(&dy, 2.0);
    Ok(vec![Some(c.call("Mul", &[x, &twice]))])
}

/// ReduceL1: Y = Σ |X| over axes; dX = dY sign X.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceL1.html>.
fn l1(c: &mut Context) -> Contributions {
    let r = Reduction::of_some_axes(c)?;
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let dy = r.keep(c, &dy)?;
    let sign = c.call("Sign", &[x]);
    Ok(vec![Some(c.call("Mul", &[&sign, &dy]))])
}

/// ReduceL2: Y = √Σ X² over axes; dX = dY X / Y, 0 where Y = 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceL2.html>.
fn l2(c: &mut Context) -> Contributions {
    let r = Reduction::of_some_axes(c)?;
    let (dy, x, y) = (c.gradient()?, c.input(0)?, c.output(0)?);
    let zero = c.scalar(0.0);
    let quotient = c.call("Div", &[&dy, y]);
    let positive = c.call("Greater", &[y, &zero]);
    let slope = c.masked(&positive, &quotient);
    let slope = r.keep(c, &slope)?;
    Ok(vec![Some(c.call("Mul", &[x, &slope]))])
}

/// ReduceLogSum: Y = ln Σ X over axes; dX = dY e^(−Y), broadcast.
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceLogSum.html>.
fn log_sum(c: &mut Context) -> Contributions {
    let r = Reduction::of_some_axes(c)?;
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let sum = c.call("Exp", &[y]);
    let share = c.call("Div", &[&dy, &sum]);
    let share = r.keep(c, &share)?;
    Ok(vec![Some(c.expand(&share, &r.dims))])
}

/// ReduceLogSumExp: Y = ln Σ eˣ over axes; dX = dY e^(X − Y).
/// Source: <https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html>.
fn log_sum_exp(c: &mut Context) -> Contributions {
    let r = Reduction::of_some_axes(c)?;
    let (dy, x, y) = (c.gradient()?, c.input(0)?, c.output(0)?);
    let (dy, y) = (r.keep(c, &dy)?, r.keep(c, y)?);
    let lower = c.call("Sub", &[x, &y]);
    let p = c.call("Exp", &[&lower]);
    Ok(vec![Some(c.call("Mul", &[&p, &dy]))])
}
