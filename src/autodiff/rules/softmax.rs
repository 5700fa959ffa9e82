//! Softmax and LogSoftmax.

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Softmax",
        limits: "",
        backward: softmax,
    },
    Rule {
        op_type: "LogSoftmax",
        limits: "",
        backward: log_softmax,
    },
];

fn axis(c: &Context) -> Result<usize, Refusal> {
    let rank = c.input_dims(0)?.len();
    c.axis(c.node.int("axis", -1)?, rank)
}

/// Softmax: Y = eˣ / Σ eˣ along an axis; dX = Y (dY − Σ dY Y).
/// Source: <https://onnx.ai/onnx/operators/onnx__Softmax.html>.
fn softmax(c: &mut Context) -> Contributions {
    let axis = axis(c)?;
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let weighted = c.call("Mul", &[&dy, y]);
    let total = c.reduce_sum(&weighted, &[axis], true);
    let centred = c.call("Sub", &[&dy, &total]);
    Ok(vec![Some(c.call("Mul", &[y, &centred]))])
}

/// LogSoftmax: Y = X − ln Σ eˣ along an axis; dX = dY − e^Y Σ dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__LogSoftmax.html>.
fn log_softmax(c: &mut Context) -> Contributions {
    let axis = axis(c)?;
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let total = c.reduce_sum(&dy, &[axis], true);
    let p = c.call("Exp", &[y]);
    let share = c.call("Mul", &[&p, &total]);
    Ok(vec![Some(c.call("Sub", &[&dy, &share]))])
}
