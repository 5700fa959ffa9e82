//! A part of a picture to the wanted size, place and channels.

use std::borrow::Cow;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::super::resize::{GREY, Placement};
use super::{Size, zeros};

/// Alpha of what is not transparent.
const OPAQUE: u8 = 255;

/// 8-bit pixels, RGB, RGBA or grey.
pub(in crate::data) struct Raster<'a> {
    pub width: u32,
    pub height: u32,
    pub channels: usize,
    pub pixels: &'a [u8],
}

/// Brings a part of `raster` to its place in `out`, which holds `size.bytes()`; the rest becomes [`GREY`].
pub(in crate::data) fn place(
    raster: &Raster<'_>,
    placement: &Placement,
    size: Size,
    out: &mut [u8],
) -> Result<(), String> {
    let [_, _, width, height] = placement.to;
    let part = resized(raster, placement.from, [width, height])?;
    paste((&part, raster.channels), placement.to, size, out);
    Ok(())
}

/// A part of `raster` (left, top, width and height, in pixels) at the size `to` (width and height). Pixels at
/// its border mix with those beside it, as by Pillow's `resize(…, box=…)`.
pub(in crate::data) fn resized<'a>(
    raster: &Raster<'a>,
    [left, top, width, height]: [f64; 4],
    to: [usize; 2],
) -> Result<Cow<'a, [u8]>, String> {
    let &Raster {
        width: own_width,
        height: own_height,
        channels,
        pixels,
    } = raster;
    let own = [own_width, own_height];
    let whole = [0.0, 0.0, f64::from(own[0]), f64::from(own[1])];
    if [left, top, width, height] == whole && own.map(|side| side as usize) == to {
        return Ok(Cow::Borrowed(pixels));
    }
    // Grey stays grey until it is small: each of three equal channels would come out the same.
    let kind = match channels {
        1 => PixelType::U8,
        // Transparent pixels lend no colour to those beside them.
        4 => PixelType::U8x4,
        _ => PixelType::U8x3,
    };
    let failed = |e: &dyn std::fmt::Display| e.to_string();
    let source = ImageRef::new(own_width, own_height, pixels, kind).map_err(|e| failed(&e))?;
    let mut small = zeros(to[0] * to[1] * channels)?;
    let mut target = Image::from_slice_u8(to[0] as u32, to[1] as u32, &mut small, kind)
        .map_err(|e| failed(&e))?;
    // What rounding may have put outside of the picture is brought back.
    let (left, top) = (left.clamp(0.0, whole[2]), top.clamp(0.0, whole[3]));
    let (width, height) = (width.min(whole[2] - left), height.min(whole[3] - top));
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(left, top, width, height);
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|e| failed(&e))?;
    Ok(Cow::Owned(small))
}

/// Writes the pixels of a part, of so many channels, to their place (left, top, width and height) in `out`,
/// which holds `size.bytes()`; the rest becomes [`GREY`], which is not transparent.
pub(in crate::data) fn paste(
    (part, channels): (&[u8], usize),
    [left, top, width, height]: [usize; 4],
    size: Size,
    out: &mut [u8],
) {
    if (width, height) == (size.width, size.height) {
        return write_channels(part, channels, size.channels, out);
    }
    out.fill(GREY);
    if size.channels == 4 {
        let pixels = out.as_chunks_mut::<4>().0;
        pixels.iter_mut().for_each(|pixel| pixel[3] = OPAQUE);
    }
    let rows = out.chunks_exact_mut((size.width * size.channels).max(1));
    let parts = part.chunks_exact((width * channels).max(1));
    for (row, part) in rows.skip(top).take(height).zip(parts) {
        let row = &mut row[left * size.channels..][..width * size.channels];
        write_channels(part, channels, size.channels, row);
    }
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
        (1, 4) => {
            for (pixel, &grey) in out.as_chunks_mut::<4>().0.iter_mut().zip(pixels) {
                *pixel = [grey, grey, grey, OPAQUE];
            }
        }
        (3, 4) => {
            let colours = pixels.as_chunks::<3>().0;
            for (pixel, &[r, g, b]) in out.as_chunks_mut::<4>().0.iter_mut().zip(colours) {
                *pixel = [r, g, b, OPAQUE];
            }
        }
        _ => out.copy_from_slice(pixels),
    }
}
