//! Activation functions whose derivative needs the input, or a parameter.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Softplus",
        limits: "",
        backward: softplus,
    },
    Rule {
        op_type: "Softsign",
        limits: "",
        backward: softsign,
    },
    Rule {
        op_type: "Gelu",
        limits: "",
        backward: gelu,
    },
    Rule {
        op_type: "Mish",
        limits: "",
        backward: mish,
    },
    Rule {
        op_type: "Selu",
        limits: "an alpha or gamma that is not positive",
        backward: selu,
    },
    Rule {
        op_type: "Celu",
        limits: "an alpha that is not positive",
        backward: celu,
    },
    Rule {
        op_type: "Sin",
        limits: "",
        backward: sine,
    },
    Rule {
        op_type: "Cos",
        limits: "",
        backward: cosine,
    },
    Rule {
        op_type: "ThresholdedRelu",
        limits: "",
        backward: thresholded_relu,
    },
    Rule {
        op_type: "PRelu",
        limits: "",
        backward: prelu,
    },
];

/// Softplus: Y = ln(1 + eˣ); dX = dY σ(X).
/// Source: <https://onnx.ai/onnx/operators/onnx__Softplus.html>.
fn softplus(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let slope = c.call("Sigmoid", &[x]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Softsign: Y = X / (1 + |X|); dX = dY / (1 + |X|)².
/// Source: <https://onnx.ai/onnx/operators/onnx__Softsign.html>.
fn softsign(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let one = c.scalar(1.0);
    let size = c.call("Abs", &[x]);
    let root = c.call("Add", &[&size, &one]);
    let square = c.call("Mul", &[&root, &root]);
    Ok(vec![Some(c.call("Div", &[&dy, &square]))])
}

/// Gelu: Y = X Φ(X), Φ the normal distribution; dX = dY (Φ(X) + X e^(−X²/2) / √(2π)).
///
/// With approximate = "tanh": Y = X (1 + t)/2, t = tanh u, u = √(2/π) (X + 0.044715 X³);
/// dX = dY/2 (1 + t + X (1 − t²) √(2/π) (1 + 3·0.044715 X²)).
/// Source: <https://onnx.ai/onnx/operators/onnx__Gelu.html>.
fn gelu(c: &mut Context) -> Contributions {
    match c.node.string("approximate", "none")? {
        "none" => {}
        "tanh" => return gelu_tanh(c),
        other => return c.refuse(format!("approximate = {other}")),
    }
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let (half, one) = (c.scalar(0.5), c.scalar(1.0));
    let scaled = c.scale(x, FRAC_1_SQRT_2);
    let erf = c.call("Erf", &[&scaled]);
    let twice = c.call("Add", &[&erf, &one]);
    let share = c.call("Mul", &[&twice, &half]);
    let square = c.call("Mul", &[&scaled, &scaled]);
    let negative = c.call("Neg", &[&square]);
    let bell = c.call("Exp", &[&negative]);
    let density = c.scale(&bell, 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    let moved = c.call("Mul", &[x, &density]);
    let slope = c.call("Add", &[&share, &moved]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

fn gelu_tanh(c: &mut Context) -> Contributions {
    const CUBIC: f32 = 0.044715;
    const ROOT: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let (one, root) = (c.scalar(1.0), c.scalar(ROOT));
    let square = c.call("Mul", &[x, x]);
    let bend = c.scale(&square, ROOT * CUBIC);
    let bent = c.call("Add", &[&bend, &root]);
    let u = c.call("Mul", &[x, &bent]);
    let t = c.call("Tanh", &[&u]);
    let squared = c.call("Mul", &[&t, &t]);
    let rest = c.call("Sub", &[&one, &squared]);
    let bend = c.scale(&square, 3.0 * ROOT * CUBIC);
    let du = c.call("Add", &[&bend, &root]);
    let steep = c.call("Mul", &[&rest, &du]);
    let moved = c.call("Mul", &[x, &steep]);
    let share = c.call("Add", &[&t, &one]);
    let twice = c.call("Add", &[&share, &moved]);
    let half = c.scale(&dy, 0.5);
    Ok(vec![Some(c.call("Mul", &[&half, &twice]))])
}

/// Mish: Y = X t, t = tanh(ln(1 + eˣ)); dX = dY (t + X (1 − t²) σ(X)).
/// Source: <https://onnx.ai/onnx/operators/onnx__Mish.html>.
fn mish(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let one = c.scalar(1.0);
    let softplus = c.call("Softplus", &[x]);
    let t = c.call("Tanh", &[&softplus]);
    let square = c.call("Mul", &[&t, &t]);
    let rest = c.call("Sub", &[&one, &square]);
    let sigmoid = c.call("Sigmoid", &[x]);
    let steep = c.call("Mul", &[&rest, &sigmoid]);
    let moved = c.call("Mul", &[x, &steep]);
    let slope = c.call("Add", &[&t, &moved]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Selu: Y = γX where X > 0, else γα(eˣ − 1); dX = γ dY, or dY (Y + γα). With α, γ > 0 the sign
/// of Y tells which.
/// Source: <https://onnx.ai/onnx/operators/onnx__Selu.html>.
fn selu(c: &mut Context) -> Contributions {
    // The defaults are the operator's, in its own precision.
    let alpha = c.node.float("alpha", 1.673_263_2)?;
    let gamma = c.node.float("gamma", 1.050_701)?;
    if alpha <= 0.0 || gamma <= 0.0 {
        return c.refuse(format!("alpha is {alpha}, gamma is {gamma}"));
    }
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let zero = c.scalar(0.0);
    let active = c.call("Greater", &[y, &zero]);
    let straight = c.scalar(gamma);
    let limit = c.scalar(alpha * gamma);
    let curved = c.call("Add", &[y, &limit]);
    let slope = c.call("Where", &[&active, &straight, &curved]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Celu: Y = X where X > 0, else α(e^(X/α) − 1); dX = dY, or dY (Y/α + 1). With α > 0 the sign of
/// Y tells which.
/// Source: <https://onnx.ai/onnx/operators/onnx__Celu.html>.
fn celu(c: &mut Context) -> Contributions {
    let alpha = c.node.float("alpha", 1.0)?;
    if alpha <= 0.0 {
        return c.refuse(format!("alpha is {alpha}"));
    }
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let (zero, one) = (c.scalar(0.0), c.scalar(1.0));
    let active = c.call("Greater", &[y, &zero]);
    let scaled = c.scale(y, 1.0 / alpha);
    let curved = c.call("Add", &[&scaled, &one]);
    let slope = c.call("Where", &[&active, &one, &curved]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Sin: dX = dY cos X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Sin.html>.
fn sine(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let slope = c.call("Cos", &[x]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Cos: dX = −dY sin X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Cos.html>.
fn cosine(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let slope = c.call("Sin", &[x]);
    let product = c.call("Mul", &[&dy, &slope]);
    Ok(vec![Some(c.call("Neg", &[&product]))])
}

/// ThresholdedRelu: Y = X where X > α, else 0; dX = dY where X > α.
/// Source: <https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html>.
fn thresholded_relu(c: &mut Context) -> Contributions {
    let alpha = c.node.float("alpha", 1.0)?;
    let (dy, x) = (c.gradient()?, c.input(0)?);
    let alpha = c.scalar(alpha);
    let active = c.call("Greater", &[x, &alpha]);
    Ok(vec![Some(c.masked(&active, &dy))])
}

/// PRelu: Y = X where X > 0, else S X, the slope S broadcast to X; dX = dY or S dY, dS = Σ dY X
/// where X ≤ 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__PRelu.html>.
fn prelu(c: &mut Context) -> Contributions {
    let (dy, x, slope) = (c.gradient()?, c.input(0)?, c.input(1)?);
    let zero = c.scalar(0.0);
    let active = c.call("Greater", &[x, &zero]);
    let dx = c.wants(0).then(|| {
        let leak = c.call("Mul", &[&dy, slope]);
        c.call("Where", &[&active, &dy, &leak])
    });
    let ds = if c.wants(1) {
        let product = c.call("Mul", &[&dy, x]);
        let leaked = c.call("Where", &[&active, &zero, &product]);
        Some(c.sum_to_input(&leaked, 1)?)
    } else {
        None
    };
    Ok(vec![dx, ds])
}
