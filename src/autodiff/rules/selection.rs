//! Operators that choose among values, and conversions.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Max",
        limits: "",
        backward: extreme,
    },
    Rule {
        op_type: "Min",
        limits: "",
        backward: extreme,
    },
    Rule {
        op_type: "Where",
        limits: "",
        backward: choose,
    },
    Rule {
        op_type: "Cast",
        limits: "",
        backward: cast,
    },
    Rule {
        op_type: "CastLike",
        limits: "",
        backward: cast_like,
    },
];

/// Max, Min: Y = max Xᵢ (min Xᵢ), broadcast; dXᵢ = dY / n where Xᵢ = Y, n the number of inputs
/// equal to Y there. Equal inputs share evenly, as in PyTorch.
/// Source: <https://onnx.ai/onnx/operators/onnx__Max.html>.
fn extreme(c: &mut Context) -> Contributions {
    let (dy, y) = (c.gradient()?, c.output(0)?);
    let count = c.node.inputs.len();
    if count == 1 {
        return Ok(vec![Some(dy)]);
    }
    let (zero, one) = (c.scalar(0.0), c.scalar(1.0));
    let mut chosen = Vec::with_capacity(count);
    let mut flags = Vec::with_capacity(count);
    for i in 0..count {
        let x = c.input(i)?;
        let equal = c.call("Equal", &[x, y]);
        flags.push(c.call("Where", &[&equal, &one, &zero]));
        chosen.push(equal);
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ties = c.call("Sum", &flags);
    let share = c.call("Div", &[&dy, &ties]);
    (0..count)
        .map(|i| {
            if !c.wants(i) {
                return Ok(None);
            }
            let masked = c.masked(&chosen[i], &share);
            c.sum_to_input(&masked, i).map(Some)
        })
        .collect()
}

/// Where: Y = A where C, else B; dA = dY where C, dB = dY elsewhere.
/// Source: <https://onnx.ai/onnx/operators/onnx__Where.html>.
fn choose(c: &mut Context) -> Contributions {
    let (dy, condition) = (c.gradient()?, c.input(0)?);
    let mut grads = vec![None, None, None];
    if c.wants(1) {
        let masked = c.masked(condition, &dy);
        grads[1] = Some(c.sum_to_input(&masked, 1)?);
    }
    if c.wants(2) {
        let zero = c.scalar(0.0);
        let masked = c.call("Where", &[condition, &zero, &dy]);
        grads[2] = Some(c.sum_to_input(&masked, 2)?);
    }
    Ok(grads)
}

/// Cast between float types: dX is dY cast to the type of X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Cast.html>.
fn cast(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let dtype = c.dtype(c.input(0)?)?;
    let to = vec![("to", i64::from(dtype as i32).into())];
    Ok(vec![Some(c.op("Cast", &[&dy], to))])
}

/// CastLike between float types: dX is dY cast to the type of X. Of input 1 the type alone is read, so that
/// its gradient is 0.
/// Source: <https://onnx.ai/onnx/operators/onnx__CastLike.html>.
fn cast_like(c: &mut Context) -> Contributions {
    let mut contributions = cast(c)?;
    let like = match c.wants(1) {
        true => Some(c.input_dims(1)?),
        false => None,
    };
    let zero = c.scalar(0.0);
    contributions.push(like.map(|dims| c.expand(&zero, &dims)));
    Ok(contributions)
}
