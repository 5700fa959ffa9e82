//! Shapes that tract leaves open, by our own inference at two batch sizes.
//!
//! Exporters compute the target of a `Reshape` from the input's shape, often through casts that
//! tract does not follow with a symbol in them. At a given batch all is known; what differs
//! between a batch of one and a batch of two depends on the batch.

use std::collections::HashMap;

use crate::graph::{Dim, Graph, Shapes, normalise};

use super::infer::{BATCH, Inferred, ValueShape, is_nhwc};

/// Adds to `inferred` the shapes that it does not know. Where dimensions of the inputs other than
/// the batch are open, or the graph does not fit our inference, it stays as it is; where nothing is
/// left open, its warnings go.
pub(super) fn fill(graph: &Graph, image_size: Option<(usize, usize)>, inferred: &mut Inferred) {
    let is_open = |name: &str| {
        let shape = inferred.get(name);
        shape.is_none_or(|s| s.has_unknown() || s.single.is_none())
    };
    let mut values = graph.nodes.iter().flat_map(|n| n.present_outputs());
    if !values.any(is_open) {
        return;
    }
    let Some((one, two)) = at_batch(graph, image_size, 1).zip(at_batch(graph, image_size, 2))
    else {
        return;
    };
    let mut complete = true;
    for node in &graph.nodes {
        for (i, name) in node.present_outputs().enumerate() {
            let open = inferred
                .get(name)
                .is_none_or(|s| s.has_unknown() || s.single.is_none());
            if !open {
                continue;
            }
            let copied = node.elements().is_copy() && i == 0;
            let shape = between(&one, &two, name).or_else(|| {
                let source = node.input(0).filter(|_| copied)?;
                inferred.get(source).cloned()
            });
            match shape {
                Some(shape) => inferred.insert(name, shape),
                None => complete &= i > 0,
            }
        }
    }
    if complete {
        inferred.warnings.clear();
    }
}

/// The shape of a value whose dimensions are constant or proportional to the batch.
fn between(one: &Shapes, two: &Shapes, name: &str) -> Option<ValueShape> {
    let single = one.info(name).ok()?;
    let double = two.dims(name).ok()?;
    if single.dims.len() != double.len() {
        return None;
    }
    let dims = single.dims.iter().zip(double).map(|(&a, &b)| {
        if a == b {
            Some(Dim::Known(a))
        } else if a.checked_mul(2) == Some(b) {
            Some(Dim::Symbolic(match a {
                1 => BATCH.to_owned(),
                _ => format!("{a}*{BATCH}"),
            }))
        } else {
            None
        }
    });
    Some(ValueShape {
        dims: dims.collect::<Option<_>>()?,
        single: Some(single.dims.clone()),
        element_size: Some(single.dtype.size()),
    })
}

fn at_batch(graph: &Graph, image_size: Option<(usize, usize)>, batch: usize) -> Option<Shapes> {
    let mut work = graph.clone();
    let mut inputs = HashMap::new();
    for input in &mut work.inputs {
        let dims = input.dims.take()?;
        let sizes = sizes(&dims, image_size, batch)?;
        inputs.insert(input.name.clone(), sizes);
    }
    normalise(&mut work).ok()?;
    crate::graph::infer_shapes(&work, &inputs).ok()
}

/// The dimensions of an input, all known.
fn sizes(dims: &[Dim], image_size: Option<(usize, usize)>, batch: usize) -> Option<Vec<usize>> {
    let first = if is_nhwc(dims) { 1 } else { 2 };
    dims.iter()
        .enumerate()
        .map(|(axis, dim)| match (dim, image_size) {
            _ if axis == 0 => Some(batch),
            (Dim::Known(size), _) => Some(*size),
            (_, Some((height, _))) if dims.len() == 4 && axis == first => Some(height),
            (_, Some((_, width))) if dims.len() == 4 && axis == first + 1 => Some(width),
            _ => None,
        })
        .collect()
}
