//! Activation functions.
//!
//! Where the derivative can be told from the output Y it is, so that the input X need not be kept
//! and a runtime may fuse the activation into the operator before it.

use crate::kernels::Activation;
use crate::kernels::dialect::Kernel;

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Relu",
        limits: "",
        backward: relu,
    },
    Rule {
        op_type: "LeakyRelu",
        limits: "a negative alpha",
        backward: leaky_relu,
    },
    Rule {
        op_type: "Elu",
        limits: "a negative alpha",
        backward: elu,
    },
    Rule {
        op_type: "Clip",
        limits: "trained bounds",
        backward: clip,
    },
    Rule {
        op_type: "Sigmoid",
        limits: "",
        backward: sigmoid,
    },
    Rule {
        op_type: "Tanh",
        limits: "",
        backward: tanh,
    },
    Rule {
        op_type: "HardSigmoid",
        limits: "",
        backward: hard_sigmoid,
    },
    Rule {
        op_type: "HardSwish",
        limits: "",
        backward: hard_swish,
    },
];

/// Relu: Y = max(X, 0); dX = dY where Y > 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__Relu.html>.
fn relu(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    if c.has_kernels() {
        return Ok(in_one_node(c, &dy, y, Activation::Relu));
    }
    let zero = c.scalar(0.0);
    let active = c.call("Greater", &[y, &zero]);
    Ok(vec![Some(c.masked(&active, &dy))])
}

/// LeakyRelu: Y = X where X > 0, else αX; dX = dY or α dY. With α ≥ 0 the sign of Y tells which.
/// Source: <https://onnx.ai/onnx/operators/onnx__LeakyRelu.html>.
fn leaky_relu(c: &mut Context) -> Contributions {
    let alpha = c.node.float("alpha", 0.01)?;
    if alpha < 0.0 {
        return c.refuse(format!("alpha is {alpha}"));
    }
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let zero = c.scalar(0.0);
    let active = c.call("Greater", &[y, &zero]);
    let leak = c.scale(&dy, alpha);
    Ok(vec![Some(c.call("Where", &[&active, &dy, &leak]))])
}

/// Elu: Y = X where X > 0, else α(eˣ − 1); dX = dY, or dY (Y + α). With α ≥ 0 the sign of Y tells
/// which.
/// Source: <https://onnx.ai/onnx/operators/onnx__Elu.html>.
fn elu(c: &mut Context) -> Contributions {
    let alpha = c.node.float("alpha", 1.0)?;
    if alpha < 0.0 {
        return c.refuse(format!("alpha is {alpha}"));
    }
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let zero = c.scalar(0.0);
    let active = c.call("Greater", &[y, &zero]);
    let alpha = c.scalar(alpha);
    let slope = c.call("Add", &[y, &alpha]);
    let curved = c.call("Mul", &[&dy, &slope]);
    Ok(vec![Some(c.call("Where", &[&active, &dy, &curved]))])
}

/// Clip: Y = min(max(X, lo), hi); dX = dY where lo < Y < hi.
///
/// At a bound itself the gradient is 0, as for ReLU6 in PyTorch.
/// Source: <https://onnx.ai/onnx/operators/onnx__Clip.html>.
fn clip(c: &mut Context) -> Contributions {
    if c.wants(1) || c.wants(2) {
        return c.refuse("trained bounds");
    }
    let (dy, y) = (c.gradient()?, c.output(0)?);
    if c.has_kernels()
        && let Some(low) = constant_bound(c, 1, f32::NEG_INFINITY)
        && let Some(high) = constant_bound(c, 2, f32::INFINITY)
    {
        return Ok(in_one_node(c, &dy, y, Activation::between(low, high)));
    }
    let mut inside: Option<String> = None;
    for (index, comparison) in [(1, "Greater"), (2, "Less")] {
        let Some(bound) = c.node.input(index) else {
            continue;
        };
        let condition = c.op(comparison, &[y, bound], vec![]);
        inside = Some(match inside {
            None => condition,
            Some(other) => c.call("And", &[&other, &condition]),
        });
    }
    let dx = match inside {
        Some(condition) => c.masked(&condition, &dy),
        None => dy,
    };
    Ok(vec![Some(dx)])
}

/// A bound of Clip where it is a constant number; `absent` when the node has none.
fn constant_bound(c: &Context, index: usize, absent: f32) -> Option<f32> {
    match c.constant_input(index).ok()? {
        None => Some(absent),
        Some(bound) => match bound.to_f32()?.as_slice() {
            [bound] => Some(*bound),
            _ => None,
        },
    }
}

/// dY times the slope of the activation that gave Y.
fn in_one_node(c: &mut Context, dy: &str, y: &str, of: Activation) -> Vec<Option<String>> {
    let dx = c.kernel(&Kernel::ActivationGradient(of), &[dy, y], 1);
    dx.into_iter().map(Some).collect()
}

/// Sigmoid: Y = 1 / (1 + e⁻ˣ); dX = dY Y (1 − Y).
/// Source: <https://onnx.ai/onnx/operators/onnx__Sigmoid.html>.
fn sigmoid(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let one = c.scalar(1.0);
    let rest = c.call("Sub", &[&one, y]);
    let slope = c.call("Mul", &[y, &rest]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// Tanh: Y = tanh X; dX = dY (1 − Y²).
/// Source: <https://onnx.ai/onnx/operators/onnx__Tanh.html>.
fn tanh(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let one = c.scalar(1.0);
    let square = c.call("Mul", &[y, y]);
    let slope = c.call("Sub", &[&one, &square]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}

/// HardSigmoid: Y = max(0, min(1, αX + β)); dX = α dY where 0 < Y < 1.
/// Source: <https://onnx.ai/onnx/operators/onnx__HardSigmoid.html>.
fn hard_sigmoid(c: &mut Context) -> Contributions {
    let alpha = c.node.float("alpha", 0.2)?;
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let (zero, one) = (c.scalar(0.0), c.scalar(1.0));
    let above = c.call("Greater", &[y, &zero]);
    let below = c.call("Less", &[y, &one]);
    let inside = c.call("And", &[&above, &below]);
    let scaled = c.scale(&dy, alpha);
    Ok(vec![Some(c.masked(&inside, &scaled))])
}

/// HardSwish: Y = X max(0, min(1, X/6 + 1/2)); dX = dY times 0 where X < −3, 1 where X > 3,
/// X/3 + 1/2 between.
/// Source: <https://onnx.ai/onnx/operators/onnx__HardSwish.html>.
fn hard_swish(c: &mut Context) -> Contributions {
    let (dy, x) = (c.gradient()?, c.input(0)?);
    if c.has_kernels() {
        let dx = c.kernel(&Kernel::HardSwishGradient, &[&dy, x], 1);
        return Ok(dx.into_iter().map(Some).collect());
    }
    let (low, high) = (c.scalar(-3.0), c.scalar(3.0));
    let (half, one) = (c.scalar(0.5), c.scalar(1.0));
    let third = c.scale(x, 1.0 / 3.0);
    let middle = c.call("Add", &[&third, &half]);
    let above = c.call("Greater", &[x, &high]);
    let upper = c.call("Where", &[&above, &one, &middle]);
    let below = c.call("Less", &[x, &low]);
    let zero = c.scalar(0.0);
    let slope = c.call("Where", &[&below, &zero, &upper]);
    Ok(vec![Some(c.call("Mul", &[&dy, &slope]))])
}
