//! The rule by which images come to a network's size, as a model's card tells it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DataError;

/// How an image of any size becomes one of the network's size; see [`load_image`](super::load_image).
///
/// In JSON `{"mode": "crop", "share": 0.875, "filter": "bilinear", "antialias": true}`, where `share` is of
/// `crop` alone; as text `squash`, `crop`, `crop:SHARE` or `letterbox`. A card from before there was a choice
/// says nothing, which means [`Resize::SQUASH`]. A rule that is not known here is an error when the card is
/// read: another one taken in its place would be a silent wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Resize {
    /// What happens to the shape.
    pub mode: ResizeMode,
    /// How pixels are mixed.
    pub filter: ResizeFilter,
    /// Whether the filter is widened by the reduction, so that every pixel counts; always true.
    pub antialias: bool,
}

impl Resize {
    /// The whole image fills the whole input.
    pub const SQUASH: Self = Self::by(ResizeMode::Squash);
    /// The middle of the image, by [`Resize::SHARE`].
    pub const CROP: Self = Self::by(ResizeMode::Crop { share: Self::SHARE });
    /// The whole image within the input.
    pub const LETTERBOX: Self = Self::by(ResizeMode::Letterbox);
    /// The share of a side that torchvision's older weights and most of timm's are evaluated on: 224 pixels
    /// of 256.
    pub const SHARE: f64 = 0.875;

    /// The rule that treats the shape so.
    pub const fn by(mode: ResizeMode) -> Self {
        Self {
            mode,
            filter: ResizeFilter::Bilinear,
            antialias: true,
        }
    }

    /// Checks values that came from outside, such as a model's metadata.
    ///
    /// # Errors
    /// When the share of a crop is not 0.5 to 1, or images would have to be resized without antialiasing.
    pub fn validate(&self) -> Result<(), DataError> {
        if !self.antialias {
            return Err(DataError::option(
                "resize.antialias",
                false,
                "images are resized with antialiasing only",
            ));
        }
        match self.mode {
            ResizeMode::Crop { share } if !(0.5..=1.0).contains(&share) => Err(DataError::option(
                "resize.share",
                share,
                "a crop has a share of 0.5 to 1 of the side",
            )),
            _ => Ok(()),
        }
    }

    /// Which part of an image of `width` × `height` pixels comes to which place of an input of `to` (width and
    /// height).
    pub(super) fn placement(&self, [width, height]: [u32; 2], to: [usize; 2]) -> Placement {
        Placement {
            from: match self.mode {
                ResizeMode::Crop { share } => middle([width, height], to, share),
                _ => [0.0, 0.0, f64::from(width), f64::from(height)],
            },
            to: self.place_of([width, height], to),
        }
    }

    /// The place in an input of `to` that what is left of an image after cropping comes to.
    pub(super) fn place_of(&self, image: [u32; 2], to: [usize; 2]) -> [usize; 4] {
        match self.mode {
            ResizeMode::Letterbox => within(image, to),
            ResizeMode::Squash | ResizeMode::Crop { .. } => [0, 0, to[0], to[1]],
        }
    }
}

impl Default for Resize {
    fn default() -> Self {
        Self::SQUASH
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            ResizeMode::Squash => f.write_str("squash"),
            ResizeMode::Crop { share } => write!(f, "crop:{share}"),
            ResizeMode::Letterbox => f.write_str("letterbox"),
        }
    }
}

impl FromStr for Resize {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let expected =
            "expected squash, crop, crop:SHARE with a share of 0.5 to 1, or letterbox".to_owned();
        let unknown = || DataError::option("resize", name, expected);
        let rule = match (name, name.strip_prefix("crop:")) {
            ("squash", _) => Self::SQUASH,
            ("crop", _) => Self::CROP,
            ("letterbox", _) => Self::LETTERBOX,
            (_, Some(share)) => {
                let share = share.parse().ok();
                let share = share.filter(|share| (0.5..=1.0).contains(share));
                match share {
                    Some(share) => Self::by(ResizeMode::Crop { share }),
                    None => return Err(unknown()),
                }
            }
            _ => return Err(unknown()),
        };
        Ok(rule)
    }
}

/// What happens to the shape of an image that is resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizeMode {
    /// The whole image fills the whole input; its aspect is not kept.
    Squash,
    /// The middle of the image fills the whole input; the aspect is kept, the rest is cut off: the short side
    /// is brought to ⌊side / share⌋, the long one in proportion (rounded down), and the input is cut out of the
    /// middle, as by torchvision's `Resize` and `CenterCrop`. For an input that is no square, the image is
    /// brought to the smallest size that covers ⌊side / share⌋ on both sides (as by timm, which rounds the
    /// other side to the nearest).
    Crop {
        /// The input's side over that to which the image is brought, 0.5 to 1; timm's `crop_pct`.
        share: f64,
    },
    /// The whole image lies in the middle of the input; the aspect is kept, and what is left of the input is
    /// [`GREY`], as by YOLO's `LetterBox`.
    Letterbox,
}

/// The value of the pixels around an image that is letterboxed, in each channel.
pub const GREY: u8 = 114;

/// How pixels are mixed when an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeFilter {
    /// Weights that fall linearly with the distance, as Pillow's `BILINEAR`.
    Bilinear,
}

/// A [`Resize`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    filter: ResizeFilter,
    antialias: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Squash,
    Crop,
    Letterbox,
}

impl From<Resize> for Written {
    fn from(resize: Resize) -> Self {
        let (mode, share) = match resize.mode {
            ResizeMode::Squash => (Mode::Squash, None),
            ResizeMode::Crop { share } => (Mode::Crop, Some(share)),
            ResizeMode::Letterbox => (Mode::Letterbox, None),
        };
        Written {
            mode,
            share,
            filter: resize.filter,
            antialias: resize.antialias,
        }
    }
}

impl TryFrom<Written> for Resize {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let mode = match (written.mode, written.share) {
            (Mode::Squash, None) => ResizeMode::Squash,
            (Mode::Letterbox, None) => ResizeMode::Letterbox,
            (Mode::Crop, Some(share)) => ResizeMode::Crop { share },
            (Mode::Crop, None) => return Err("`crop` without its `share`"),
            (_, Some(_)) => return Err("a `share` is of `crop` alone"),
        };
        Ok(Resize {
            mode,
            filter: written.filter,
            antialias: written.antialias,
        })
    }
}

/// Which part of a picture comes to which place of the input: left, top, width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    /// In pixels of the picture, and parts of such.
    pub from: [f64; 4],
    /// In pixels of the input.
    pub to: [usize; 4],
}

/// The part of an image that [`ResizeMode::Crop`] keeps.
fn middle(image: [u32; 2], to: [usize; 2], share: f64) -> [f64; 4] {
    // As timm computes it, in floating point.
    let covered = to.map(|side| (side as f64 / share).floor() as u64);
    let [width, height] = image.map(u64::from);
    let resized = match covered[0] * height >= covered[1] * width {
        true => [covered[0], covered[0] * height / width],
        false => [covered[1] * width / height, covered[1]],
    };
    let part = |axis: usize| {
        let (cut, resized) = (to[axis] as f64, resized[axis] as f64);
        // Python's `round`.
        let start = ((resized - cut) / 2.0).round_ties_even();
        let image = f64::from(image[axis]);
        [start, cut].map(|length| length * image / resized)
    };
    let ([left, width], [top, height]) = (part(0), part(1));
    [left, top, width, height]
}

/// Where an image lies in the input by [`ResizeMode::Letterbox`].
fn within(image: [u32; 2], to: [usize; 2]) -> [usize; 4] {
    let ratio = |axis: usize| to[axis] as f64 / f64::from(image[axis]);
    let ratio = ratio(0).min(ratio(1));
    let side = |axis: usize| {
        let side = (f64::from(image[axis]) * ratio).round_ties_even() as usize;
        side.clamp(1, to[axis])
    };
    let [width, height] = [side(0), side(1)];
    [(to[0] - width) / 2, (to[1] - height) / 2, width, height]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Preprocess;

    fn card(resize: &str) -> Result<Preprocess, String> {
        let rest = r#""order":"rgb","scale":1.0,"mean":[0.0,0.0,0.0],"std":[1.0,1.0,1.0]"#;
        serde_json::from_str::<Preprocess>(&format!("{{{rest}{resize}}}"))
            .map_err(|e| e.to_string())
            .and_then(|card| card.validate().map(|()| card).map_err(|e| e.to_string()))
    }

    #[test]
    fn cards_that_say_nothing_of_resizing_mean_squash_and_other_rules_are_refused_by_name() {
        assert_eq!(card("").unwrap().resize, Resize::SQUASH);
        let with = |mode: &str, filter: &str, antialias: bool, more: &str| {
            card(&format!(
                r#","resize":{{"mode":"{mode}","filter":"{filter}","antialias":{antialias}{more}}}"#
            ))
        };
        assert_eq!(
            with("squash", "bilinear", true, "").unwrap().resize,
            Resize::SQUASH
        );
        for (refused, name) in [
            (with("stretch", "bilinear", true, ""), "stretch"),
            (with("squash", "bicubic", true, ""), "bicubic"),
            (with("squash", "bilinear", false, ""), "antialias"),
            (
                with("squash", "bilinear", true, r#","short_side":256"#),
                "short_side",
            ),
            (with("squash", "bilinear", true, r#","share":0.9"#), "share"),
            (with("crop", "bilinear", true, ""), "share"),
            (with("crop", "bilinear", true, r#","share":0.4"#), "0.4"),
        ] {
            let error = refused.unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_rule_comes_back_from_a_card_and_from_text() {
        let other = Resize::by(ResizeMode::Crop { share: 0.95 });
        for (rule, text, json) in [
            (Resize::SQUASH, "squash", r#"{"mode":"squash""#),
            (
                Resize::CROP,
                "crop:0.875",
                r#"{"mode":"crop","share":0.875"#,
            ),
            (other, "crop:0.95", r#"{"mode":"crop","share":0.95"#),
            (Resize::LETTERBOX, "letterbox", r#"{"mode":"letterbox""#),
        ] {
            assert_eq!(rule.to_string(), text);
            assert_eq!(text.parse::<Resize>().unwrap(), rule);
            let expected = format!(r#"{json},"filter":"bilinear","antialias":true}}"#);
            assert_eq!(serde_json::to_string(&rule).unwrap(), expected);
            let preprocess = card(&format!(r#","resize":{expected}"#)).unwrap();
            assert_eq!(preprocess.resize, rule);
        }
        assert_eq!("crop".parse::<Resize>().unwrap(), Resize::CROP);
        for wrong in [
            "", "crop:", "crop:0.4", "crop:1.1", "crop:nan", "Squash", "fit",
        ] {
            let error = wrong.parse::<Resize>().unwrap_err();
            assert!(error.is_bad_input());
            assert!(error.to_string().contains("letterbox"), "{error}");
        }
    }

    /// The size of the resized image and the corner of the crop, from torchvision's formulas: `Resize` of
    /// `floor(side / share)` (`_compute_resized_output_size`) and `CenterCrop`, worked out by Python's integers
    /// and `round`.
    #[test]
    fn a_crop_is_where_torchvision_takes_it() {
        let crop = |share| Resize::by(ResizeMode::Crop { share });
        for (image, to, share, resized, [left, top]) in [
            ([500, 375], [224, 224], 0.875, [341, 256], [58, 16]),
            ([375, 500], [224, 224], 0.875, [256, 341], [16, 58]),
            ([500, 333], [224, 224], 0.875, [384, 256], [80, 16]),
            ([100, 100], [224, 224], 0.95, [235, 235], [6, 6]),
            ([100, 50], [32, 32], 1.0, [64, 32], [16, 0]),
            ([101, 50], [31, 31], 1.0, [62, 31], [16, 0]),
            ([103, 50], [31, 31], 1.0, [63, 31], [16, 0]),
            ([640, 480], [320, 160], 0.875, [365, 273], [22, 56]),
            ([3, 16_384], [16, 16], 0.875, [18, 98_304], [1, 49_144]),
        ] {
            let Placement { from, to: placed } = crop(share).placement(image, to);
            assert_eq!(placed, [0, 0, to[0], to[1]]);
            for axis in [0, 1] {
                let ratio = f64::from(image[axis]) / f64::from(resized[axis]);
                let start = f64::from([left, top][axis]) * ratio;
                let length = to[axis] as f64 * ratio;
                assert!((from[axis] - start).abs() < 1e-9, "{image:?}: {from:?}");
                assert!(
                    (from[axis + 2] - length).abs() < 1e-9,
                    "{image:?}: {from:?}"
                );
            }
        }
    }

    #[test]
    fn a_crop_never_leaves_the_image() {
        for share in [0.5, 0.7, 0.875, 0.9, 1.0] {
            for width in (1..400).step_by(7) {
                for height in (1..400).step_by(11) {
                    for to in [[1, 1], [8, 6], [224, 224], [7, 300]] {
                        let crop = Resize::by(ResizeMode::Crop { share });
                        let [left, top, w, h] = crop.placement([width, height], to).from;
                        assert!(left >= 0.0 && top >= 0.0 && w > 0.0 && h > 0.0);
                        assert!(left + w <= f64::from(width) + 1e-9);
                        assert!(top + h <= f64::from(height) + 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn a_letterboxed_image_lies_whole_in_the_middle() {
        let within = |image, to| Resize::LETTERBOX.placement(image, to).to;
        assert_eq!(within([640, 480], [320, 320]), [0, 40, 320, 240]);
        assert_eq!(within([480, 640], [320, 320]), [40, 0, 240, 320]);
        assert_eq!(within([500, 333], [224, 224]), [0, 37, 224, 149]);
        assert_eq!(within([10, 10], [32, 16]), [8, 0, 16, 16]);
        assert_eq!(within([16_384, 1], [8, 8]), [0, 3, 8, 1]);
    }
}
