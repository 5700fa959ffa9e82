//! TIFF files of kinds that the `image` crate does not decode: palettes, grey with alpha, YCbCr.
//!
//! Source: TIFF 6.0, sections 5 (palettes), 18 (alpha) and 21 (YCbCr).

use std::borrow::Cow;
use std::io::Cursor;

use image::error::{DecodingError, ImageFormatHint};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::Tag;

use super::MAX_DECODED_BYTES;
use super::directory::Directory;

const BITS: usize = 258;
const MEANING: usize = 262;
const ORIENTATION: usize = 274;
const SAMPLES: usize = 277;
const PLANES: usize = 284;
const EXTRA_SAMPLES: usize = 338;
const SAMPLE_FORMAT: usize = 339;
const COEFFICIENTS: u16 = 529;
const BLACK_AND_WHITE: u16 = 532;

/// Values of [`MEANING`].
const ZERO_IS_BLACK: usize = 1;
const PALETTE: usize = 3;
const YCC: usize = 6;

/// The values of pixels in a file, before they are colours.
enum Kind {
    /// Numbers of so many bits, and the colour of each.
    Palette {
        bits: usize,
        colours: Vec<[u8; 3]>,
    },
    GreyAlpha(ColorType),
    Ycc,
}

/// A file of such a kind whose head is read.
pub(super) struct Tiff<'a> {
    kind: Kind,
    decoder: Decoder<Cursor<Cow<'a, [u8]>>>,
    dimensions: (u32, u32),
    orientation: Orientation,
}

impl<'a> Tiff<'a> {
    /// Reads the head of a file; `None` where it is of another kind.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let Some(page) = Directory::first(bytes) else {
            return Ok(None);
        };
        let number = |tag: usize, default| page.number(tag).unwrap_or(default);
        if number(SAMPLE_FORMAT, 1) != 1 || number(PLANES, 1) != 1 {
            return Ok(None);
        }
        let kind = (number(MEANING, 0), number(SAMPLES, 1), number(BITS, 1));
        let mut whole = Cow::Borrowed(bytes);
        let grey_alpha = match kind {
            (PALETTE, 1, 1 | 2 | 4 | 8) => {
                // The decoder gives the numbers of colours only where they are taken for shades.
                page.replace(MEANING, ZERO_IS_BLACK as u16, whole.to_mut())
                    .ok_or("its directory is damaged")?;
                None
            }
            (ZERO_IS_BLACK, 2, 8) if page.has(EXTRA_SAMPLES) => Some(ColorType::La8),
            (ZERO_IS_BLACK, 2, 16) if page.has(EXTRA_SAMPLES) => Some(ColorType::La16),
            (YCC, 3, 8) => None,
            _ => return Ok(None),
        };
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_DECODED_BYTES as usize;
        limits.intermediate_buffer_size = MAX_DECODED_BYTES as usize;
        let unfit = |error: tiff::TiffError| error.to_string();
        let mut decoder = Decoder::new(Cursor::new(whole))
            .map_err(unfit)?
            .with_limits(limits);
        let kind = match grey_alpha {
            Some(colours) => Kind::GreyAlpha(colours),
            None if kind.0 == YCC => {
                refuse_other_ycc(&mut decoder)?;
                Kind::Ycc
            }
            None => {
                let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(unfit)?;
                let (bits, colours) = (kind.2, colours(&map));
                if colours.len() < 1 << bits {
                    return Err("its palette lacks colours".to_owned());
                }
                Kind::Palette { bits, colours }
            }
        };
        let orientation = u8::try_from(number(ORIENTATION, 1)).ok();
        Ok(Some(Self {
            kind,
            dimensions: decoder.dimensions().map_err(unfit)?,
            decoder,
            orientation: orientation
                .and_then(Orientation::from_exif)
                .unwrap_or(Orientation::NoTransforms),
        }))
    }
}

impl ImageDecoder for Tiff<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.dimensions
    }

    fn color_type(&self) -> ColorType {
        match self.kind {
            Kind::GreyAlpha(colours) => colours,
            Kind::Palette { .. } | Kind::Ycc => ColorType::Rgb8,
        }
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        Ok(self.orientation)
    }

    fn read_image(mut self, pixels: &mut [u8]) -> ImageResult<()> {
        let width = self.dimensions.0 as usize;
        match self.kind {
            // In the order of this machine's bytes, as is wanted here.
            Kind::GreyAlpha(_) => self.decoder.read_image_bytes(pixels).map_err(wrong)?,
            Kind::Ycc => {
                self.decoder.read_image_bytes(pixels).map_err(wrong)?;
                pixels.as_chunks_mut::<3>().0.iter_mut().for_each(to_rgb);
            }
            Kind::Palette { bits, colours } => {
                let row = (width * bits).div_ceil(8);
                let mut numbers = Vec::new();
                let size = row * self.dimensions.1 as usize;
                numbers.try_reserve_exact(size).map_err(wrong)?;
                numbers.resize(size, 0);
                self.decoder.read_image_bytes(&mut numbers).map_err(wrong)?;
                for (pixels, row) in pixels.chunks_exact_mut(3 * width).zip(numbers.chunks(row)) {
                    for (x, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                        let (byte, place) = (row[x * bits / 8], x * bits % 8);
                        let number = (byte >> (8 - bits - place)) as usize & ((1 << bits) - 1);
                        *pixel = colours[number];
                    }
                }
            }
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(pixels)
    }
}

fn wrong(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    let format = ImageFormatHint::Exact(ImageFormat::Tiff);
    ImageError::Decoding(DecodingError::new(format, error))
}

/// The colours of a palette: all reds of 16 bits, all greens, all blues; of 8 bits where none is larger (as libtiff takes
/// them, `checkcmap`).
fn colours(map: &[u16]) -> Vec<[u8; 3]> {
    let shift = if map.iter().all(|&value| value < 256) {
        0
    } else {
        8
    };
    let count = map.len() / 3;
    let colour = |i: usize| [0, 1, 2].map(|c| (map[c * count + i] >> shift) as u8);
    (0..count).map(colour).collect()
}

/// Refuses YCbCr other than JPEG's.
fn refuse_other_ycc(decoder: &mut Decoder<Cursor<Cow<'_, [u8]>>>) -> Result<(), String> {
    const JPEG: [(u16, &[f64]); 2] = [
        (COEFFICIENTS, &[0.299, 0.587, 0.114]),
        (BLACK_AND_WHITE, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
    ];
    for (tag, usual) in JPEG {
        let found = decoder
            .find_tag(Tag::Unknown(tag))
            .map_err(|e| e.to_string())?;
        let Some(found) = found else { continue };
        let values = match found {
            Value::List(values) => values,
            one => vec![one],
        };
        let value = |value: &Value| match *value {
            Value::Rational(above, below) => f64::from(above) / f64::from(below),
            Value::Short(value) => f64::from(value),
            Value::Unsigned(value) => f64::from(value),
            _ => f64::NAN,
        };
        let near = |(found, usual): (&Value, &f64)| (value(found) - usual).abs() < 1e-3;
        if values.len() != usual.len() || !values.iter().zip(usual).all(near) {
            return Err("TIFF of YCbCr other than JPEG's is not read here".to_owned());
        }
    }
    Ok(())
}

/// Luma and chroma to red, green and blue (Rec. 601, as in JPEG).
fn to_rgb(pixel: &mut [u8; 3]) {
    let [y, blue, red] = pixel.map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    let colours = [
        y + 1.402 * red,
        y - 0.344_136 * blue - 0.714_136 * red,
        y + 1.772 * blue,
    ];
    *pixel = colours.map(|value| value.round() as u8);
}

/// What the pixels of a file are, for people.
pub(super) fn described(bytes: &[u8]) -> Option<String> {
    let page = Directory::first(bytes)?;
    let number = |tag: usize, default| page.number(tag).unwrap_or(default);
    let meaning = match number(MEANING, 0) {
        0 | 1 => "shades of grey",
        2 => "RGB",
        3 => "a palette",
        4 => "a mask",
        5 => "inks",
        6 => "YCbCr",
        8..=10 => "CIE Lab",
        _ => "a kind that is not known",
    };
    let numbers = match number(SAMPLE_FORMAT, 1) {
        1 => "whole numbers",
        2 => "numbers with a sign",
        3 => "floating-point numbers",
        _ => "numbers of an odd kind",
    };
    let (samples, bits) = (number(SAMPLES, 1), number(BITS, 1));
    let channels = if samples == 1 { "channel" } else { "channels" };
    Some(format!(
        "TIFF of {meaning} in {samples} {channels} of {numbers} of {bits} bits"
    ))
}

#[cfg(test)]
mod tests;
