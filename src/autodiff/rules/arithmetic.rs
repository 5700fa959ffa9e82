//! Elementwise arithmetic with broadcasting.

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Add",
        limits: "",
        backward: add,
    },
    Rule {
        op_type: "Sub",
        limits: "",
        backward: sub,
    },
    Rule {
        op_type: "Mul",
        limits: "",
        backward: mul,
    },
    Rule {
        op_type: "Div",
        limits: "",
        backward: div,
    },
    Rule {
        op_type: "Sum",
        limits: "",
        backward: add,
    },
    Rule {
        op_type: "Neg",
        limits: "",
        backward: neg,
    },
    Rule {
        op_type: "Sqrt",
        limits: "",
        backward: sqrt,
    },
    Rule {
        op_type: "Exp",
        limits: "",
        backward: exp,
    },
    Rule {
        op_type: "Log",
        limits: "",
        backward: log,
    },
    Rule {
        op_type: "Reciprocal",
        limits: "",
        backward: reciprocal,
    },
    Rule {
        op_type: "Pow",
        limits: "a trained or computed exponent",
        backward: pow,
    },
];

/// `gradient` (of the output's shape) summed to the shape of input `index`.
fn to_input(c: &mut Context, gradient: &str, index: usize) -> Result<Option<String>, Refusal> {
    let (from, to) = (c.output_dims()?, c.input_dims(index)?);
    Ok(Some(c.unbroadcast(gradient, &from, &to)))
}

/// Add, Sum: Y = Σ Xᵢ; dXᵢ = dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Add.html>.
fn add(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    (0..c.node.inputs.len())
        .map(|i| {
            if c.wants(i) {
                to_input(c, &dy, i)
            } else {
                Ok(None)
            }
        })
        .collect()
}

/// Sub: Y = A − B; dA = dY, dB = −dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Sub.html>.
fn sub(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let da = if c.wants(0) {
        to_input(c, &dy, 0)?
    } else {
        None
    };
    let db = if c.wants(1) {
        let summed = to_input(c, &dy, 1)?;
        summed.map(|s| c.op("Neg", &[&s], vec![]))
    } else {
        None
    };
    Ok(vec![da, db])
}

/// Mul: Y = A B; dA = dY B, dB = dY A.
/// Source: <https://onnx.ai/onnx/operators/onnx__Mul.html>.
fn mul(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let (a, b) = (c.input(0)?, c.input(1)?);
    let mut grads = vec![None, None];
    for (i, other) in [(0, b), (1, a)] {
        if c.wants(i) {
            let product = c.op("Mul", &[&dy, other], vec![]);
            grads[i] = to_input(c, &product, i)?;
        }
    }
    Ok(grads)
}

/// Div: Y = A / B; dA = dY / B, dB = −dY Y / B.
/// Source: <https://onnx.ai/onnx/operators/onnx__Div.html>.
fn div(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let (b, y) = (c.input(1)?, c.output(0)?);
    let quotient = c.op("Div", &[&dy, b], vec![]);
    let da = if c.wants(0) {
        to_input(c, &quotient, 0)?
    } else {
        None
    };
    let db = if c.wants(1) {
        let product = c.op("Mul", &[&quotient, y], vec![]);
        let negative = c.op("Neg", &[&product], vec![]);
        to_input(c, &negative, 1)?
    } else {
        None
    };
    Ok(vec![da, db])
}

/// Neg: Y = −X; dX = −dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Neg.html>.
fn neg(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    Ok(vec![Some(c.op("Neg", &[&dy], vec![]))])
}

/// Sqrt: Y = √X; dX = dY / (2Y).
/// Source: <https://onnx.ai/onnx/operators/onnx__Sqrt.html>.
fn sqrt(c: &mut Context) -> Contributions {
    let half = c.gradient().map(|dy| c.scale(&dy, 0.5))?;
    let y = c.output(0)?;
    Ok(vec![Some(c.op("Div", &[&half, y], vec![]))])
}

/// Exp: Y = eˣ; dX = dY Y.
/// Source: <https://onnx.ai/onnx/operators/onnx__Exp.html>.
fn exp(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    Ok(vec![Some(c.op("Mul", &[&dy, y], vec![]))])
}

/// Log: Y = ln X; dX = dY / X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Log.html>.
fn log(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    Ok(vec![Some(c.op("Div", &[&dy, x], vec![]))])
}

/// Reciprocal: Y = 1 / X; dX = −dY Y².
/// Source: <https://onnx.ai/onnx/operators/onnx__Reciprocal.html>.
fn reciprocal(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let square = c.op("Mul", &[y, y], vec![]);
    let product = c.op("Mul", &[&dy, &square], vec![]);
    Ok(vec![Some(c.op("Neg", &[&product], vec![]))])
}

/// Pow: Y = X^E; dX = dY E X^(E−1). The exponent must be a constant that is not trained.
/// Source: <https://onnx.ai/onnx/operators/onnx__Pow.html>.
fn pow(c: &mut Context) -> Contributions {
    if c.wants(1) {
        return c.refuse("a trained exponent");
    }
    let dy = c.gradient()?;
    let x = c.input(0)?;
    let exponent = match c.constant_input(1)? {
        Some(t) => t,
        None => return c.refuse("no exponent"),
    };
    let Some(values) = exponent.to_f32().or_else(|| {
        exponent
            .to_i64()
            .map(|v| v.into_iter().map(|i| i as f32).collect())
    }) else {
        return c.refuse("the exponent is not a number");
    };
    let tensor = |f: fn(f32) -> f32| {
        let changed: Vec<f32> = values.iter().map(|&v| f(v)).collect();
        crate::onnx::Tensor::f32(&exponent.dims, &changed)
    };
    let factor = c.constant(tensor(|e| e));
    let lowered = c.constant(tensor(|e| e - 1.0));
    let power = c.op("Pow", &[x, &lowered], vec![]);
    let slope = c.op("Mul", &[&power, &factor], vec![]);
    let product = c.op("Mul", &[&dy, &slope], vec![]);
    Ok(vec![to_input(c, &product, 0)?, None])
}
