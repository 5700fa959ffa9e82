//! Image sizes: as people write them, and of a model.

use crate::analysis::image_input;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::onnx::messages::{DimensionValue, TypeValue};

use super::ClassifierError;

/// Height and width in pixels from `224`, or `HEIGHTxWIDTH` (`224X224` as well).
///
/// # Errors
/// A sentence, when the text is neither, or a side is 0.
pub fn parse_image_size(text: &str) -> Result<(usize, usize), String> {
    let side = |part: &str| part.trim().parse::<usize>().ok().filter(|&n| n > 0);
    let size = match text.split_once(['x', 'X']) {
        Some((height, width)) => side(height).zip(side(width)),
        None => side(text).map(|n| (n, n)),
    };
    size.ok_or_else(|| format!("`{text}` is no image size; expected `224` or `HEIGHTxWIDTH`"))
}

/// The model made for the image size asked for, where it declares another.
///
/// # Errors
/// When its graph is malformed.
pub fn at_image_size(
    model: &Model,
    size: Option<(usize, usize)>,
) -> Result<Model, ClassifierError> {
    let input = image_input(&Graph::from_model(model)?);
    Ok(match (size, input) {
        (Some((height, width)), Some(input)) => {
            let [_, h, w] = input.layout.axes();
            with_input_size(model, &input.name, [h, w], [height, width])
        }
        _ => model.with_proto(model.proto.clone()),
    })
}

/// The model with its input `input` declared to have `size[i]` elements along `axes[i]`.
///
/// Convolutions do not mind the size of an image; where a model does (a dense layer behind a
/// flattened map), shape inference will tell. Noted shapes of inner values are dropped, since they
/// hold for the old size only. A size that is left open stays open.
fn with_input_size(model: &Model, input: &str, axes: [usize; 2], size: [usize; 2]) -> Model {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_sizes_are_one_side_or_height_by_width() {
        for (text, size) in [
            ("224", (224, 224)),
            ("224x224", (224, 224)),
            ("224X224", (224, 224)),
            ("160 x 240", (160, 240)),
        ] {
            assert_eq!(parse_image_size(text), Ok(size), "{text}");
        }
        for wrong in ["", "0", "x", "0x3", "-3", "12x", "1x2x3", "big"] {
            assert!(parse_image_size(wrong).is_err(), "{wrong}");
        }
    }
}
