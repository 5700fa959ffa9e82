//! One image file to pixels of a wanted size.
//!
//! - The format (JPEG or PNG) is told by the content, not by the name.
//! - EXIF orientation is applied.
//! - 16-bit images are brought to 8 bits; transparent pixels are laid on white.
//! - The image is squashed to the wanted size (its aspect is not kept, nothing is cropped) by a
//!   bilinear filter widened by the reduction, as Pillow's `BILINEAR` does.
//! - Grey is Rec. 601 luma of the resized colours, as Pillow's `L`.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{
    DynamicImage, GenericImageView, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage,
};

use super::DataError;
use super::preprocess::check_channels;

/// Larger image files are refused, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Images wider or higher than this are refused, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Images that take more than this when decoded are refused, in bytes.
pub const MAX_DECODED_BYTES: u64 = 256 << 20;

/// Decodes an image file to `height` × `width` × `channels` bytes, RGB or (1 channel) grey.
///
/// # Errors
/// When the file cannot be read, is not a sound JPEG or PNG, or exceeds [`MAX_FILE_BYTES`],
/// [`MAX_SIDE`] or [`MAX_DECODED_BYTES`].
pub fn load_image(
    path: &Path,
    height: usize,
    width: usize,
    channels: usize,
) -> Result<Vec<u8>, DataError> {
    let size = Size::new(height, width, channels)?;
    let bytes = read_file(path)?;
    let mut out = vec![0; size.bytes()];
    decode_into(path, &bytes, size, &mut out)?;
    Ok(out)
}

/// The checked size of a decoded and resized image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Size {
    pub(super) fn new(height: usize, width: usize, channels: usize) -> Result<Self, DataError> {
        check_channels(channels)?;
        for (option, side) in [("height", height), ("width", width)] {
            if side == 0 || side > MAX_SIDE as usize {
                let expected = format!("expected 1 to {MAX_SIDE} pixels");
                return Err(DataError::option(option, side, expected));
            }
        }
        Ok(Self {
            height,
            width,
            channels,
        })
    }

    pub(super) fn bytes(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// The bytes of an image file that is within [`MAX_FILE_BYTES`].
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let read = |source| DataError::read(path, source);
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(DataError::image(path, "not a regular file"));
    }
    let too_large = || {
        DataError::image(
            path,
            format!("the file is over {} MiB", MAX_FILE_BYTES >> 20),
        )
    };
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(read)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Decodes the `bytes` of the file `path` into `out`, which holds `size.bytes()`.
pub(super) fn decode_into(
    path: &Path,
    bytes: &[u8],
    size: Size,
    out: &mut [u8],
) -> Result<(), DataError> {
    let picture = decode(bytes).map_err(|reason| DataError::image(path, reason))?;
    resize(picture, size, out).map_err(|reason| DataError::image(path, reason))
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);

    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        _ => return Err("the content is neither JPEG nor PNG".to_owned()),
    };
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err("the file ends before the end of the image (cut off?)".to_owned());
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        let (width, height) = decoder.dimensions();
        return Err(format!(
            "{width} × {height} pixels take more than {} MiB",
            MAX_DECODED_BYTES >> 20
        ));
    }
    let orientation = decoder.orientation().map_err(|e| e.to_string())?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    picture.apply_orientation(orientation);
    if picture.width() == 0 || picture.height() == 0 {
        return Err("the image has no pixels".to_owned());
    }
    Ok(if picture.color().has_alpha() {
        on_white(&picture)
    } else {
        picture.into_rgb8()
    })
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    let rgba = picture.to_rgba8();
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let lay = |c: u8| {
            let (c, a) = (u32::from(c), u32::from(a));
            // At most 255 * 255, rounded, over 255: fits a byte.
            ((c * a + 255 * (255 - a) + 127) / 255) as u8
        };
        image::Rgb([lay(r), lay(g), lay(b)])
    })
}

fn resize(picture: RgbImage, size: Size, out: &mut [u8]) -> Result<(), String> {
    let (width, height) = picture.dimensions();
    let pixels = size.height * size.width * 3;
    if (height as usize, width as usize) == (size.height, size.width) {
        write_channels(picture.as_raw(), size.channels, out);
        return Ok(());
    }
    let source = ImageRef::new(width, height, picture.as_raw(), PixelType::U8x3)
        .map_err(|e| e.to_string())?;
    let mut resized = vec![0; pixels];
    let mut target = Image::from_slice_u8(
        size.width as u32,
        size.height as u32,
        &mut resized,
        PixelType::U8x3,
    )
    .map_err(|e| e.to_string())?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|e| e.to_string())?;
    write_channels(&resized, size.channels, out);
    Ok(())
}

fn write_channels(rgb: &[u8], channels: usize, out: &mut [u8]) {
    if channels == 3 {
        out.copy_from_slice(rgb);
        return;
    }
    for (grey, pixel) in out.iter_mut().zip(rgb.chunks_exact(3)) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        *grey = ((r * 299 + g * 587 + b * 114 + 500) / 1000) as u8;
    }
}

/// Whether a JPEG file reaches the end-of-image marker that follows its scans.
///
/// The decoder fills what a cut-off file lacks with grey, which would train on rubbish. Segments
/// are stepped over by their lengths, so the thumbnail inside an EXIF segment is not mistaken for
/// the image.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    let mut scans = 0;
    while let Some(&byte) = bytes.get(at) {
        let Some(&marker) = bytes.get(at + 1) else {
            return false;
        };
        if byte != 0xFF || marker == 0xFF {
            at += 1;
            continue;
        }
        match marker {
            0xD9 if scans > 0 => return true,
            // Stuffed bytes, restart markers and others that stand alone.
            0x00 | 0x01 | 0xD0..=0xD9 => at += 2,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4).and_then(|b| b.first_chunk())
                else {
                    return false;
                };
                scans += usize::from(marker == 0xDA);
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
}

#[cfg(test)]
pub(super) mod tests;
