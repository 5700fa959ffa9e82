//! Operators that pick or place elements by index values.

use crate::onnx::{Tensor, element_count};

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "GatherElements",
        limits: "",
        backward: gather_elements,
    },
    Rule {
        op_type: "GatherND",
        limits: "",
        backward: gather_nd,
    },
    Rule {
        op_type: "ScatterElements",
        limits: "reduction other than none and add",
        backward: scatter_elements,
    },
    Rule {
        op_type: "ScatterND",
        limits: "reduction other than none and add",
        backward: scatter_nd,
    },
    Rule {
        op_type: "TopK",
        limits: "",
        backward: top_k,
    },
    Rule {
        op_type: "Trilu",
        limits: "",
        backward: trilu,
    },
];

/// Zeros of dimensions `dims`, to which `updates` are added at `indices` along `axis`.
fn add_at(c: &mut Context, dims: &[usize], axis: usize, indices: &str, updates: &str) -> String {
    let zero = c.scalar(0.0);
    let zeros = c.expand(&zero, dims);
    let attributes = vec![("axis", (axis as i64).into()), ("reduction", "add".into())];
    c.op("ScatterElements", &[&zeros, indices, updates], attributes)
}

/// `value` with zeros at the places that the node's input 1 names: what its updates overwrote.
fn erased(c: &mut Context, value: &str, op_type: &str) -> Result<String, Refusal> {
    let (indices, dims) = (c.input(1)?, c.input_dims(2)?);
    let zero = c.scalar(0.0);
    let zeros = c.expand(&zero, &dims);
    let attributes = match op_type {
        "ScatterElements" => vec![("axis", c.node.int("axis", 0)?.into())],
        _ => vec![],
    };
    Ok(c.op(op_type, &[value, indices, &zeros], attributes))
}

/// GatherElements: Y picks X's elements along an axis; dX adds dY's elements at those places.
/// Source: <https://onnx.ai/onnx/operators/onnx__GatherElements.html>.
fn gather_elements(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let axis = c.axis(c.node.int("axis", 0)?, dims.len())?;
    let (dy, indices) = (c.gradient()?, c.input(1)?);
    Ok(vec![Some(add_at(c, &dims, axis, indices, &dy))])
}

/// GatherND: Y picks X's slices by tuples of indices; dX adds dY's slices at those places. The tuples
/// become row numbers of X as a matrix, along which adding is defined for repeated rows too.
/// Source: <https://onnx.ai/onnx/operators/onnx__GatherND.html>.
fn gather_nd(c: &mut Context) -> Contributions {
    let (dims, index_dims) = (c.input_dims(0)?, c.input_dims(1)?);
    let batch = usize::try_from(c.node.int("batch_dims", 0)?).ok();
    let depth = index_dims.last().copied().unwrap_or(0);
    let Some(batch) = batch.filter(|b| b + depth <= dims.len() && *b < index_dims.len()) else {
        return Err(c.node.error("batch_dims or indices do not fit").into());
    };
    let (lead, inner) = (&dims[..batch + depth], &dims[batch + depth..]);
    let sizes = (element_count(lead), element_count(inner));
    let (Some(rows), Some(width)) = sizes else {
        return c.refuse(format!("an input of {dims:?}"));
    };
    let picked: usize = index_dims[..index_dims.len() - 1].iter().product();
    if rows == 0 || width == 0 || picked == 0 || depth == 0 {
        return c.refuse("an empty input or output");
    }
    let dy = c.gradient()?;
    let sizes: Vec<i64> = dims[batch..batch + depth]
        .iter()
        .map(|&d| d as i64)
        .collect();
    let indices = c.input(1)?;
    let tuples = c.reshape(indices, &[picked, depth]);
    let zero = c.constant(Tensor::scalar_i64(0));
    let negative = c.call("Less", &[&tuples, &zero]);
    let all = c.ints(&sizes);
    let wrapped = c.call("Add", &[&tuples, &all]);
    let tuples = c.call("Where", &[&negative, &wrapped, &tuples]);
    let strides: Vec<i64> = (0..depth)
        .map(|i| sizes[i + 1..].iter().product())
        .collect();
    let strides = c.ints(&strides);
    let offsets = c.call("Mul", &[&tuples, &strides]);
    let mut row = c.reduce_sum(&offsets, &[1], true);
    if batch > 0 {
        let batches: usize = dims[..batch].iter().product();
        let (each, block) = (picked / batches, rows / batches);
        let starts: Vec<i64> = (0..picked).map(|i| (i / each * block) as i64).collect();
        let mut starts = Tensor::i64s(&starts);
        starts.dims = vec![picked, 1];
        let starts = c.constant(starts);
        row = c.call("Add", &[&row, &starts]);
    }
    let matrix = [picked, width];
    let row = c.expand(&row, &matrix);
    let dy = c.reshape(&dy, &matrix);
    let sum = add_at(c, &[rows, width], 0, &row, &dy);
    Ok(vec![Some(c.reshape(&sum, &dims))])
}

/// What the gradients of a scatter need: whether updates add to the data or replace it.
fn adds(c: &Context) -> Result<bool, Refusal> {
    match c.node.string("reduction", "none")? {
        "none" => Ok(false),
        "add" => Ok(true),
        other => c.refuse(format!("reduction = {other}")),
    }
}

/// ScatterElements: Y is X with updates U put (or added) at the indices along an axis; dX is dY, zero
/// where U replaced X; dU picks dY at the indices.
/// Source: <https://onnx.ai/onnx/operators/onnx__ScatterElements.html>.
fn scatter_elements(c: &mut Context) -> Contributions {
    let adds = adds(c)?;
    let (dy, indices) = (c.gradient()?, c.input(1)?);
    let dx = match c.wants(0) {
        true if adds => Some(dy.clone()),
        true => Some(erased(c, &dy, "ScatterElements")?),
        false => None,
    };
    let axis = c.node.int("axis", 0)?;
    let du = c.wants(2).then(|| {
        c.op(
            "GatherElements",
            &[&dy, indices],
            vec![("axis", axis.into())],
        )
    });
    Ok(vec![dx, None, du])
}

/// ScatterND: as ScatterElements, with slices at tuples of indices.
/// Source: <https://onnx.ai/onnx/operators/onnx__ScatterND.html>.
fn scatter_nd(c: &mut Context) -> Contributions {
    let adds = adds(c)?;
    let (dy, indices) = (c.gradient()?, c.input(1)?);
    let dx = match c.wants(0) {
        true if adds => Some(dy.clone()),
        true => Some(erased(c, &dy, "ScatterND")?),
        false => None,
    };
    let du = c.wants(2).then(|| c.call("GatherND", &[&dy, indices]));
    Ok(vec![dx, None, du])
}

/// TopK: Y are the largest (or smallest) elements along an axis; dX is dY at their places, as the
/// operator's second output tells.
/// Source: <https://onnx.ai/onnx/operators/onnx__TopK.html>.
fn top_k(c: &mut Context) -> Contributions {
    let dims = c.input_dims(0)?;
    let axis = c.axis(c.node.int("axis", -1)?, dims.len())?;
    let dy = c.gradient()?;
    let indices = c.add_output(1);
    Ok(vec![Some(add_at(c, &dims, axis, &indices, &dy))])
}

/// Trilu: Y is X above (or below) a diagonal, zero elsewhere; dX is dY there.
/// Source: <https://onnx.ai/onnx/operators/onnx__Trilu.html>.
fn trilu(c: &mut Context) -> Contributions {
    let dy = c.gradient()?;
    let mut inputs = vec![dy.as_str()];
    inputs.extend(c.node.input(1));
    let upper = c.node.int("upper", 1)?;
    let dx = c.op("Trilu", &inputs, vec![("upper", upper.into())]);
    Ok(vec![Some(dx)])
}
