//! Models exported for one fixed batch size are freed from it.

use std::collections::HashMap;

use crate::graph::{Dim, Graph, GraphError, Node, Shapes, infer};
use crate::onnx::Tensor;

/// Makes a normalised graph that was exported for a fixed batch size run at any: the first
/// dimension of inputs and outputs becomes symbolic, and `Reshape` targets that carry the old size
/// in front get 0 or -1 there. A graph whose first dimension is free already is left alone.
///
/// The limit: the batch must be the outermost part of every value that depends on it, as all common
/// exporters lay it out. Each `Reshape` is held against shapes inferred at two batch sizes; one
/// that hides the batch elsewhere is refused, and so are the graph's outputs if they do not follow
/// the batch.
///
/// # Errors
/// When shapes cannot be inferred, or a node fixes the batch in another way; the graph is then
/// unchanged.
pub fn free_batch(graph: &mut Graph) -> Result<(), GraphError> {
    let mut freed = graph.clone();
    free(&mut freed)?;
    *graph = freed;
    Ok(())
}

fn free(graph: &mut Graph) -> Result<(), GraphError> {
    let first = |dims: &Option<Vec<Dim>>| match dims.as_deref() {
        Some([Dim::Known(d), ..]) => Some(*d),
        _ => None,
    };
    let Some(old) = graph.inputs.iter().find_map(|i| first(&i.dims)) else {
        return Ok(());
    };
    // A size that no fixed dimension is likely to be a multiple of.
    let new = old.saturating_mul(7);
    let (mut at_old, mut at_new) = (HashMap::new(), HashMap::new());
    for input in &mut graph.inputs {
        let batched = first(&input.dims) == Some(old);
        let Some(dims) = &mut input.dims else {
            continue;
        };
        let known: Option<Vec<usize>> = dims
            .iter()
            .map(|d| match d {
                Dim::Known(d) => Some(*d),
                Dim::Symbolic(_) => None,
            })
            .collect();
        let Some(mut known) = known else {
            return Err(GraphError::Unsupported(format!(
                "input `{}` has a fixed batch size but other dimensions are free",
                input.name
            )));
        };
        at_old.insert(input.name.clone(), known.clone());
        if batched {
            known[0] = new;
            dims[0] = Dim::Symbolic("N".to_owned());
        }
        at_new.insert(input.name.clone(), known);
    }
    let mut old_shapes = infer::start(graph, &at_old)?;
    let mut new_shapes = infer::start(graph, &at_new)?;
    let mut lost = None;
    for index in 0..graph.nodes.len() {
        let mut node = graph.nodes[index].clone();
        infer::step(graph, &node, &mut old_shapes)?;
        if node.is("Reshape")
            && let Some(target) = freed_target(graph, &node, &old_shapes, &new_shapes, (old, new))?
        {
            let mut name = format!("{}/free_batch", node.name);
            while old_shapes.info(&name).is_ok() || graph.producers().contains_key(name.as_str()) {
                name.push('_');
            }
            let tensor = Tensor::i64s(&target);
            old_shapes.insert_constant(&name, tensor.clone());
            new_shapes.insert_constant(&name, tensor.clone());
            graph.initializers.insert(name.clone(), tensor);
            node.inputs[1] = name;
            node.attributes.remove("allowzero");
            graph.nodes[index] = node.clone();
        }
        infer::step(graph, &node, &mut new_shapes).map_err(|e| {
            node.error(format!(
                "it fits only the batch size of the export, {old}: {e}"
            ))
        })?;
        if lost.is_none() && loses_batch(&node, &old_shapes, &new_shapes) {
            lost = Some(format!("`{}` ({})", node.name, node.op_type));
        }
    }
    for output in &mut graph.outputs {
        let before = old_shapes.dims(&output.name)?;
        let after = new_shapes.dims(&output.name)?;
        if before.first() != Some(&old) || after.first() != Some(&new) {
            let lost = lost.map_or(String::new(), |node| {
                format!(": the first whose result does not is {node}")
            });
            return Err(GraphError::Unsupported(format!(
                "the model is made for batches of {old} only; output `{}` of dimensions {before:?} does not \
                 follow the batch size{lost}",
                output.name
            )));
        }
        let rest = before[1..].iter().map(|&d| Dim::Known(d));
        let free = Dim::Symbolic("N".to_owned());
        output.dims = Some(std::iter::once(free).chain(rest).collect());
    }
    graph.prune();
    Ok(())
}

/// Whether what a node reads grows with the batch and what it gives does not, sizes that it asks for
/// apart.
fn loses_batch(node: &Node, old_shapes: &Shapes, new_shapes: &Shapes) -> bool {
    let follows = |name: &str| match (old_shapes.dims(name), new_shapes.dims(name)) {
        (Ok(before), Ok(after)) => before != after,
        _ => false,
    };
    let reads = node.inputs.iter().any(|name| follows(name));
    reads && !matches!(&*node.op_type, "Shape" | "Size") && !node.outputs.iter().any(|n| follows(n))
}

/// The target with which a `Reshape` serves any batch size; `None` if it does already.
fn freed_target(
    graph: &Graph,
    node: &Node,
    old_shapes: &Shapes,
    new_shapes: &Shapes,
    (old, new): (usize, usize),
) -> Result<Option<Vec<i64>>, GraphError> {
    let (Some(data), Some(target)) = (node.input(0), node.input(1)) else {
        return Ok(None);
    };
    let Some(target) = graph.initializers.get(target).and_then(Tensor::to_i64) else {
        return Ok(None);
    };
    let (before, after) = (old_shapes.dims(data)?, new_shapes.dims(data)?);
    if before == after || matches!(target.first(), None | Some(0 | -1)) {
        return Ok(None);
    }
    let output = old_shapes.dims(node.output(0).unwrap_or_default())?;
    let grows = |was: usize, is: usize| was as u128 * new as u128 == is as u128 * old as u128;
    let leads = match (before.first(), after.first()) {
        (Some(&was), Some(&is)) => grows(was, is),
        _ => false,
    };
    let fixed = !target.contains(&-1);
    let mut freed: Vec<i64> = output.iter().map(|&d| d as i64).collect();
    if leads && target[0] == old as i64 && before[0] == old {
        freed = target;
        freed[0] = 0;
    } else if leads && (fixed || target[0] == old as i64) {
        freed[0] = -1;
    } else {
        return Err(node.error(format!(
            "its target {target:?} fixes the batch size {old} in a way that cannot be freed"
        )));
    }
    Ok(Some(freed))
}
