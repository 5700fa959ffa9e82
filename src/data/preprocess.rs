//! From 8-bit pixels to the floats a network expects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;

use super::{DataError, Resize};

/// The order of the colour channels a network expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl ChannelOrder {
    /// `RGB` or `BGR`.
    pub fn name(self) -> &'static str {
        match self {
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
        }
    }
}

/// How pixels become network input: `(pixel * scale - mean[c]) / std[c]`, where `pixel` is 0..=255
/// and `c` counts the channels in `order`.
///
/// A one-channel (grey) network uses the first entry of `mean` and `std` and ignores `order`. Of a network of four channels
/// the last is alpha, 255 where nothing is transparent: it is scaled as the colours are where they are all scaled alike,
/// else by `scale` alone.
/// Stored as JSON in the metadata of a tuned model: fields may be added, never changed.
///
/// ```
/// use ftsurgery::data::{Preprocess, Resize};
///
/// let how: Preprocess = "imagenet".parse()?;
/// assert_eq!(how, Preprocess::IMAGENET);
/// // As torchvision evaluates: the middle of the image, not all of it squashed.
/// let how = Preprocess { resize: "crop:0.875".parse::<Resize>()?, ..how };
/// how.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// The channel order of the network's input.
    pub order: ChannelOrder,
    /// The multiplier of the pixels.
    pub scale: f32,
    /// Subtracted from the scaled pixel, per channel in `order`.
    pub mean: [f32; 3],
    /// Divides the difference, per channel in `order`.
    pub std: [f32; 3],
    /// How the image came to the input's size; the presets squash it.
    #[serde(default)]
    pub resize: Resize,
}

impl Preprocess {
    /// The names [`Preprocess::from_str`] knows; with `-bgr` or `-rgb` behind it, as of `unit-bgr` and `caffe-rgb`,
    /// a preset is that of the other order of the colours.
    pub const PRESETS: [&str; 5] = ["unit", "signed", "imagenet", "caffe", "raw"];

    /// Pixels in 0..1, RGB.
    pub const UNIT: Self = Self::rgb([0.0; 3], [1.0; 3]);
    /// Pixels in -1..1, RGB, as TensorFlow's MobileNets and Inceptions expect.
    pub const SIGNED: Self = Self::rgb([0.5; 3], [0.5; 3]);
    /// torchvision's normalisation by ImageNet's mean and standard deviation, RGB.
    pub const IMAGENET: Self = Self::rgb([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    /// Caffe's (and Keras's VGG16 and ResNet50): BGR in 0..255 less ImageNet's mean.
    pub const CAFFE: Self = Self {
        order: ChannelOrder::Bgr,
        scale: 1.0,
        mean: [103.939, 116.779, 123.68],
        std: [1.0; 3],
        resize: Resize::SQUASH,
    };

    /// Pixels in 0..255, RGB, for networks that scale them themselves.
    pub const RAW: Self = Self {
        scale: 1.0,
        ..Self::UNIT
    };

    const fn rgb(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean,
            std,
            resize: Resize::SQUASH,
        }
    }

    /// RGB pixels in 0..1, less `mean`, divided by `std`.
    ///
    /// # Errors
    /// When a value is not finite or a standard deviation is not above zero.
    pub fn custom(mean: [f32; 3], std: [f32; 3]) -> Result<Self, DataError> {
        let made = Self::rgb(mean, std);
        made.validate()?;
        Ok(made)
    }

    /// The same for a network that wants the colours the other way round: each is scaled as it was.
    pub fn swapped(&self) -> Self {
        let turned = |[a, b, c]: [f32; 3]| [c, b, a];
        Self {
            order: match self.order {
                ChannelOrder::Rgb => ChannelOrder::Bgr,
                ChannelOrder::Bgr => ChannelOrder::Rgb,
            },
            mean: turned(self.mean),
            std: turned(self.std),
            ..self.clone()
        }
    }

    /// The same scales of the colours, which come in this order.
    #[must_use]
    pub fn in_order(&self, order: ChannelOrder) -> Self {
        match self.order == order {
            true => self.clone(),
            false => self.swapped(),
        }
    }

    /// The name of the preset that scales pixels so, if one does.
    pub fn preset(&self) -> Option<String> {
        Self::PRESETS.iter().find_map(|name| {
            let preset: Self = name.parse().ok()?;
            if preset.scales_as(self) {
                return Some((*name).to_owned());
            }
            let is_swapped = preset.swapped().scales_as(self);
            is_swapped.then(|| format!("{name}-{}", self.order.name().to_lowercase()))
        })
    }

    /// Whether pixels are scaled as by `other`, however images come to the input's size.
    pub fn scales_as(&self, other: &Self) -> bool {
        let resize = other.resize;
        Self {
            resize,
            ..self.clone()
        } == *other
    }

    /// Checks values that came from outside, such as a model's metadata.
    ///
    /// # Errors
    /// When a value, or what becomes of a pixel, is not finite, `scale` or a standard deviation is not
    /// above zero, or those of [`Resize::validate`].
    pub fn validate(&self) -> Result<(), DataError> {
        self.resize.validate()?;
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(DataError::option(
                "scale",
                self.scale,
                "expected a number above 0",
            ));
        }
        if let Some(bad) = self.mean.iter().find(|m| !m.is_finite()) {
            return Err(DataError::option("mean", bad, "expected a finite number"));
        }
        if let Some(bad) = self.std.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(DataError::option("std", bad, "expected a number above 0"));
        }
        let mut values = self.tables().values.into_iter().flatten();
        if values.any(|value| !value.is_finite()) {
            return Err(DataError::option(
                "std",
                format!("{:?} with mean {:?}", self.std, self.mean),
                "with them pixels become numbers that are not finite",
            ));
        }
        Ok(())
    }

    /// Writes one image into `out`.
    ///
    /// `pixels` is height × width × channels (RGB, RGBA when `channels` is 4, or grey when it is 1); `out` gets as
    /// many floats, as channels × height × width or height × width × channels by `layout`.
    ///
    /// # Errors
    /// When `channels` is none of 1, 3 and 4, or the lengths do not fit.
    pub fn write(
        &self,
        pixels: &[u8],
        channels: usize,
        layout: Layout,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        check_channels(channels)?;
        if out.len() != pixels.len() || !pixels.len().is_multiple_of(channels) {
            return Err(DataError::BufferLength {
                what: "an image",
                actual: out.len(),
                expected: pixels.len(),
            });
        }
        self.tables().write(pixels, channels, layout, out);
        Ok(())
    }

    /// What stands for `mean` and `std` of alpha, the fourth channel.
    pub fn of_alpha(&self) -> (f32, f32) {
        let alike = |of: [f32; 3]| of.iter().all(|v| *v == of[0]);
        match alike(self.mean) && alike(self.std) {
            true => (self.mean[0], self.std[0]),
            false => (0.0, 1.0),
        }
    }

    /// The value of each of the 256 pixel values in each output channel.
    pub(super) fn tables(&self) -> Tables {
        let table = |c: usize| {
            std::array::from_fn(|pixel| (pixel as f32 * self.scale - self.mean[c]) / self.std[c])
        };
        let source = match self.order {
            ChannelOrder::Rgb => [0, 1, 2, 3],
            ChannelOrder::Bgr => [2, 1, 0, 3],
        };
        let (mean, std) = self.of_alpha();
        let alpha = std::array::from_fn(|value| (value as f32 * self.scale - mean) / std);
        Tables {
            values: [table(0), table(1), table(2), alpha],
            source,
        }
    }
}

/// A [`Preprocess`] worked out for every pixel value.
pub(super) struct Tables {
    /// By output channel and pixel value.
    values: [[f32; 256]; 4],
    /// The RGBA channel that feeds each output channel.
    source: [usize; 4],
}

impl Tables {
    /// As [`Preprocess::write`], for lengths already checked.
    pub(super) fn write(&self, pixels: &[u8], channels: usize, layout: Layout, out: &mut [f32]) {
        if channels == 1 {
            for (value, &pixel) in out.iter_mut().zip(pixels) {
                *value = self.values[0][usize::from(pixel)];
            }
            return;
        }
        match channels {
            4 => self.write_colours::<4>(pixels, layout, out),
            _ => self.write_colours::<3>(pixels, layout, out),
        }
    }

    fn write_colours<const N: usize>(&self, pixels: &[u8], layout: Layout, out: &mut [f32]) {
        match layout {
            Layout::Nhwc => {
                for (values, pixel) in out.chunks_exact_mut(N).zip(pixels.chunks_exact(N)) {
                    for c in 0..N {
                        values[c] = self.values[c][usize::from(pixel[self.source[c]])];
                    }
                }
            }
            Layout::Nchw => {
                let plane = (out.len() / N).max(1);
                for (c, values) in out.chunks_exact_mut(plane).enumerate() {
                    let (table, source) = (&self.values[c], self.source[c]);
                    for (value, pixel) in values.iter_mut().zip(pixels.chunks_exact(N)) {
                        *value = table[usize::from(pixel[source])];
                    }
                }
            }
        }
    }
}

/// Networks take grey or colour images, these also with alpha.
pub(super) fn check_channels(channels: usize) -> Result<(), DataError> {
    if matches!(channels, 1 | 3 | 4) {
        return Ok(());
    }
    Err(DataError::option(
        "channels",
        channels,
        "images have 1 (grey), 3 (colour) or 4 (colour and alpha) channels",
    ))
}

impl fmt::Display for Preprocess {
    /// The name of the preset, or the numbers: how pixels are scaled. How images are resized is told by
    /// [`Resize`]'s own text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.preset() {
            return f.write_str(&name);
        }
        let order = self.order.name();
        let Self {
            scale, mean, std, ..
        } = self;
        write!(f, "({order} · {scale} − {mean:?}) / {std:?}")
    }
}

impl FromStr for Preprocess {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let (preset, order) = match name.rsplit_once('-') {
            Some((preset, "rgb")) => (preset, Some(ChannelOrder::Rgb)),
            Some((preset, "bgr")) => (preset, Some(ChannelOrder::Bgr)),
            _ => (name, None),
        };
        let found = match preset {
            "unit" => Ok(Self::UNIT),
            "signed" => Ok(Self::SIGNED),
            "imagenet" => Ok(Self::IMAGENET),
            "caffe" => Ok(Self::CAFFE),
            "raw" => Ok(Self::RAW),
            _ => Err(DataError::option(
                "preprocess",
                name,
                format!(
                    "expected one of {}, or one of them with -bgr or -rgb behind it",
                    Self::PRESETS.join(", ")
                ),
            )),
        }?;
        Ok(match order {
            Some(order) => found.in_order(order),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests;
