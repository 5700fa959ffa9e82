//! What the frozen prefix is made of.
//!
//! Its weights are constants, which onnxruntime arranges once for convolutions of its own; those are
//! as fast as the kernels where both sum all products on vectors. The kernels take the prefix over where
//! they multiply less, or on a matrix unit.

use std::collections::HashMap;

use crate::channels_last::channels_last;
use crate::graph::{Graph, Node, Shapes, Window, infer_shapes, macs};
use crate::kernels::dialect::Kernel;
use crate::kernels::{ConvShape, beats_vectors};
use crate::surgery::fold_batch_norm;

use super::TrainingError;

/// `graph`, a frozen prefix of fixed dimensions, made of the kernels; `None` where onnxruntime's own
/// operators are expected to be as fast.
///
/// # Errors
/// When the graph is malformed.
pub(super) fn of_kernels(graph: &Graph) -> Result<Option<Graph>, TrainingError> {
    let shapes = infer_shapes(graph, &HashMap::new())?;
    let [mut all, mut faster] = [0u64; 2];
    for node in &graph.nodes {
        let Some(work) = macs(node, |name| shapes.dims(name).ok()) else {
            return Ok(None);
        };
        all = all.saturating_add(work);
        if conv_shape(node, &shapes).is_some_and(|shape| beats_vectors(&shape)) {
            faster = faster.saturating_add(work);
        }
    }
    if faster < all / 2 || faster == 0 {
        return Ok(None);
    }
    let mut graph = graph.clone();
    fold_batch_norm(&mut graph, &shapes, &[])?;
    channels_last(&mut graph)?;
    for node in &mut graph.nodes {
        if let Some(mut kernel) = node.kernel()?
            && let Kernel::Conv { coarse, .. } = &mut kernel
        {
            // No gradient passes here, and nothing adds the errors up over steps.
            *coarse = true;
            node.set_kernel(&kernel);
        }
    }
    Ok(Some(graph))
}

/// The shape of a two-dimensional convolution.
fn conv_shape(node: &Node, shapes: &Shapes) -> Option<ConvShape> {
    if node.op_type != "Conv" || !node.domain.is_empty() {
        return None;
    }
    let dims = |name: Option<&str>| <[usize; 4]>::try_from(shapes.dims(name?).ok()?).ok();
    let x = dims(node.input(0))?;
    let w = dims(node.input(1))?;
    let y = dims(node.output(0))?;
    let window = Window::of(node, &w[2..], &x, &y).ok()?;
    let window = window.conv_kernel(&x, &y[2..])?;
    let ([n, c, h, width], [_, o, to_h, to_width]) = (x, y);
    let x = [n, h, width, c];
    Some(window.shape(x, [to_h, to_width, o], [w[2], w[3]]))
}
