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
//! Nodes of the kernels' domain, all maps channels-last, weights `[O, I/group, kH, kW]`:
//!
//! | operator | inputs | outputs |
//! | --- | --- | --- |
//! | `Conv` | X, W, bias?, residual? | act(W ∗ X + bias + residual) |
//! | `ConvInputGradient` | dY, W, addend?, X? | (Wᵀ ∗ dY + addend) ⊙ act′(X) |
//! | `ConvWeightGradient` | X, dY | dW, dbias? |
//! | `ActivationGradient` | dY, Y | dY ⊙ act′(Y) |
//! | `Gemm` | A, B, bias? | A · B + bias, or A · Bᵀ + bias where `transB` = 1 |
//! | `GemmWeightGradient` | A, dY | Aᵀ · dY |
//! | `HardSwish` | X | Y |
//! | `HardSwishGradient` | dY, X | dX |
//! | `RowScaleGradient` | dY, A, s | gradients of Y = A ⊙ s, one factor for each row |
//! | `MaxPool` | X | Y |
//! | `MaxPoolGradient` | X, dY | dX |
//!
//! Attributes: `strides`, `pads` (before the first row and column), `dilations`, `group`,
//! `kernel_shape` of pools, and `extent`, height and width of the output (for a weight gradient those
//! of the kernel). `low` and `high` bound the activation act, min(max(·, low), high); without them it is the identity.
//! `coarse` = 1 lets a `Conv` save time at the price of a digit. `rows` of a `GemmWeightGradient` are
//! those of A.
//! `shape0` and `shape1` are the dimensions of the outputs, for runtimes that plan ahead. Of the
//! optional inputs only those that a node has are there; `bias`, `residual`, `addend` and `x` say
//! which input is which.

mod fuse;
mod layout;
mod operators;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;

use crate::graph::{Graph, GraphError, Node, infer_what_fits};
use crate::kernels::DOMAIN;

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
    for node in graph.nodes.iter_mut().filter(|n| n.domain == DOMAIN) {
        for (index, output) in node.outputs.iter().enumerate() {
            let Some(dims) = dims(output) else { continue };
            let shape: Vec<i64> = match (forms.contains_key(output), dims) {
                (true, &[n, c, h, w]) => [n, h, w, c].map(|d| d as i64).to_vec(),
                _ => dims.iter().map(|&d| d as i64).collect(),
            };
            node.attributes
                .insert(format!("shape{index}"), shape.into());
        }
        close_gaps(node);
    }
    if graph.nodes.iter().any(|n| n.domain == DOMAIN) {
        graph.domains.push((DOMAIN.to_owned(), 1));
    }
    graph.sort()?;
    graph.prune();
    Ok(())
}

/// Takes absent inputs out and notes where the optional ones now are: older versions of onnxruntime
/// (1.19 to 1.22) end the process where a custom operator's input is left out before another.
fn close_gaps(node: &mut Node) {
    let names: &[&str] = match node.op_type.as_str() {
        "Conv" => &["bias", "residual"],
        "ConvInputGradient" => &["addend", "x"],
        "Gemm" => &["bias"],
        _ => &[],
    };
    let mut inputs: Vec<String> = node.inputs.iter().take(2).cloned().collect();
    for (input, name) in node.inputs.iter().skip(2).zip(names) {
        if !input.is_empty() {
            let place = inputs.len() as i64;
            node.attributes.insert((*name).to_owned(), place.into());
            inputs.push(input.clone());
        }
    }
    if !names.is_empty() {
        node.inputs = inputs;
    }
}
