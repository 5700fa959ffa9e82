//! Another image size for a model.

use crate::onnx::Model;
use crate::onnx::messages::{DimensionValue, TypeValue};

/// The model with its input `input` declared to have `size[i]` elements along `axes[i]`.
///
/// Convolutions do not mind the size of an image; where a model does (a dense layer behind a
/// flattened map), shape inference will tell. Noted shapes of inner values are dropped, since they
/// hold for the old size only. A size that is left open stays open.
pub fn with_input_size(model: &Model, input: &str, axes: [usize; 2], size: [usize; 2]) -> Model {
    let mut proto = model.proto.clone();
    let mut changed = false;
    if let Some(graph) = &mut proto.graph {
        let declared = graph
            .input
            .iter_mut()
            .filter(|v| v.name.as_deref() == Some(input))
            .filter_map(|v| match v.r#type.as_mut()?.value.as_mut()? {
                TypeValue::Tensor(tensor) => tensor.shape.as_mut(),
                _ => None,
            });
        for shape in declared {
            for (axis, size) in axes.into_iter().zip(size) {
                if let Some(dim) = shape.dim.get_mut(axis)
                    && let Some(DimensionValue::DimValue(value)) = &mut dim.value
                    && *value != size as i64
                {
                    *value = size as i64;
                    changed = true;
                }
            }
        }
        if changed {
            graph.value_info.clear();
        }
    }
    model.with_proto(proto)
}
