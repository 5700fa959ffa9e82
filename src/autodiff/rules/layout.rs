//! Operators that move values without changing them.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Identity",
        limits: "",
        backward: identity,
    },
    Rule {
        op_type: "Flatten",
        limits: "",
        backward: reshape,
    },
    Rule {
        op_type: "Reshape",
        limits: "",
        backward: reshape,
    },
    Rule {
        op_type: "Squeeze",
        limits: "",
        backward: reshape,
    },
    Rule {
        op_type: "Unsqueeze",
        limits: "",
        backward: reshape,
    },
    Rule {
        op_type: "Transpose",
        limits: "",
        backward: transpose,
    },
    Rule {
        op_type: "Concat",
        limits: "",
        backward: concat,
    },
    Rule {
        op_type: "Split",
        limits: "",
        backward: split,
    },
    Rule {
        op_type: "Expand",
        limits: "",
        backward: expand,
    },
    Rule {
        op_type: "DepthToSpace",
        limits: "",
        backward: depth_to_space,
    },
    Rule {
        op_type: "SpaceToDepth",
        limits: "",
        backward: space_to_depth,
    },
];

/// Identity: dX = dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Identity.html>.
fn identity(c: &mut Context) -> Contributions {
    Ok(vec![Some(c.gradient()?)])
}

/// Flatten, Reshape, Squeeze, Unsqueeze: dX is dY in the shape of X.
/// Source: <https://onnx.ai/onnx/operators/onnx__Reshape.html>.
fn reshape(c: &mut Context) -> Contributions {
    let (dy, dims) = (c.gradient()?, c.input_dims(0)?);
    Ok(vec![Some(c.reshape(&dy, &dims))])
}

/// Transpose: dX is dY under the inverse permutation.
/// Source: <https://onnx.ai/onnx/operators/onnx__Transpose.html>.
fn transpose(c: &mut Context) -> Contributions {
    let rank = c.input_dims(0)?.len();
    let forward: Vec<usize> = match c.node.ints("perm")? {
        Some(perm) => perm
            .iter()
            .map(|&p| c.axis(p, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut inverse = vec![0; rank];
    forward
        .iter()
        .enumerate()
        .for_each(|(to, &from)| inverse[from] = to);
    let dy = c.gradient()?;
    Ok(vec![Some(c.transpose(&dy, &inverse))])
}

/// Concat: each dXᵢ is its slice of dY.
/// Source: <https://onnx.ai/onnx/operators/onnx__Concat.html>.
fn concat(c: &mut Context) -> Contributions {
    let rank = c.output_dims()?.len();
    let axis = c.axis(c.node.int("axis", 0)?, rank)?;
    let dy = c.gradient()?;
    let mut grads = Vec::with_capacity(c.node.inputs.len());
    let mut start = 0;
    for i in 0..c.node.inputs.len() {
        let size = c.input_dims(i)?[axis];
        grads.push(
            c.wants(i)
                .then(|| slice(c, &dy, &[axis], &[start], &[start + size])),
        );
        start += size;
    }
    Ok(grads)
}

/// Split: dX is the concatenation of the dYᵢ, zeros for parts that do not reach the loss.
/// Source: <https://onnx.ai/onnx/operators/onnx__Split.html>.
fn split(c: &mut Context) -> Contributions {
    let rank = c.input_dims(0)?.len();
    let axis = c.node.int("axis", 0)?;
    c.axis(axis, rank)?;
    let mut parts = Vec::with_capacity(c.node.outputs.len());
    for i in 0..c.node.outputs.len() {
        parts.push(match c.output_gradient(i) {
            Some(gradient) => gradient,
            None => {
                let dims = c.dims(c.output(i)?)?;
                let zero = c.scalar(0.0);
                c.expand(&zero, &dims)
            }
        });
    }
    let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(vec![Some(c.op(
        "Concat",
        &borrowed,
        vec![("axis", axis.into())],
    ))])
}

/// Expand: dX is dY summed over the axes along which X was repeated.
/// Source: <https://onnx.ai/onnx/operators/onnx__Expand.html>.
fn expand(c: &mut Context) -> Contributions {
    let (from, to) = (c.output_dims()?, c.input_dims(0)?);
    let dy = c.gradient()?;
    Ok(vec![Some(c.unbroadcast(&dy, &from, &to))])
}

/// DepthToSpace: Y spreads groups of b² channels over blocks of b × b positions; dX gathers dY's blocks
/// into channels again. Of the b² channels of one, DCR takes every C/b²-th, CRD takes neighbours.
/// Source: <https://onnx.ai/onnx/operators/onnx__DepthToSpace.html>.
fn depth_to_space(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let block = c.node.int("blocksize", 0)?;
    let side = usize::try_from(block).unwrap_or(0);
    let dy = c.gradient()?;
    let gathered = c.op("SpaceToDepth", &[&dy], vec![("blocksize", block.into())]);
    match (c.node.string("mode", "DCR")?, dims.as_slice()) {
        ("DCR", _) => Ok(vec![Some(gathered)]),
        ("CRD", &[n, channels, h, w]) if side > 0 => {
            let split = c.reshape(&gathered, &[n, side * side, channels / side / side, h * w]);
            let turned = c.transpose(&split, &[0, 2, 1, 3]);
            Ok(vec![Some(c.reshape(&turned, &dims))])
        }
        (mode, _) => c.refuse(format!("mode = {mode}")),
    }
}

/// SpaceToDepth: Y gathers blocks of b × b positions into channels; dX spreads them again.
/// Source: <https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html>.
fn space_to_depth(c: &mut Context) -> Contributions {
    let block = c.node.int("blocksize", 0)?;
    let dy = c.gradient()?;
    let spread = c.op("DepthToSpace", &[&dy], vec![("blocksize", block.into())]);
    Ok(vec![Some(spread)])
}

/// `value[starts..ends]` along `axes`.
pub(super) fn slice(
    c: &mut Context,
    value: &str,
    axes: &[usize],
    starts: &[usize],
    ends: &[usize],
) -> String {
    let ints = |c: &mut Context, v: &[usize]| {
        let v: Vec<i64> = v.iter().map(|&i| i as i64).collect();
        c.ints(&v)
    };
    let (starts, ends, axes) = (ints(c, starts), ints(c, ends), ints(c, axes));
    c.op("Slice", &[value, &starts, &ends, &axes], vec![])
}
