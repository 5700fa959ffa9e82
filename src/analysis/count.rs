//! Multiply-accumulate operations and activation sizes for a batch of one.

use crate::graph::Node;
use crate::onnx::element_count;

use super::infer::Inferred;
use super::kinds::Index;

/// Multiply-accumulate operations of a node for a batch of one image. Convolutions, dense products
/// and recurrent cells are counted; every other operator counts as 0. `None` where a shape that
/// is needed is not known, and for `Einsum` and `DeformConv`, which are not counted.
pub(super) fn macs(index: &Index, shapes: &Inferred, node: &Node) -> Option<u64> {
    if !node.domain.is_empty() {
        return Some(0);
    }
    let dims = |name: Option<&str>| shapes.single(name?);
    let elements = |name: Option<&str>| element_count(dims(name)?).map(|n| n as u64);
    let product = |a: u64, b: usize| a.checked_mul(b as u64);
    match node.op_type.as_str() {
        "Conv" => {
            // The weight is [out, in / group, kernel…].
            let weight = dims(node.input(1))?;
            product(elements(node.output(0))?, element_count(weight.get(1..)?)?)
        }
        "ConvTranspose" => {
            // The weight is [in, out / group, kernel…]; every input element meets all of it.
            let weight = dims(node.input(1))?;
            product(elements(node.input(0))?, element_count(weight.get(1..)?)?)
        }
        "Gemm" => {
            let a = dims(node.input(0))?;
            let transposed = node.int("transA", 0).ok()? != 0;
            product(elements(node.output(0))?, *a.get(usize::from(!transposed))?)
        }
        "MatMul" => product(elements(node.output(0))?, *dims(node.input(0))?.last()?),
        "LSTM" | "GRU" | "RNN" => {
            // The input is [steps, batch, …] or, with layout 1, [batch, steps, …]; all weights
            // act once per step.
            let input = dims(node.input(0))?;
            let per_step = [1, 2]
                .iter()
                .map(|&i| index.float_constant(node.input(i)?).map(|(_, t)| t.len()))
                .try_fold(0usize, |sum, n| sum.checked_add(n?))?;
            product(element_count(input.get(..2)?)? as u64, per_step)
        }
        "Einsum" | "DeformConv" => None,
        _ => Some(0),
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
