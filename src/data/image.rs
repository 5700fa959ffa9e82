//! One image file to pixels of a wanted size.
//!
//! - The format is told by the content, not by the name: JPEG, PNG, WebP, GIF, BMP and TIFF. Of several
//!   pictures in a file the first is taken.
//! - JPEG gives the pixels of libjpeg-turbo, and so of Pillow, to the bit.
//! - The orientation that EXIF or XMP gives is applied.
//! - 16-bit images are brought to 8 bits; transparent pixels are laid on white, unless alpha is asked for as a fourth
//!   channel, which is 255 in files that have none; colour profiles are not
//!   applied. Floating-point pixels are refused: no range is agreed for them.
//! - The image, or the part of it that a [`Resize`] keeps, is brought to the wanted size by a bilinear filter
//!   widened by the reduction, as Pillow's `resize(…, BILINEAR)` does. What is cropped away is not resized.
//! - Grey is Rec. 601 luma of the resized colours, as Pillow's `L`.
//!
//! What a file may cost is bounded before it is decoded: its bytes, its sides, the memory that decoding,
//! turning and resizing it take, and that of all images which are decoded at one time. A panic of a
//! decoder is that file's error.

mod bounds;
mod directory;
mod jpeg;
mod misread;
mod orientation;
mod others;
mod resize;
mod tiff;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};

use super::error::regular;
use super::form::Form;
use super::preprocess::check_channels;
use super::{DataError, Resize, show_bytes};
use crate::panics::caught;
use jpeg::Jpeg;
use others::Other;
pub(super) use resize::{Raster, paste, place, resized};

/// Larger image files are refused, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Images wider or higher than this are refused, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Images that take more than this while they are decoded, turned and resized are refused, in bytes.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;
/// Images that are decoded at one time take no more than this together, in bytes: a thread waits until
/// there is room.
pub const MAX_DECODING_BYTES: u64 = 1 << 30;

/// What may be remarkable about an image that was read.
pub(super) const REMARKS: [&str; 3] = [LACKS_END, CUT_OFF, CUT_OFF_PNG];
const LACKS_END: &str = "the end marker is missing, no pixel is";
const CUT_OFF: &str =
    "the file is cut off; it is read as far as it goes, and what is missing of the picture is grey";

const CUT_OFF_PNG: &str = "the file is cut off; it is read as far as it goes, and what is missing of the picture is black, or transparent";

/// Decodes an image file to `height` × `width` × `channels` bytes, RGB, (4 channels) RGBA or (1 channel) grey.
///
/// # Errors
/// When the file cannot be read, is no sound image of a format that is read here, or exceeds
/// [`MAX_FILE_BYTES`], [`MAX_SIDE`] or [`MAX_DECODED_BYTES`]; or `resize` is not [sound](Resize::validate).
pub fn load_image(
    path: &Path,
    height: usize,
    width: usize,
    channels: usize,
    resize: Resize,
) -> Result<Vec<u8>, DataError> {
    load_image_and_note(path, height, width, channels, resize).map(|(pixels, _)| pixels)
}

/// As [`load_image`], with what is remarkable of a JPEG or PNG file: that it lacks its end marker, or is cut off.
///
/// # Errors
/// As there.
pub fn load_image_and_note(
    path: &Path,
    height: usize,
    width: usize,
    channels: usize,
    resize: Resize,
) -> Result<(Vec<u8>, Option<&'static str>), DataError> {
    resize.validate()?;
    Size::new(height, width, channels)?;
    ImageFile::read(path)?.load([height, width, channels], resize)
}

/// Width and height of an image file as it is looked at, in pixels.
///
/// # Errors
/// When the file cannot be read, or its head is none of an image that is read here.
pub fn image_dimensions(path: &Path) -> Result<(u32, u32), DataError> {
    ImageFile::read(path)?.dimensions()
}

/// The bytes of an image file.
#[derive(Debug, Clone, Copy)]
pub struct ImageFile<'p, B = Vec<u8>> {
    /// What it is called in errors.
    path: &'p Path,
    bytes: B,
}

impl<'p> ImageFile<'p> {
    /// Those of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or has more than [`MAX_FILE_BYTES`].
    pub fn read(path: &'p Path) -> Result<Self, DataError> {
        let bytes = read_file(path)?;
        Ok(ImageFile { path, bytes })
    }
}

impl<'p, B: AsRef<[u8]>> ImageFile<'p, B> {
    /// These bytes, which errors call so.
    pub fn new(path: &'p Path, bytes: B) -> Self {
        ImageFile { path, bytes }
    }

    /// Width and height of the image as it is looked at, in pixels.
    ///
    /// # Errors
    /// When the head is none of an image that is read here.
    pub fn dimensions(&self) -> Result<(u32, u32), DataError> {
        protected(self.path, || {
            let source = Source::open(self.bytes.as_ref())?;
            let (width, height) = source.dimensions();
            Ok(match turned(source.orientation()) {
                true => (height, width),
                false => (width, height),
            })
        })
    }

    /// Its pixels at a height, a width and with so many channels, as [`load_image_and_note`] gives them.
    ///
    /// # Errors
    /// As there.
    pub fn load(
        &self,
        [height, width, channels]: [usize; 3],
        resize: Resize,
    ) -> Result<(Vec<u8>, Option<&'static str>), DataError> {
        resize.validate()?;
        let form = Form {
            size: Size::new(height, width, channels)?,
            resize,
            with_photo: false,
        };
        let mut out = vec![0; form.bytes()];
        let note = decode_into(self.path, self.bytes.as_ref(), &form, &mut out)?;
        Ok((out, note))
    }
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
    let metadata = regular(path, |reason| DataError::image(path, reason))?;
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

/// Decodes the `bytes` of the file `path` into `out`, which holds `form.bytes()`, and says what is
/// remarkable.
pub(super) fn decode_into(
    path: &Path,
    bytes: &[u8],
    form: &Form,
    out: &mut [u8],
) -> Result<Option<&'static str>, DataError> {
    protected(path, || decode(bytes, form, out))
}

/// What `work` returns, as errors that name the file, which a panic becomes as well.
fn protected<T>(path: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, DataError> {
    let gave_up = || Err("it is damaged so that the decoder gave up on it".to_owned());
    let result = caught(work).unwrap_or_else(gave_up);
    result.map_err(|reason| DataError::image(path, reason))
}

/// A file whose head is read.
enum Source<'a> {
    Jpeg(Box<Jpeg<'a>>),
    Other(Other<'a>),
}

/// 8-bit pixels, RGB, RGBA or grey.
pub(super) struct Picture {
    width: u32,
    height: u32,
    channels: usize,
    pixels: Vec<u8>,
}

impl<'a> Source<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let source = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => Source::Jpeg(Box::new(Jpeg::open(bytes)?)),
            Ok(format) if Other::reads(format) => Source::Other(Other::open(bytes, format)?),
            Ok(format) => return Err(format!("{format:?} files are not read here")),
            Err(_) if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") => {
                return Err("BigTIFF files are not read here".to_owned());
            }
            Err(_) => {
                return Err("the content is none of JPEG, PNG, WebP, GIF, BMP and TIFF".to_owned());
            }
        };
        let (width, height) = source.dimensions();
        if width == 0 || height == 0 {
            return Err("the image has no pixels".to_owned());
        }
        if width.max(height) > MAX_SIDE {
            return Err(format!(
                "{width} × {height} pixels exceed {MAX_SIDE} on a side"
            ));
        }
        Ok(source)
    }

    fn dimensions(&self) -> (u32, u32) {
        match self {
            Source::Jpeg(jpeg) => jpeg.dimensions(),
            Source::Other(other) => other.dimensions(),
        }
    }

    fn orientation(&self) -> Orientation {
        match self {
            Source::Jpeg(jpeg) => jpeg.orientation(),
            Source::Other(other) => other.orientation(),
        }
    }

    /// The most that decoding, turning and resizing to `form` take, in bytes.
    fn memory(&self, form: &Form) -> u64 {
        let (decoding, channels) = match self {
            Source::Jpeg(jpeg) => (jpeg.memory(), jpeg.channels()),
            Source::Other(other) => (other.memory(), form.size.channels.max(3)),
        };
        let (width, height) = self.dimensions();
        let pixels = u64::from(width) * u64::from(height) * channels as u64;
        let turning = match turned(self.orientation()) {
            true => pixels,
            false => 0,
        };
        // Columns are resized before rows, or rows before columns.
        let [wide, high] = form.largest();
        let most = channels.max(3) as u64;
        let between = u64::from(width.max(height)) * wide.max(high) * most;
        decoding.max(pixels + turning + between.min(pixels) + wide * high * most)
    }

    fn decode(self, with_alpha: bool) -> Result<(Picture, Option<&'static str>), String> {
        let (width, height) = self.dimensions();
        let (channels, pixels, note) = match self {
            Source::Jpeg(jpeg) => {
                let channels = jpeg.channels();
                let raster = jpeg.decode()?;
                (channels, raster.pixels, raster.remark)
            }
            Source::Other(other) => other.decode(with_alpha)?,
        };
        let picture = Picture {
            width,
            height,
            channels,
            pixels,
        };
        Ok((picture, note))
    }
}

/// Whether width and height change places.
fn turned(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

impl Picture {
    #[cfg(test)]
    pub(super) fn of(width: u32, height: u32, channels: usize, pixels: Vec<u8>) -> Self {
        Self {
            width,
            height,
            channels,
            pixels,
        }
    }

    /// Width and height.
    pub(super) fn sides(&self) -> [u32; 2] {
        [self.width, self.height]
    }

    pub(super) fn raster(&self) -> Raster<'_> {
        Raster {
            width: self.width,
            height: self.height,
            channels: self.channels,
            pixels: &self.pixels,
        }
    }

    /// The picture as it is looked at.
    fn upright(self, orientation: Orientation) -> Result<Self, String> {
        if orientation == Orientation::NoTransforms {
            return Ok(self);
        }
        let (width, height, channels) = (self.width, self.height, self.channels);
        let mut image = match channels {
            1 => GrayImage::from_raw(width, height, self.pixels).map(DynamicImage::from),
            4 => RgbaImage::from_raw(width, height, self.pixels).map(DynamicImage::from),
            _ => RgbImage::from_raw(width, height, self.pixels).map(DynamicImage::from),
        }
        .ok_or("its pixels are not as many as it has")?;
        image.apply_orientation(orientation);
        Ok(Self {
            width: image.width(),
            height: image.height(),
            channels,
            pixels: image.into_bytes(),
        })
    }
}

fn decode(bytes: &[u8], form: &Form, out: &mut [u8]) -> Result<Option<&'static str>, String> {
    let source = Source::open(bytes)?;
    let memory = source.memory(form);
    if memory > MAX_DECODED_BYTES {
        let (width, height) = source.dimensions();
        return Err(format!(
            "{width} × {height} pixels take {} to decode; {} are allowed",
            show_bytes(memory),
            show_bytes(MAX_DECODED_BYTES)
        ));
    }
    let _share = bounds::wait_for(memory);
    let orientation = source.orientation();
    let (picture, note) = source.decode(form.size.channels == 4)?;
    form.write(&picture.upright(orientation)?, out)?;
    Ok(note)
}

/// So many zeros, or an error where there is no room for them.
fn zeros<T: Clone + Default>(len: usize) -> Result<Vec<T>, String> {
    let mut room = Vec::new();
    room.try_reserve_exact(len)
        .map_err(|_| "it does not fit into memory".to_owned())?;
    room.resize(len, T::default());
    Ok(room)
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
pub(super) mod tests;
