//! Multiply-accumulate operations of single nodes.

use crate::onnx::element_count;

use super::Node;
use super::operators::Work;

/// Multiply-accumulate operations of a convolution or dense product, given the dimensions of
/// values by name; 0 for other operators. `None` where a shape that is needed is not known.
pub fn macs<'a>(node: &Node, dims: impl Fn(&str) -> Option<&'a [usize]>) -> Option<u64> {
    let dims = |name: Option<&str>| dims(name?);
    let elements = |name: Option<&str>| element_count(dims(name)?).map(|n| n as u64);
    let product = |a: u64, b: usize| a.checked_mul(b as u64);
    match node.operator().map_or(Work::None, |o| o.work) {
        Work::Conv => {
            // The weight is [out, in / group, kernel…].
            let weight = dims(node.input(1))?;
            product(elements(node.output(0))?, element_count(weight.get(1..)?)?)
        }
        Work::ConvTranspose => {
            // The weight is [in, out / group, kernel…]; every input element meets all of it.
            let weight = dims(node.input(1))?;
            product(elements(node.input(0))?, element_count(weight.get(1..)?)?)
        }
        Work::Gemm => {
            let a = dims(node.input(0))?;
            let transposed = node.int("transA", 0).ok()? != 0;
            product(elements(node.output(0))?, *a.get(usize::from(!transposed))?)
        }
        Work::MatMul => product(elements(node.output(0))?, *dims(node.input(0))?.last()?),
        Work::None | Work::Recurrent | Work::Uncounted => Some(0),
    }
}
