//! A picture to the wanted size and channels.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::{Picture, Size, zeros};

/// Resizes `picture` and writes it to `out`, which holds `size.bytes()`.
pub(super) fn write(picture: &Picture, size: Size, out: &mut [u8]) -> Result<(), String> {
    if (picture.height as usize, picture.width as usize) == (size.height, size.width) {
        write_channels(&picture.pixels, picture.channels, size.channels, out);
        return Ok(());
    }
    // Grey stays grey until it is small: each of three equal channels would come out the same.
    let kind = match picture.channels {
        1 => PixelType::U8,
        _ => PixelType::U8x3,
    };
    let failed = |e: &dyn std::fmt::Display| e.to_string();
    let source = ImageRef::new(picture.width, picture.height, &picture.pixels, kind)
        .map_err(|e| failed(&e))?;
    let mut resized = zeros(size.height * size.width * picture.channels)?;
    let (width, height) = (size.width as u32, size.height as u32);
    let mut target =
        Image::from_slice_u8(width, height, &mut resized, kind).map_err(|e| failed(&e))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|e| failed(&e))?;
    write_channels(&resized, picture.channels, size.channels, out);
    Ok(())
}

fn write_channels(pixels: &[u8], channels: usize, wanted: usize, out: &mut [u8]) {
    match (channels, wanted) {
        (1, 3) => {
            for (pixel, grey) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *pixel = [*grey; 3];
            }
        }
        (3, 1) => {
            for (grey, pixel) in out.iter_mut().zip(pixels.as_chunks::<3>().0) {
                let [r, g, b] = pixel.map(u32::from);
                *grey = ((r * 299 + g * 587 + b * 114 + 500) / 1000) as u8;
            }
        }
        _ => out.copy_from_slice(pixels),
    }
}
