//! Small pictures of samples, inside the page.

use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::data::{Resize, image_dimensions, load_image};

/// Longer side of a thumbnail in pixels.
const SIDE: u32 = 96;
/// Quality of its JPEG, up to 100.
const QUALITY: u8 = 80;

/// A `data:` address of a thumbnail of the image `sample` in the folder `data`; `None` where there is
/// no such image any more.
pub fn thumbnail(data: &Path, sample: &str) -> Option<String> {
    let inside = Path::new(sample)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    let path = data.join(sample);
    // Opening what is no file, a pipe for instance, might wait forever.
    if !inside || !path.is_file() {
        return None;
    }
    let (width, height) = fit(image_dimensions(&path).ok()?);
    let size = (height as usize, width as usize);
    let pixels = load_image(&path, size.0, size.1, 3, Resize::SQUASH).ok()?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&pixels, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}

/// The size of the thumbnail of an image of this size.
fn fit((width, height): (u32, u32)) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(SIDE) / u64::from(longer);
        side.clamp(1, u64::from(SIDE)) as u32
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_keep_the_shape_of_the_image() {
        for (size, fitted) in [
            ((640, 480), (96, 72)),
            ((20, 40), (48, 96)),
            ((9000, 3), (96, 1)),
        ] {
            assert_eq!(fit(size), fitted);
        }
    }

    #[test]
    fn samples_outside_the_folder_or_absent_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("data");
        std::fs::create_dir(&inside).unwrap();
        let picture = image::RgbImage::new(30, 20);
        picture.save(folder.path().join("outside.png")).unwrap();
        picture.save(inside.join("a.png")).unwrap();
        assert!(
            thumbnail(&inside, "a.png")
                .unwrap()
                .starts_with("data:image/jpeg;base64,")
        );
        assert_eq!(thumbnail(&inside, "../outside.png"), None);
        assert_eq!(thumbnail(&inside, "b.png"), None);
        assert_eq!(thumbnail(&inside, "x[3]"), None);
    }
}
