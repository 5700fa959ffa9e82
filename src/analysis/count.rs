//! Multiply-accumulate operations and activation sizes for a batch of one.

use crate::graph::operators::Work;
use crate::graph::{self, Node};
use crate::onnx::element_count;

use super::infer::Inferred;
use super::kinds::Index;

/// Multiply-accumulate operations of a node for a batch of one image. Convolutions, dense products
/// and recurrent cells are counted; every other operator counts as 0. `None` where a shape that
/// is needed is not known, and for `Einsum` and `DeformConv`, which are not counted.
pub(super) fn macs(index: &Index, shapes: &Inferred, node: &Node) -> Option<u64> {
    match node.operator().map_or(Work::None, |o| o.work) {
        Work::Recurrent => {
            // The input is [steps, batch, …] or, with layout 1, [batch, steps, …]; all weights
            // act once per step.
            let input = shapes.single(node.input(0)?)?;
            let per_step = [1, 2]
                .iter()
                .map(|&i| index.float_constant(node.input(i)?).map(|(_, t)| t.len()))
                .try_fold(0usize, |sum, n| sum.checked_add(n?))?;
            (element_count(input.get(..2)?)? as u64).checked_mul(per_step as u64)
        }
        Work::Uncounted => None,
        _ => graph::macs(node, |name| shapes.single(name)),
    }
}

/// Bytes of a node's outputs for a batch of one.
pub(super) fn activation_bytes(shapes: &Inferred, node: &Node) -> Option<u64> {
    node.present_outputs()
        // Optional outputs that only training uses may have no shape.
        .enumerate()
        .filter(|(i, name)| *i == 0 || shapes.single(name).is_some())
        .map(|(_, name)| {
            let shape = shapes.get(name)?;
            let bytes =
                element_count(shape.single.as_deref()?)?.checked_mul(shape.element_size?)?;
            Some(bytes as u64)
        })
        .try_fold(0u64, |sum, bytes: Option<u64>| sum.checked_add(bytes?))
}
