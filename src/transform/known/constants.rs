//! Tensors that are constant.

use crate::onnx::Tensor;
use crate::onnx::messages::{NodeProto, TensorProto};

use super::attributes::named;

/// What a `Constant` holds, if that is a tensor of numbers.
pub(in crate::transform) fn held(node: &NodeProto) -> Option<TensorProto> {
    if let Some(tensor) = named(node, "value").and_then(|a| a.t.clone()) {
        return Some(tensor);
    }
    let float = |v: f32| Tensor::scalar_f32(v);
    let found = named(node, "value_float").and_then(|a| a.f.map(float));
    let found =
        found.or_else(|| named(node, "value_int").and_then(|a| a.i.map(Tensor::scalar_i64)));
    let literal = |name: &str| {
        named(node, name).filter(|a| a.ref_attr_name.as_deref().unwrap_or_default().is_empty())
    };
    let found = found.or_else(|| {
        let floats = literal("value_floats").map(|a| Tensor::f32(&[a.floats.len()], &a.floats));
        floats.or_else(|| literal("value_ints").map(|a| Tensor::i64s(&a.ints)))
    });
    found.map(|tensor| tensor.to_proto(""))
}
