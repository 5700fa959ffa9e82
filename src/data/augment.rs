//! Random changes to images while training.
//!
//! `standard` follows torchvision's `RandomResizedCrop` (with [`AREA`] for its `scale`),
//! `RandomHorizontalFlip` and `ColorJitter` (in a fixed order), on 8-bit pixels. Crops are drawn in the
//! geometry of the image file and taken of what [`Form`] keeps of it.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, stream};

use super::form::{Form, Photo};
use super::image::{Raster, paste, resized};
use super::{DataError, Dataset, ResizeMode};

/// Share of the image's area that a crop has; see [`areas`].
const AREA: [f64; 2] = [0.5, 1.0];
/// Width over height of a crop, in pixels of the image file.
const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
/// Crops that are tried before the largest one in the middle is taken.
const ATTEMPTS: usize = 10;
/// Factors of brightness, contrast and saturation.
const FACTOR: [f32; 2] = [0.8, 1.2];

/// What is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Nothing.
    #[default]
    None,
    /// Half of the images are mirrored, left to right.
    Flip,
    /// A random crop of 50 to 100 % of the area of the image file and an aspect of 3/4 to 4/3, resized to the
    /// input by a bilinear filter; then a flip as above; then brightness, contrast and saturation, each
    /// changed by a factor of 0.8 to 1.2. Of images that [`ResizeMode::Crop`] evaluates on a share of, the
    /// crop has half of that share's square at least; those that are letterboxed are so after the crop.
    Standard,
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Augment::None => "none",
            Augment::Flip => "flip",
            Augment::Standard => "standard",
        })
    }
}

impl FromStr for Augment {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "none" => Ok(Augment::None),
            "flip" => Ok(Augment::Flip),
            "standard" => Ok(Augment::Standard),
            _ => Err(DataError::option(
                "augment",
                name,
                "expected none, flip or standard",
            )),
        }
    }
}

impl Augment {
    /// Checks that `dataset` can be changed so.
    ///
    /// # Errors
    /// When it holds arrays: only images are changed. When crops are asked for and it was
    /// [opened](super::OpenOptions::augment) without the photos that they are drawn from.
    pub fn check(self, dataset: &Dataset) -> Result<(), DataError> {
        let reason = if self != Augment::None && !dataset.is_images() {
            "the data are arrays; only images can be augmented"
        } else if self.crops() && !dataset.has_photos() {
            "the data set was opened without the photos that crops are drawn from"
        } else {
            return Ok(());
        };
        Err(DataError::option("augment", self, reason))
    }

    /// Whether crops are drawn from the whole photo.
    pub(crate) fn crops(self) -> bool {
        self == Augment::Standard
    }
}

/// One version of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// The sample's index.
    pub sample: usize,
    /// Which of its augmented versions; `None` for the sample as it is.
    pub number: Option<u64>,
}

impl View {
    /// The sample as it is.
    pub fn plain(sample: usize) -> Self {
        View {
            sample,
            number: None,
        }
    }
}

/// Makes the augmented versions of images: each depends on the seed, the sample's index and the
/// version's number alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Augmenter {
    /// What is changed.
    pub augment: Augment,
    /// Seed of the draws.
    pub seed: u64,
}

impl Augmenter {
    /// The pixels of a view of an image of this `form`, from those of the plain input (height × width ×
    /// channels) or the photo that crops are drawn from; `None` for the image as it is.
    pub(super) fn pixels(
        &self,
        pixels: &[u8],
        photo: Option<Photo<'_>>,
        form: &Form,
        view: View,
    ) -> Result<Option<Vec<u8>>, String> {
        let (Some(number), false) = (view.number, self.augment == Augment::None) else {
            return Ok(None);
        };
        let place: [&[u8]; 2] = [&(view.sample as u64).to_le_bytes(), &number.to_le_bytes()];
        let mut rng = stream(Purpose::Augmentation, self.seed, &place);
        let flipped = rng.random::<bool>();
        let size = form.size;
        if self.augment == Augment::Flip {
            let mut out = pixels.to_vec();
            if flipped {
                mirror(&mut out, size.channels, size.width);
            }
            return Ok(Some(out));
        }
        let photo = photo.ok_or("the photo that crops are drawn from is not there")?;
        let [width, height] = photo.own.map(|side| side as usize);
        let crop = Crop::draw(&mut rng, height, width, areas(form));
        let crop = [crop.left, crop.top, crop.width, crop.height];
        let placement = form.crop(&photo, crop.map(|length| length as u32));
        let raster = Raster {
            width: photo.kept[0],
            height: photo.kept[1],
            channels: size.channels,
            pixels: photo.pixels,
        };
        let [_, _, width, height] = placement.to;
        let mut part = resized(&raster, placement.from, [width, height])?.into_owned();
        if flipped {
            mirror(&mut part, size.channels, width);
        }
        let factors = [(); 3].map(|()| between(&mut rng, FACTOR.map(f64::from)) as f32);
        jitter(&mut part, size.channels, factors);
        if part.len() == size.bytes() {
            return Ok(Some(part));
        }
        let mut out = vec![0; size.bytes()];
        paste((&part, size.channels), placement.to, size, &mut out);
        Ok(Some(out))
    }
}

/// Share of the image's area that a crop has: [`AREA`]. Where images are evaluated on a share of their sides,
/// the smallest crop has that share of the smallest here: what is seen is then about as large while training
/// as afterwards, for an image of equal sides.
fn areas(form: &Form) -> [f64; 2] {
    match form.resize.mode {
        ResizeMode::Crop { share } => [AREA[0] * share * share, AREA[1]],
        ResizeMode::Squash | ResizeMode::Letterbox => AREA,
    }
}

fn between(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A rectangle of an image, in pixels.
#[derive(Debug, PartialEq, Eq)]
struct Crop {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Crop {
    /// As torchvision's `RandomResizedCrop.get_params`, of `areas` of the whole.
    fn draw(rng: &mut ChaCha8Rng, height: usize, width: usize, areas: [f64; 2]) -> Self {
        let area = (height * width) as f64;
        for _ in 0..ATTEMPTS {
            let target = area * between(rng, areas);
            let aspect = between(rng, ASPECT.map(f64::ln)).exp();
            let w = (target * aspect).sqrt().round() as usize;
            let h = (target / aspect).sqrt().round() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return Crop {
                    top: rng.random_range(0..=height - h),
                    left: rng.random_range(0..=width - w),
                    height: h,
                    width: w,
                };
            }
        }
        let aspect = width as f64 / height as f64;
        let fit = |side: f64, most: usize| (side.round() as usize).clamp(1, most);
        let (h, w) = if aspect < ASPECT[0] {
            (fit(width as f64 / ASPECT[0], height), width)
        } else if aspect > ASPECT[1] {
            (height, fit(height as f64 * ASPECT[1], width))
        } else {
            (height, width)
        };
        Crop {
            top: (height - h) / 2,
            left: (width - w) / 2,
            height: h,
            width: w,
        }
    }
}

/// Mirrors rows of `width` pixels, left to right.
pub(super) fn mirror(pixels: &mut [u8], channels: usize, width: usize) {
    for row in pixels.chunks_exact_mut((channels * width).max(1)) {
        for x in 0..width / 2 {
            for c in 0..channels {
                row.swap(x * channels + c, (width - 1 - x) * channels + c);
            }
        }
    }
}

/// Brightness, then contrast (about the mean luma of the image), then saturation (about the luma of
/// each pixel), each rounded to 8 bits. Alpha stays.
fn jitter(pixels: &mut [u8], channels: usize, [brightness, contrast, saturation]: [f32; 3]) {
    // Casts from floats saturate at 0 and 255.
    let mix = |value: u8, other: f32, share: f32| {
        (f32::from(value) * share + other * (1.0 - share)).round() as u8
    };
    let colours = channels.min(3);
    for pixel in pixels.chunks_exact_mut(channels) {
        for value in &mut pixel[..colours] {
            *value = mix(*value, 0.0, brightness);
        }
    }
    let count = (pixels.len() / channels).max(1) as f64;
    let sum: f64 = pixels
        .chunks_exact(channels)
        .map(|pixel| f64::from(luma(pixel)))
        .sum();
    let mean = (sum / count) as f32;
    for pixel in pixels.chunks_exact_mut(channels) {
        for value in &mut pixel[..colours] {
            *value = mix(*value, mean, contrast);
        }
        if colours == 3 {
            let grey = luma(pixel);
            for value in &mut pixel[..colours] {
                *value = mix(*value, grey, saturation);
            }
        }
    }
}

/// Rec. 601 luma, or the grey value itself.
fn luma(pixel: &[u8]) -> f32 {
    match pixel {
        &[r, g, b, ..] => 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b),
        _ => pixel.first().map_or(0.0, |&grey| f32::from(grey)),
    }
}

#[cfg(test)]
mod tests;
