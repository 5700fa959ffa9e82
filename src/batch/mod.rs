//! Models exported for one fixed batch size are freed from it.

mod file;
#[cfg(test)]
mod mixing;
mod places;
mod rewrite;
mod rules;
mod sizes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values;

use std::collections::HashMap;

use crate::graph::{Builder, Dim, Graph, GraphError, Node, Value, infer};

pub use file::{Change, Freed, freed};
use places::{Place, Trail};
use sizes::Sizes;

/// The batch size that a model with this input is made for; `None` where it takes any.
pub fn batch_of_export(input: &Value) -> Option<usize> {
    match input.dims.as_deref() {
        Some(&[Dim::Known(n), ..]) => Some(n),
        _ => None,
    }
}

/// Makes a normalised graph that was exported for a fixed batch size run at any: the first
/// dimension of inputs and outputs becomes symbolic, and nodes that carry the old size are rewritten
/// (`rewrite`). A graph whose first dimension is free already is left alone.
///
/// The limit: the batch must be a part of one axis of every value that depends on it, as all common
/// exporters lay it out. Each node is held against shapes inferred at two batch sizes, and must compute
/// each sample's part of its result from that sample alone (`rules`). Where a `Reshape` leaves it open
/// in which axis of its result the batch is, what fits all nodes behind it is taken. What hides the
/// batch elsewhere or would mix samples is refused, and so are the graph's outputs if they do not follow
/// the batch. Nodes that no output depends on go.
///
/// # Errors
/// When shapes cannot be inferred, a node fixes the batch in another way, or it would mix the samples of
/// a batch; the graph is then unchanged.
pub fn free_batch(graph: &mut Graph) -> Result<(), GraphError> {
    let mut trail = Trail::new(graph.nodes.len());
    // What is told when no way fits is why the likeliest one does not.
    let mut first = None;
    loop {
        let mut freed = graph.clone();
        let Err(error) = free(&mut freed, &mut trail) else {
            *graph = freed;
            return Ok(());
        };
        let error = first.take().unwrap_or(error);
        if !trail.turn_back() {
            return Err(error);
        }
        first = Some(error);
    }
}

fn free(graph: &mut Graph, trail: &mut Trail) -> Result<(), GraphError> {
    let Some(old) = graph.inputs.iter().find_map(batch_of_export) else {
        return Ok(());
    };
    graph.prune();
    // A size that no fixed dimension is likely to be a multiple of.
    let new = old.saturating_mul(7);
    let (mut at_old, mut at_new) = (HashMap::new(), HashMap::new());
    for input in &mut graph.inputs {
        let batched = batch_of_export(input) == Some(old);
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
    let shapes = [infer::start(graph, &at_old)?, infer::start(graph, &at_new)?];
    let mut sizes = Sizes::new([old, new], shapes);
    let first = Place { axis: 0, ahead: 1 };
    for input in &graph.inputs {
        if sizes.follows(&input.name) {
            sizes.set_place(&input.name, first);
        }
    }
    let mut builder = Builder::new(graph);
    let nodes = std::mem::take(&mut builder.graph_mut().nodes);
    for mut node in nodes {
        infer::step(builder.graph(), &node, &mut sizes.at_old)?;
        match node.op_type.as_str() {
            _ if !node.domain.is_empty() => {}
            "Reshape" => rewrite::reshape(&mut builder, &mut node, &mut sizes, trail)?,
            "Expand" => rewrite::expand(&mut builder, &mut node, &sizes)?,
            "Resize" => rewrite::resize(&mut builder, &mut node, &mut sizes)?,
            "Concat" => rewrite::concat(&mut builder, &mut node, &mut sizes)?,
            "Gather" => rewrite::gather(&mut builder, &mut node, &mut sizes)?,
            _ => {}
        }
        sizes.learn_constants(builder.graph(), &node);
        advance(builder.graph(), &node, &mut sizes)?;
        builder.graph_mut().nodes.push(node);
    }
    for output in &mut graph.outputs {
        let before = sizes.at_old.dims(&output.name)?;
        let after = sizes.at_new.dims(&output.name)?;
        let leads = before.first() == Some(&old) && after.first() == Some(&new);
        if !leads || sizes.place(&output.name) != Some(first) {
            let makes = |n: &&Node| n.present_outputs().any(|o| o == output.name);
            let maker = graph.nodes.iter().find(makes);
            let maker = maker.map_or(String::new(), |n| format!(", as {n} gives it"));
            return Err(GraphError::Unsupported(format!(
                "the model is made for batches of {old} only; {EXPORT}: output `{}` of dimensions \
                 {before:?} does not follow the batch size{maker}",
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

/// What the user can do.
const EXPORT: &str = "export it for any (in PyTorch dynamic_axes or dynamic_shapes)";

/// Takes note of what `node` gives at the other batch size, and of where the batch is in it.
fn advance(graph: &Graph, node: &Node, sizes: &mut Sizes) -> Result<(), GraphError> {
    let old = sizes.old;
    infer::step(graph, node, &mut sizes.at_new).map_err(|e| {
        node.error(format!(
            "it fits only the batch size of the export, {old}; {EXPORT}: {e}"
        ))
    })?;
    let place = rules::place(node, graph, sizes).map_err(|reason| {
        node.error(format!(
            "it may mix the samples of a batch: {reason}; the model is made for batches of {old} \
             only, {EXPORT}"
        ))
    })?;
    if let Some(place) = place {
        for name in node.outputs.iter().take(rules::results(node)) {
            sizes.set_place(name, place);
        }
    }
    Ok(())
}
