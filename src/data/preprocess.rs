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

/// How pixels become network input: `(pixel * scale - mean[c]) / std[c]`, where `pixel` is 0..=255
/// and `c` counts the channels in `order`.
///
/// A one-channel (grey) network uses the first entry of `mean` and `std` and ignores `order`.
/// Stored as JSON in the metadata of a tuned model: fields may be added, never changed.
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
    /// The names [`Preprocess::from_str`] knows.
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
    /// `pixels` is height × width × channels (RGB, or grey when `channels` is 1); `out` gets as
    /// many floats, as channels × height × width or height × width × channels by `layout`.
    ///
    /// # Errors
    /// When `channels` is neither 1 nor 3, or the lengths do not fit.
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

    /// The value of each of the 256 pixel values in each output channel.
    pub(super) fn tables(&self) -> Tables {
        let table = |c: usize| {
            std::array::from_fn(|pixel| (pixel as f32 * self.scale - self.mean[c]) / self.std[c])
        };
        let source = match self.order {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        Tables {
            values: [table(0), table(1), table(2)],
            source,
        }
    }
}

/// A [`Preprocess`] worked out for every pixel value.
pub(super) struct Tables {
    /// By output channel and pixel value.
    values: [[f32; 256]; 3],
    /// The RGB channel that feeds each output channel.
    source: [usize; 3],
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
        match layout {
            Layout::Nhwc => {
                for (values, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
                    for c in 0..3 {
                        values[c] = self.values[c][usize::from(pixel[self.source[c]])];
                    }
                }
            }
            Layout::Nchw => {
                let plane = (out.len() / 3).max(1);
                for (c, values) in out.chunks_exact_mut(plane).enumerate() {
                    let (table, source) = (&self.values[c], self.source[c]);
                    for (value, pixel) in values.iter_mut().zip(pixels.chunks_exact(3)) {
                        *value = table[usize::from(pixel[source])];
                    }
                }
            }
        }
    }
}

/// Networks take grey or colour images.
pub(super) fn check_channels(channels: usize) -> Result<(), DataError> {
    if channels == 1 || channels == 3 {
        return Ok(());
    }
    Err(DataError::option(
        "channels",
        channels,
        "images have 1 (grey) or 3 (colour) channels",
    ))
}

impl fmt::Display for Preprocess {
    /// The name of the preset, or the numbers: how pixels are scaled. How images are resized is told by
    /// [`Resize`]'s own text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::PRESETS.iter().find(|name| {
            name.parse()
                .is_ok_and(|preset: Self| preset.scales_as(self))
        });
        if let Some(name) = named {
            return f.write_str(name);
        }
        let order = match self.order {
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
        };
        let Self {
            scale, mean, std, ..
        } = self;
        write!(f, "({order} · {scale} − {mean:?}) / {std:?}")
    }
}

impl FromStr for Preprocess {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "unit" => Ok(Self::UNIT),
            "signed" => Ok(Self::SIGNED),
            "imagenet" => Ok(Self::IMAGENET),
            "caffe" => Ok(Self::CAFFE),
            "raw" => Ok(Self::RAW),
            _ => Err(DataError::option(
                "preprocess",
                name,
                format!("expected one of {}", Self::PRESETS.join(", ")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORANGE_AND_BLACK: [u8; 6] = [255, 128, 0, 0, 0, 0];

    fn written(name: &str, layout: Layout) -> Vec<f32> {
        let mut out = vec![f32::NAN; 6];
        let preprocess: Preprocess = name.parse().unwrap();
        preprocess
            .write(&ORANGE_AND_BLACK, 3, layout, &mut out)
            .unwrap();
        out
    }

    fn assert_close(actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < 1e-5, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn presets_give_the_published_values() {
        let half = 128.0 / 255.0;
        assert_close(
            &written("unit", Layout::Nhwc),
            &[1.0, half, 0.0, 0.0, 0.0, 0.0],
        );
        assert_close(
            &written("signed", Layout::Nhwc),
            &[1.0, 2.0 * half - 1.0, -1.0, -1.0, -1.0, -1.0],
        );
        assert_close(
            &written("imagenet", Layout::Nhwc)[..3],
            &[
                (1.0 - 0.485) / 0.229,
                (half - 0.456) / 0.224,
                -0.406 / 0.225,
            ],
        );
        assert_close(
            &written("caffe", Layout::Nhwc)[..3],
            &[-103.939, 128.0 - 116.779, 255.0 - 123.68],
        );
        assert_close(&written("raw", Layout::Nhwc)[..3], &[255.0, 128.0, 0.0]);
    }

    #[test]
    fn presets_are_told_by_name_and_others_by_their_numbers() {
        for name in Preprocess::PRESETS {
            assert_eq!(name.parse::<Preprocess>().unwrap().to_string(), name);
        }
        let own = Preprocess::custom([0.5; 3], [0.25; 3]).unwrap();
        let told = own.to_string();
        assert!(told.contains("RGB") && told.contains("0.25"), "{told}");
        let cropped = Preprocess {
            resize: Resize::CROP,
            ..Preprocess::SIGNED
        };
        assert!(cropped.scales_as(&Preprocess::SIGNED) && !cropped.scales_as(&own));
        assert_eq!(cropped.to_string(), "signed");
    }

    #[test]
    fn nchw_holds_the_planes_of_nhwc() {
        for name in Preprocess::PRESETS {
            let (hwc, chw) = (written(name, Layout::Nhwc), written(name, Layout::Nchw));
            for c in 0..3 {
                assert_eq!(chw[c * 2..c * 2 + 2], [hwc[c], hwc[3 + c]]);
            }
        }
    }

    #[test]
    fn grey_images_use_the_first_mean_and_std() {
        let preprocess = Preprocess::custom([0.5, 9.0, 9.0], [0.25, 9.0, 9.0]).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let mut out = [0.0; 2];
            preprocess.write(&[0, 255], 1, layout, &mut out).unwrap();
            assert_eq!(out, [-2.0, 2.0]);
        }
    }

    #[test]
    fn json_round_trips_and_stays_stable() {
        let json = serde_json::to_string(&Preprocess::CAFFE).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"order":"bgr","scale":1.0,"mean":[103.939,116.779,123.68],"std":[1.0,1.0,1.0],"#,
                r#""resize":{"mode":"squash","filter":"bilinear","antialias":true}}"#
            )
        );
        for name in Preprocess::PRESETS {
            let preprocess: Preprocess = name.parse().unwrap();
            let json = serde_json::to_string(&preprocess).unwrap();
            assert_eq!(
                serde_json::from_str::<Preprocess>(&json).unwrap(),
                preprocess
            );
        }
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let error = Preprocess::custom([0.0; 3], [1.0, 0.0, 1.0]).unwrap_err();
        assert!(
            error.is_bad_input() && error.to_string().contains("std"),
            "{error}"
        );
        let error = Preprocess::custom([f32::NAN, 0.0, 0.0], [1.0; 3]).unwrap_err();
        assert!(error.to_string().contains("mean"), "{error}");
        let error = "torch".parse::<Preprocess>().unwrap_err();
        assert!(error.to_string().contains("imagenet"), "{error}");
        assert!(
            Preprocess::UNIT
                .write(&[0; 8], 4, Layout::Nchw, &mut [0.0; 8])
                .is_err()
        );
        assert!(
            Preprocess::UNIT
                .write(&[0; 6], 3, Layout::Nchw, &mut [0.0; 5])
                .is_err()
        );
    }
}
