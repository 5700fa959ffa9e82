//! Image sizes as people write them.

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
