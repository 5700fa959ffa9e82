//! Formats that the `image` crate decodes: all but JPEG.

use std::borrow::Cow;
use std::io::Cursor;

use image::error::UnsupportedErrorKind;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::misread::{self, GifFrame};
use super::orientation::{exif_of_png, orientation};
use super::tiff::{self, Tiff};
use super::{CUT_OFF_PNG, LACKS_END, MAX_DECODED_BYTES, zeros};

/// Channels, pixels, and what is remarkable about them.
type Decoded = (usize, Vec<u8>, Option<&'static str>);

/// A file whose head is read.
pub(super) struct Other<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    format: ImageFormat,
    orientation: Orientation,
    /// Whether no pixel may be transparent, though the decoder gives alpha.
    opaque: bool,
    /// Of a PNG file, whether it has what follows its pixels.
    end: End,
}

/// How a PNG file ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With its end marker, as other formats do in their ways.
    Marked,
    /// Behind its pixels.
    Unmarked,
    /// Where something else was to come.
    CutOff,
}

impl<'a> Other<'a> {
    pub(super) fn reads(format: ImageFormat) -> bool {
        matches!(
            format,
            ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Gif
                | ImageFormat::Bmp
                | ImageFormat::Tiff
        )
    }

    pub(super) fn open(bytes: &'a [u8], format: ImageFormat) -> Result<Self, String> {
        misread::refuse(bytes, format)?;
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_DECODED_BYTES);
        let (end, length) = match format {
            ImageFormat::Png => end_of_png(bytes),
            _ => (End::Marked, bytes.len()),
        };
        let whole = match end {
            End::Unmarked => Cow::Owned([&bytes[..length], &END_OF_PNG].concat()),
            End::Marked | End::CutOff => Cow::Borrowed(bytes),
        };
        let own = match format {
            ImageFormat::Tiff => Tiff::open(bytes)?,
            _ => None,
        };
        let mut decoder: Box<dyn ImageDecoder + 'a> = match own {
            Some(tiff) => Box::new(tiff),
            None => {
                let mut reader = ImageReader::with_format(Cursor::new(whole), format);
                reader.limits(limits);
                Box::new(
                    reader
                        .into_decoder()
                        .map_err(|e| unread(bytes, format, &e))?,
                )
            }
        };
        if format == ImageFormat::Tiff && decoder.color_type().has_alpha() {
            misread::refuse_alpha(bytes)?;
        }
        let orientation = match format {
            ImageFormat::Tiff => decoder.orientation().map_err(|e| e.to_string())?,
            _ => {
                let read = decoder.exif_metadata().map_err(|e| e.to_string())?;
                let exif = match format {
                    ImageFormat::Png => exif_of_png(bytes),
                    _ => read.as_deref(),
                };
                let xmp = decoder.xmp_metadata().map_err(|e| e.to_string())?;
                orientation(exif, xmp.as_deref())
            }
        };
        let has_holes = GifFrame::first(bytes).is_none_or(|frame| frame.transparent);
        Ok(Self {
            decoder,
            format,
            orientation,
            opaque: format == ImageFormat::Gif && !has_holes,
            end,
        })
    }

    pub(super) fn dimensions(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    pub(super) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// The bytes that [`Other::decode`] holds at most, with those that it returns.
    pub(super) fn memory(&self) -> u64 {
        let decoded = self.decoder.total_bytes();
        let (width, height) = self.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        let beside = match self.format {
            // A frame beside the picture that it is drawn on.
            ImageFormat::Gif => 4 * pixels,
            // Luma and chroma, or a frame and the picture that it is drawn on.
            ImageFormat::WebP => 8 * pixels,
            // The picture as it is in the file, and a strip of it, which may be all of it.
            ImageFormat::Tiff => 2 * decoded,
            _ => 0,
        };
        decoded.saturating_add(beside)
    }

    /// Channels (1 for grey, 3 for RGB) and pixels, of 8 bits and laid on white; where there is alpha and it is to be kept,
    /// 4 channels; and what is remarkable.
    pub(super) fn decode(self, with_alpha: bool) -> Result<Decoded, String> {
        let colours = self.decoder.color_type();
        let (deep, channels) = match colours {
            ColorType::L8 => (false, 1),
            ColorType::La8 => (false, 2),
            ColorType::Rgb8 => (false, 3),
            ColorType::Rgba8 => (false, 4),
            ColorType::L16 => (true, 1),
            ColorType::La16 => (true, 2),
            ColorType::Rgb16 => (true, 3),
            ColorType::Rgba16 => (true, 4),
            other => return Err(format!("pixels of kind {other:?} are not read here")),
        };
        let mut pixels = zeros(self.decoder.total_bytes() as usize)?;
        let read = self.decoder.read_image_boxed(&mut pixels);
        let remark = match (read, self.end) {
            (Ok(()), End::Marked) => None,
            (Ok(()), _) => Some(LACKS_END),
            (Err(reason), End::CutOff) => {
                if pixels.iter().all(|value| *value == 0) {
                    return Err(reason.to_string());
                }
                if deep {
                    let values = pixels.as_chunks_mut::<2>().0.iter_mut();
                    values.for_each(|value| *value = u16::from_be_bytes(*value).to_ne_bytes());
                }
                Some(CUT_OFF_PNG)
            }
            (Err(reason), _) => return Err(reason.to_string()),
        };
        if self.opaque && pixels.iter().skip(3).step_by(4).any(|alpha| *alpha == 0) {
            return Err("some of its pixels have no colour".to_owned());
        }
        if deep {
            to_bytes(&mut pixels);
        }
        if with_alpha && !self.opaque && channels % 2 == 0 {
            if channels == 2 {
                pixels = pixels
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .flat_map(|&[grey, alpha]| [grey, grey, grey, alpha])
                    .collect();
            }
            return Ok((4, pixels, remark));
        }
        match channels {
            2 => on_white::<2>(&mut pixels),
            4 => on_white::<4>(&mut pixels),
            _ => {}
        }
        // Colours without the alpha that stood behind them.
        Ok((channels - (channels + 1) % 2, pixels, remark))
    }
}

/// Why the decoder of a format does not read a file.
fn unread(bytes: &[u8], format: ImageFormat, error: &ImageError) -> String {
    let (ImageFormat::Tiff, ImageError::Unsupported(lacks)) = (format, error) else {
        return error.to_string();
    };
    match (tiff::described(bytes), lacks.kind()) {
        (None, _) => error.to_string(),
        (Some(kind), UnsupportedErrorKind::GenericFeature(why)) => {
            format!("{kind} is not read here: {why}")
        }
        (Some(kind), _) => format!("{kind} is not read here"),
    }
}

/// The last chunk of a PNG file.
const END_OF_PNG: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";

/// How a PNG file ends, and the length of its whole chunks before that.
fn end_of_png(bytes: &[u8]) -> (End, usize) {
    const SIGNATURE: usize = 8;
    let (mut at, mut has_pixels) = (SIGNATURE, false);
    while let Some(chunk) = bytes
        .get(at..)
        .filter(|rest| rest.len() >= END_OF_PNG.len())
    {
        let kind = &chunk[4..8];
        if kind == b"IEND" {
            return (End::Marked, at);
        }
        has_pixels |= kind == b"IDAT";
        let length = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) as usize;
        let next = at.saturating_add(length).saturating_add(END_OF_PNG.len());
        if next > bytes.len() {
            return (End::CutOff, at);
        }
        at = next;
    }
    match has_pixels {
        true => (End::Unmarked, at.min(bytes.len())),
        false => (End::CutOff, at),
    }
}

/// 16-bit values, in the order of this machine's bytes, to the nearest of 8 bits, in place.
fn to_bytes(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 2;
    for i in 0..count {
        let value = u32::from(u16::from_ne_bytes([pixels[2 * i], pixels[2 * i + 1]]));
        pixels[i] = ((value + 128) / 257) as u8;
    }
    pixels.truncate(count);
}

/// Pixels of `N` channels, of which the last is alpha, to what is seen of them before white, in place.
fn on_white<const N: usize>(pixels: &mut Vec<u8>) {
    let count = pixels.len() / N;
    for i in 0..count {
        let alpha = u32::from(pixels[N * i + N - 1]);
        for c in 0..N - 1 {
            let value = u32::from(pixels[N * i + c]);
            // At most 255 * 255, rounded, over 255: fits a byte.
            pixels[(N - 1) * i + c] = ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    pixels.truncate((N - 1) * count);
}
