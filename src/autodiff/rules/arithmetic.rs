//! Elementwise arithmetic with broadcasting.

use std::f32::consts::FRAC_2_SQRT_PI;

use crate::kernels::dialect::Kernel;
use crate::onnx::{DataType, Tensor};

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
        op_type: "Mean",
        limits: "",
        backward: mean,
    },
    Rule {
        op_type: "Neg",
        limits: "",
        backward: neg,
    },
    Rule {
        op_type: "Abs",
        limits: "",
        backward: abs,
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
        op_type: "Erf",
        limits: "",
        backward: erf,
    },
    Rule {
        op_type: "Pow",
        limits: "a trained exponent",
        backward: pow,
    },
];

/// Add, Sum: Y = Σ Xᵢ; dXᵢ = dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Add.html>.
fn add(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    to_each_input(c, &dy)
}

/// Mean: Y = 1/n Σ Xᵢ; dXᵢ = dY / n.
/// Source: <https://onnx.ai/onnx/operators/onnx__Mean.html>.
fn mean(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let share = c.scale(&dy, 1.0 / c.node.inputs.len() as f32);
    to_each_input(c, &share)
}

fn to_each_input(c: &mut Context, gradient: &str) -> Contributions {
    (0..c.node.inputs.len())
        .map(|i| c.wants(i).then(|| c.sum_to_input(gradient, i)).transpose())
        .collect()
}

/// Sub: Y = A − B; dA = dY, dB = −dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Sub.html>.
fn sub(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let mut grads = vec![None, None];
    if c.wants(0) {
        grads[0] = Some(c.sum_to_input(&dy, 0)?);
    }
    if c.wants(1) {
        let summed = c.sum_to_input(&dy, 1)?;
        grads[1] = Some(c.call("Neg", &[&summed]));
    }
    Ok(grads)
}

/// Mul: Y = A B; dA = dY B, dB = dY A.
/// Source: <https://onnx.ai/onnx/operators/onnx__Mul.html>.
fn mul(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let (a, b) = (c.input(0)?, c.input(1)?);
    if c.has_kernels() && c.wants(0) && c.wants(1) && scales_rows(c)? {
        let gradients = c.kernel(&Kernel::RowScaleGradient, &[&dy, a, b], 2);
        return Ok(gradients.into_iter().map(Some).collect());
    }
    let mut grads = vec![None, None];
    for (i, other) in [(0, b), (1, a)] {
        if c.wants(i) {
            let product = c.call("Mul", &[&dy, other]);
            grads[i] = Some(c.sum_to_input(&product, i)?);
        }
    }
    Ok(grads)
}

/// Whether input 1 holds one factor for each element of input 0's first axis.
fn scales_rows(c: &Context) -> Result<bool, Refusal> {
    let (a, b) = (c.input_dims(0)?, c.input_dims(1)?);
    let factors = matches!(b.as_slice(), [_, rest @ ..] if rest.iter().all(|&d| d == 1));
    Ok(factors && a.len() > 1 && a.len() == b.len() && a[0] == b[0])
}

/// Div: Y = A / B; dA = dY / B, dB = −dY Y / B.
/// Source: <https://onnx.ai/onnx/operators/onnx__Div.html>.
fn div(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let (b, y) = (c.input(1)?, c.output(0)?);
    let quotient = c.call("Div", &[&dy, b]);
    let mut grads = vec![None, None];
    if c.wants(0) {
        grads[0] = Some(c.sum_to_input(&quotient, 0)?);
    }
    if c.wants(1) {
        let product = c.call("Mul", &[&quotient, y]);
        let negative = c.call("Neg", &[&product]);
        grads[1] = Some(c.sum_to_input(&negative, 1)?);
    }
    Ok(grads)
}

/// Neg: Y = −X; dX = −dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Neg.html>.
fn neg(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    Ok(vec![Some(c.call("Neg", &[&dy]))])
}

/// Abs: Y = |X|; dX = dY sign X, 0 at 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__Abs.html>.
fn abs(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let sign = c.call("Sign", &[x]);
    Ok(vec![Some(c.call("Mul", &[&dy, &sign]))])
}

/// Erf: Y = 2/√π ∫₀ˣ e^(−t²) dt; dX = dY 2/√π e^(−X²).
/// Source: <https://onnx.ai/onnx/operators/onnx__Erf.html>.
fn erf(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let square = c.call("Mul", &[x, x]);
    let negative = c.call("Neg", &[&square]);
    let bell = c.call("Exp", &[&negative]);
    let scaled = c.scale(&dy, FRAC_2_SQRT_PI);
    Ok(vec![Some(c.call("Mul", &[&scaled, &bell]))])
}

/// Sqrt: Y = √X; dX = dY / (2Y).
/// Source: <https://onnx.ai/onnx/operators/onnx__Sqrt.html>.
fn sqrt(c: &mut Context) -> Contributions {
    let half = c.gradient().map(|dy| c.scale(&dy, 0.5))?;
    let y = c.output(0)?;
    Ok(vec![Some(c.call("Div", &[&half, y]))])
}

/// Exp: Y = eˣ; dX = dY Y.
/// Source: <https://onnx.ai/onnx/operators/onnx__Exp.html>.
fn exp(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    Ok(vec![Some(c.call("Mul", &[&dy, y]))])
}

/// Log: Y = ln X; dX = dY / X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Log.html>.
fn log(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    Ok(vec![Some(c.call("Div", &[&dy, x]))])
}

/// Reciprocal: Y = 1 / X; dX = −dY Y².
/// Source: <https://onnx.ai/onnx/operators/onnx__Reciprocal.html>.
fn reciprocal(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let square = c.call("Mul", &[y, y]);
    let product = c.call("Mul", &[&dy, &square]);
    Ok(vec![Some(c.call("Neg", &[&product]))])
}

/// Pow: Y = X^E; dX = dY E X^(E−1). The exponent must not be trained.
/// Source: <https://onnx.ai/onnx/operators/onnx__Pow.html>.
fn pow(c: &mut Context) -> Contributions {
    if c.wants(1) {
        return c.refuse("a trained exponent");
    }
    let dy = c.gradient()?;
    let x = c.input(0)?;
    let (factor, power) = match c.constant_input(1) {
        Ok(Some(exponent)) => power_of_constant(c, x, &exponent)?,
        _ => power_of_value(c, x)?,
    };
    let slope = c.call("Mul", &[&power, &factor]);
    let product = c.call("Mul", &[&dy, &slope]);
    Ok(vec![Some(c.sum_to_input(&product, 0)?), None])
}

/// E and X^(E−1).
fn power_of_constant(
    c: &mut Context,
    x: &str,
    exponent: &Tensor,
) -> Result<(String, String), Refusal> {
    let Some(values) = exponent.to_f32().or_else(|| {
        exponent
            .to_i64()
            .map(|v| v.into_iter().map(|i| i as f32).collect())
    }) else {
        return c.refuse("the exponent is not a number");
    };
    let tensor = |f: fn(f32) -> f32| {
        let changed: Vec<f32> = values.iter().map(|&v| f(v)).collect();
        Tensor::f32(&exponent.dims, &changed)
    };
    let factor = c.constant(tensor(|e| e));
    if values.iter().all(|&e| e == 2.0) {
        return Ok((factor, x.to_owned()));
    }
    // Where the exponent is 0 the slope is 0, also at X = 0.
    let lowered = c.constant(tensor(|e| if e == 0.0 { 0.0 } else { e - 1.0 }));
    let power = c.call("Pow", &[x, &lowered]);
    Ok((factor, power))
}

/// E and X^(E−1), for an exponent that the graph computes.
fn power_of_value(c: &mut Context, x: &str) -> Result<(String, String), Refusal> {
    let exponent = c.input(1)?;
    let factor = match c.dtype(exponent)? {
        DataType::Float => exponent.to_owned(),
        _ => c.op(
            "Cast",
            &[exponent],
            vec![("to", (DataType::Float as i64).into())],
        ),
    };
    let (zero, one) = (c.scalar(0.0), c.scalar(1.0));
    let is_zero = c.call("Equal", &[&factor, &zero]);
    let lowered = c.call("Sub", &[&factor, &one]);
    let lowered = c.call("Where", &[&is_zero, &zero, &lowered]);
    let power = c.call("Pow", &[x, &lowered]);
    Ok((factor, power))
}
