//! Rewrites a graph for the kernels of [`crate::kernels`].
//!
//! In the result two-dimensional convolutions, their gradients and what stands between them work on
//! channels-last maps, `[N, H, W, C]`. `layout` and `operators` decide which values change their
//! layout and insert the few transpositions that remain; `fuse` then folds additions, activations and
//! activation gradients into the convolution before them. The graph's inputs and outputs keep their
//! names, layouts and meaning.
//!
//! Matrix products of few rows become nodes of the kernels' domain, too.
//!
//! [`kernels::dialect`](crate::kernels::dialect) has the operators that it writes.

mod fuse;
mod layout;
mod operators;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;

use crate::graph::{Graph, GraphError, infer_what_fits, to_i64};

/// Rewrites `graph`, normalised and of fixed input dimensions, whose gradients were made with
/// [`Operators::Kernels`](crate::autodiff::Operators::Kernels).
///
/// # Errors
/// When the graph is malformed.
pub fn channels_last(graph: &mut Graph) -> Result<(), GraphError> {
    let (shapes, _) = infer_what_fits(graph, &HashMap::new())?;
    let forms = layout::rewrite(graph, &shapes)?;
    let dims = |name: &str| {
        shapes
            .dims(forms.get(name).map_or(name, String::as_str))
            .ok()
    };
    fuse::fuse(graph, &dims);
    for node in &mut graph.nodes {
        let Some(operator) = node.kernel_operator() else {
            continue;
        };
        for index in 0..node.outputs.len() {
            let output = &node.outputs[index];
            let Some(dims) = dims(output) else { continue };
            let shape = match (forms.contains_key(output), dims) {
                (true, &[n, c, h, w]) => to_i64(&[n, h, w, c]),
                _ => to_i64(dims),
            };
            node.note_shape(index, shape);
        }
        node.close_gaps(operator);
    }
    graph.declare_kernels();
    graph.sort()?;
    graph.prune();
    Ok(())
}
