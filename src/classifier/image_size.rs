//! Image sizes: as people write them, and of a model.

use crate::analysis::image_input;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::surgery::Editor;

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

/// The model made for the image size asked for, where it declares another; a size that is left open stays
/// open.
///
/// Convolutions do not mind the size of an image; where a model does (a dense layer behind a flattened
/// map), shape inference will tell.
///
/// # Errors
/// When its graph is malformed, or its file has fields beyond the schema, which the new model would lose.
pub fn at_image_size(
    model: &Model,
    size: Option<(usize, usize)>,
) -> Result<Model, ClassifierError> {
    let input = image_input(&Graph::from_model(model)?);
    let (Some((height, width)), Some(input)) = (size, input) else {
        return Ok(model.with_proto(model.proto.clone()));
    };
    let [_, h, w] = input.layout.axes();
    let mut editor = Editor::new(model)?;
    editor.set_input_size(&input.name, &[(h, height), (w, width)])?;
    Ok(model.with_proto(editor.finish()?.proto))
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
