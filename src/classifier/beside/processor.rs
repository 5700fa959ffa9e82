//! How an image processor of Hugging Face's `transformers`, or a timm model, makes a network's input of an image.
//!
//! Source: the classes of `transformers/models/*/image_processing_*.py` (5.24, and the feature extractors before 4.25,
//! which wrote a size as one number), `timm/data/transforms_factory.py`.

use serde_json::Value;

use crate::data::{ChannelOrder, Preprocess, Resize, ResizeMode};

/// What a file says, as it is done here.
#[derive(Debug, PartialEq)]
pub(super) struct Processor {
    pub preprocess: Option<Preprocess>,
    pub resize: Option<Resize>,
    /// Height and width.
    pub image_size: Option<(usize, usize)>,
    /// What is done otherwise here.
    pub approximate: Vec<String>,
}

/// How images come to the input's size, and which that is (height and width), where they are said.
type Resizing = (Option<Resize>, Option<(usize, usize)>);

/// Where ConvNeXt's processor no longer crops.
const CONVNEXT_CROPS_BELOW: usize = 384;
/// What it crops to where it does not say, and LeViT's always.
const USUAL_SHARE: f64 = 0.875;

impl Processor {
    /// Of the settings of an image processor. The error says what is wrong with them.
    pub fn read(settings: &Value) -> Result<Self, String> {
        let kinds = ["image_processor_type", "feature_extractor_type"];
        let kind = kinds.iter().find_map(|key| settings.get(key)?.as_str());
        let settings = Settings {
            json: settings,
            kind: kind.unwrap_or_default(),
        };
        let preprocess = settings.preprocess()?;
        let mut approximate = Vec::new();
        let (resize, image_size) = settings.resize(&mut approximate)?;
        if let Some(resample) = settings.get("resample").filter(|_| resize.is_some()) {
            approximate.extend(filter(resample));
        }
        Ok(Processor {
            preprocess,
            resize,
            image_size,
            approximate,
        })
    }

    /// Of a timm model's `pretrained_cfg`.
    pub fn of_timm(settings: &Value) -> Result<Self, String> {
        let settings = Settings {
            json: settings,
            kind: "timm",
        };
        let preprocess = match (settings.colours("mean")?, settings.colours("std")?) {
            (Some(mean), Some(std)) => Some(checked(Preprocess {
                mean,
                std,
                ..Preprocess::UNIT
            })?),
            _ => None,
        };
        let image_size = match settings.get("input_size").and_then(Value::as_array) {
            Some(dims) => match dims.iter().map(side).collect::<Option<Vec<_>>>().as_deref() {
                Some([_, height, width]) => Some((*height, *width)),
                _ => return Err("its `input_size` is no channels, height and width".to_owned()),
            },
            None => None,
        };
        let mode = settings.get("crop_mode").and_then(Value::as_str);
        let resize = match (mode.unwrap_or("center"), settings.number("crop_pct")?) {
            ("squash", _) => Some(Resize::SQUASH),
            (_, Some(share)) => Some(cropped(share)?),
            _ => None,
        };
        let interpolation = settings.get("interpolation").filter(|_| resize.is_some());
        Ok(Processor {
            preprocess,
            resize,
            image_size,
            approximate: Vec::from_iter(interpolation.and_then(filter)),
        })
    }
}

struct Settings<'v> {
    json: &'v Value,
    /// The class that wrote them.
    kind: &'v str,
}

impl Settings<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        let read = |value: &Value| {
            let flag = value.as_bool();
            flag.ok_or_else(|| format!("its `{key}` is {value}, and neither true nor false"))
        };
        self.get(key).map(read).transpose()
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let read = |value: &Value| {
            let number = value.as_f64();
            number.ok_or_else(|| format!("its `{key}` is {value}, and no number"))
        };
        self.get(key).map(read).transpose()
    }

    /// A number for each of three colours, or one for all.
    fn colours(&self, key: &str) -> Result<Option<[f32; 3]>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = match value {
            Value::Array(list) => list.iter().map(Value::as_f64).collect(),
            one => one.as_f64().map(|n| vec![n]),
        };
        match numbers.as_deref() {
            Some(&[one]) => Ok(Some([one as f32; 3])),
            Some(&[r, g, b]) => Ok(Some([r, g, b].map(|n| n as f32))),
            _ => Err(format!(
                "its `{key}` is {value}, and no number for each colour"
            )),
        }
    }

    /// How pixels are scaled; `None` where it is not said.
    fn preprocess(&self) -> Result<Option<Preprocess>, String> {
        let scale = match self.flag("do_rescale")? {
            Some(false) => 1.0,
            _ => self.number("rescale_factor")?.unwrap_or(1.0 / 255.0),
        };
        let is_of_mobilevit = self.kind.starts_with("MobileViT");
        let normalises = self.flag("do_normalize")?;
        let normalises = normalises.or(is_of_mobilevit.then_some(false));
        let (mean, std) = match (self.colours("image_mean")?, self.colours("image_std")?) {
            (Some(mean), Some(std)) if normalises != Some(false) => (mean, std),
            _ if normalises == Some(true) => return Ok(None),
            _ => ([0.0; 3], [1.0; 3]),
        };
        // EfficientNet's: less 1, and by the deviation once more.
        let offset = f32::from(self.flag("rescale_offset")? == Some(true));
        let once_more = self.kind.starts_with("EfficientNet")
            && normalises != Some(false)
            && self.flag("include_top")? == Some(true);
        let flips = self.flag("do_flip_channel_order")?;
        let is_bgr = flips.unwrap_or(is_of_mobilevit);
        let made = Preprocess {
            order: if is_bgr {
                ChannelOrder::Bgr
            } else {
                ChannelOrder::Rgb
            },
            scale: scale as f32,
            mean: mean.map(|m| m + offset),
            std: if once_more { std.map(|s| s * s) } else { std },
            resize: Resize::SQUASH,
        };
        checked(made).map(Some)
    }

    /// How images come to the input's size.
    fn resize(&self, approximate: &mut Vec<String>) -> Result<Resizing, String> {
        if self.flag("do_resize")? == Some(false) {
            return Ok((None, None));
        }
        let is = |kind: &str| self.kind.to_lowercase().starts_with(kind);
        let crops = self.flag("do_center_crop")?.unwrap_or(is("levit"));
        let crop = self.get("crop_size").filter(|_| crops).map(sized);
        let crop = crop.transpose()?.map(|size| match size {
            Sized::Both(height, width) => (height, width),
            Sized::Short(side) | Sized::Bare(side) => (side, side),
        });
        let pct = self.number("crop_pct")?;
        let Some(size) = self.get("size").map(sized).transpose()? else {
            return Ok((None, crop));
        };
        if is("convnext")
            && let Sized::Short(side) | Sized::Bare(side) = size
        {
            let rule = match side < CONVNEXT_CROPS_BELOW {
                true => cropped(pct.unwrap_or(USUAL_SHARE))?,
                false => Resize::SQUASH,
            };
            return Ok((Some(rule), Some((side, side))));
        }
        if is("levit")
            && let Sized::Short(side) | Sized::Bare(side) = size
        {
            let size = crop.unwrap_or((side, side));
            return Ok((Some(cropped(USUAL_SHARE)?), Some(size)));
        }
        if let (Some(share), Some(crop)) = (pct, crop) {
            return Ok((Some(cropped(share)?), Some(crop)));
        }
        Ok(match (size, crop) {
            (Sized::Both(height, width), Some(crop)) if (height, width) != crop => {
                approximate.push(format!(
                    "it squashes images to {height} × {width} pixels and takes the middle; here their aspect is kept"
                ));
                (Some(middle(crop.0, height)?), Some(crop))
            }
            (Sized::Short(side) | Sized::Bare(side), Some(crop)) => {
                (Some(middle(crop.0.max(crop.1), side)?), Some(crop))
            }
            (Sized::Short(side), None) => (Some(cropped(1.0)?), Some((side, side))),
            (Sized::Bare(side), None) => (Some(Resize::SQUASH), Some((side, side))),
            (Sized::Both(height, width), _) => (Some(Resize::SQUASH), Some((height, width))),
        })
    }
}

/// A size as it is written.
enum Sized {
    /// Height and width.
    Both(usize, usize),
    /// That of the shorter side.
    Short(usize),
    /// A number, which of these it is being the class's own affair.
    Bare(usize),
}

fn sized(value: &Value) -> Result<Sized, String> {
    let of = |key: &str| value.get(key).and_then(side);
    let both = of("height").zip(of("width")).or_else(|| match value {
        Value::Array(_) => sides(value),
        _ => None,
    });
    let read = match (both, of("shortest_edge"), side(value)) {
        (Some((height, width)), _, _) => Some(Sized::Both(height, width)),
        (_, Some(short), _) => Some(Sized::Short(short)),
        (_, _, bare) => bare.map(Sized::Bare),
    };
    read.ok_or_else(|| format!("{value} is no size that is known here"))
}

fn side(value: &Value) -> Option<usize> {
    let side = value.as_u64().and_then(|n| usize::try_from(n).ok());
    side.filter(|&n| n > 0)
}

/// Height and width of one number, or two.
pub(super) fn sides(value: &Value) -> Option<(usize, usize)> {
    match value {
        Value::Array(list) => match list.as_slice() {
            [height, width] => side(height).zip(side(width)),
            _ => None,
        },
        one => side(one).map(|n| (n, n)),
    }
}

fn checked(preprocess: Preprocess) -> Result<Preprocess, String> {
    preprocess.validate().map_err(|e| e.to_string())?;
    Ok(preprocess)
}

/// The crop of such a share.
fn cropped(share: f64) -> Result<Resize, String> {
    let rule = Resize::by(ResizeMode::Crop { share });
    rule.validate().map_err(|e| e.to_string())?;
    Ok(rule)
}

/// The crop that takes the middle `side` of images whose short side comes to `of`, by as short a number as does.
fn middle(side: usize, of: usize) -> Result<Resize, String> {
    let exact = side as f64 / of as f64;
    let comes_to = |share: &f64| (side as f64 / share).floor() == of as f64;
    let short = (1..=12).map(|digits| {
        let tens = 10f64.powi(digits);
        (exact * tens).floor() / tens
    });
    cropped(short.into_iter().find(comes_to).unwrap_or(exact))
}

/// That images are resized by another filter here.
fn filter(resample: &Value) -> Option<String> {
    // By Pillow's numbers.
    const FILTERS: [&str; 6] = [
        "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming",
    ];
    let number = resample.as_u64().and_then(|n| FILTERS.get(n as usize));
    let name = resample.as_str().or(number.copied())?;
    (name != "bilinear").then(|| {
        format!("it resizes images by the filter `{name}`, and they are resized by `bilinear` here")
    })
}

#[cfg(test)]
mod tests;
