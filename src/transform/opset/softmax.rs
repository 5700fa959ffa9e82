//! Softmax and its kin, which before opset 13 ran over all axes from one on.

use crate::graph::Attribute;
use crate::onnx::messages::NodeProto;

use super::super::known::{Known, int, set};
use super::writer::{Adapted, Writer, become_, cannot, made};

/// Before opset 13 it ran over all axes from `axis` (1 by default) on.
pub(super) fn raised(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let axis = int(node, "axis", 1);
    let rank = w.known(node, 0).dims.map(|dims| dims.len() as i64);
    if axis == -1 || rank.is_some() && rank == axis.checked_add(1) {
        set(node, "axis", axis);
        return Ok(());
    }
    let Some(input) = node.input.first().cloned() else {
        return cannot("its input is missing");
    };
    let of = node.clone();
    let known = Known::tensor(w.known(node, 0).element);
    let flat = Known::of_rank(known.element, 2);
    let shape = w.op(
        &of,
        ("shape", "Shape"),
        &[&input],
        vec![],
        Known::of_rank(7, 1),
    );
    let rows = w.op(
        &of,
        ("rows", "Flatten"),
        &[&input],
        vec![("axis", axis.into())],
        flat.clone(),
    );
    let result = w.between(&of, "flat", flat);
    // The one that makes the output keeps what was noted of it.
    let operator = node.op_type.clone().unwrap_or_default();
    w.ahead.push(made(
        &result,
        &operator,
        &[&rows],
        &result,
        vec![("axis", (-1).into())],
    ));
    become_(node, "Reshape", &[&result, &shape], vec![]);
    Ok(())
}

/// Before opset 13 it ran over all axes from `axis` on: it is the last one after a transposition.
pub(super) fn lowered(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let axis = int(node, "axis", -1);
    let rank = w.known(node, 0).dims.map(|dims| dims.len() as i64);
    if axis == -1 || rank.is_some() && rank == axis.checked_add(1) {
        set(node, "axis", rank.map_or(-1, |rank| rank - 1));
        return Ok(());
    }
    let rank = w.rank(node, 0)?;
    let axis = if axis < 0 { axis + rank } else { axis };
    if axis < 0 || axis >= rank {
        return cannot(format!("axis {axis} of {rank} dimensions"));
    }
    let mut order: Vec<i64> = (0..rank).collect();
    order.swap(axis as usize, rank as usize - 1);
    let of = node.clone();
    let known = Known::of_rank(w.known(node, 0).element, rank as usize);
    let perm = || -> Vec<(&str, Attribute)> { vec![("perm", order.clone().into())] };
    let inputs = [of.input.first().map_or("", String::as_str)];
    let turned = w.op(&of, ("turned", "Transpose"), &inputs, perm(), known.clone());
    let operator = of.op_type.as_deref().unwrap_or_default();
    let last: Vec<(&str, Attribute)> = vec![("axis", (rank - 1).into())];
    let result = w.op(&of, ("along", operator), &[&turned], last, known);
    become_(node, "Transpose", &[&result], perm());
    Ok(())
}
