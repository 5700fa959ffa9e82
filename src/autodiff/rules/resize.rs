//! Resizing by interpolation.

use crate::graph::Attribute;
use crate::onnx::{Tensor, element_count};

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

/// Elements beyond which the matrix of one axis is refused: its making starts here.
const MAX_MATRIX: usize = 1 << 26;
/// Elements that such a matrix may have in any case, and for every element of the input.
const SMALL_MATRIX: usize = 1 << 20;
const PER_ELEMENT: usize = 16;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "Resize",
    limits: "computed scales or sizes; tf_crop_and_resize; a keep_aspect_ratio_policy other than \
             stretch; a scale other than 1 that changes no size; an axis whose input and output \
             sizes multiply to more than 2²⁶, or than 16 times the input's elements and 2²⁰",
    backward: resize,
}];

/// Resize: along each axis, Y is a constant matrix M [out, in] times X; dX is Mᵀ times dY along each
/// axis.
///
/// M is what the operator itself makes of the identity matrix, so that every mode, rounding and
/// coefficient is the runtime's own.
/// Source: <https://onnx.ai/onnx/operators/onnx__Resize.html>.
fn resize(c: &mut Context) -> Contributions {
    let (x_dims, y_dims) = (c.input_dims(0)?, c.output_dims()?);
    if x_dims.contains(&0) || y_dims.contains(&0) {
        return c.refuse("an empty input or output");
    }
    let mut gradient = c.gradient()?;
    if x_dims == y_dims {
        // The runtime copies, whatever the scales.
        return Ok(vec![Some(gradient)]);
    }
    let scales = scales(c, x_dims.len())?;
    let mut dims = y_dims.clone();
    for axis in 0..x_dims.len() {
        let (size, count) = (x_dims[axis], y_dims[axis]);
        let scale = scales.as_ref().map(|scales| scales[axis]);
        if size == count && scale.is_none_or(|s| s == 1.0) {
            continue;
        }
        let matrix = matrix(c, size, count, scale)?;
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        gradient = if inner == 1 {
            let rows = c.reshape(&gradient, &[outer, count]);
            c.call("MatMul", &[&rows, &matrix])
        } else {
            let columns = c.reshape(&gradient, &[outer, count, inner]);
            let turned = c.transpose(&matrix, &[1, 0]);
            c.call("MatMul", &[&turned, &columns])
        };
        dims[axis] = size;
    }
    Ok(vec![Some(c.reshape(&gradient, &x_dims))])
}

/// The scale of each axis; `None` where sizes are given.
fn scales(c: &Context, rank: usize) -> Result<Option<Vec<f32>>, Refusal> {
    let given = c.constant_input(2)?.and_then(|t| t.to_f32());
    let Some(given) = given.filter(|s| !s.is_empty()) else {
        return Ok(None);
    };
    let axes = match c.node.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&a| c.axis(a, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if axes.len() != given.len() {
        return Err(c.node.error("its scales do not fit its axes").into());
    }
    let mut scales = vec![1.0; rank];
    for (&axis, scale) in axes.iter().zip(given) {
        scales[axis] = scale;
    }
    Ok(Some(scales))
}

/// The matrix [count, size] of an axis: the node applied to the columns of the identity.
fn matrix(
    c: &mut Context,
    size: usize,
    count: usize,
    scale: Option<f32>,
) -> Result<String, Refusal> {
    let policy = c.node.string("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" && scale.is_none() {
        return c.refuse(format!("keep_aspect_ratio_policy = {policy}"));
    }
    if size == count {
        return c.refuse("a scale other than 1 that leaves a size as it is");
    }
    let elements = element_count(&c.input_dims(0)?).unwrap_or(usize::MAX);
    let most = elements.saturating_mul(PER_ELEMENT);
    let most = most.clamp(SMALL_MATRIX, MAX_MATRIX);
    let fits = |n: Option<usize>| n.is_some_and(|n| n <= most);
    if !fits(size.checked_mul(size)) || !fits(size.checked_mul(count)) {
        return c.refuse(format!("resizing {size} to {count}"));
    }
    let mut identity = vec![0.0; size * size];
    identity.iter_mut().step_by(size + 1).for_each(|v| *v = 1.0);
    let identity = c.constant(Tensor::f32(&[1, 1, size, size], &identity));
    let mut inputs = vec![identity, String::new()];
    match scale {
        Some(scale) => inputs.push(c.constant(Tensor::f32(&[4], &[1.0, 1.0, scale, 1.0]))),
        None => {
            inputs.push(String::new());
            inputs.push(c.ints(&[1, 1, count as i64, size as i64]));
        }
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let node = c.node;
    let attributes: Vec<(&str, Attribute)> = node
        .attributes
        .iter()
        .filter(|(name, _)| !["axes", "keep_aspect_ratio_policy"].contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let matrix = c.op("Resize", &inputs, attributes);
    Ok(c.reshape(&matrix, &[count, size]))
}
