//! What a model gives away of how it wants its pixels, where its metadata do not say.

mod scaling;

use crate::data::{ChannelOrder, Preprocess};
use crate::graph::Graph;
use crate::layout::Layout;
use crate::onnx::{DataType, Model};

use scaling::Scaling;

/// How a model itself says that it wants its pixels, but for the order of colours where [`Sign::order`] is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sign {
    /// How they are scaled.
    pub preprocess: Preprocess,
    /// The order of the colours, where it says that, too.
    pub order: Option<ChannelOrder>,
    /// What says so: a clause.
    pub because: String,
}

/// What a model says: by the type of its input, by the range that it declares, by the tool that its metadata name, or by
/// the first steps of its graph, where these make one known range of another.
pub(super) fn sign(model: &Model, graph: &Graph, input: &str) -> Option<Sign> {
    let scaling = Scaling::of(graph, input);
    let wanted = scaling.as_ref().and_then(Scaling::wanted);
    let declared_order = declared_order(model);
    let order = declared_order.or(wanted.as_ref().and_then(|wanted| wanted.order));
    let of = |preprocess: Preprocess, because: String| Sign {
        preprocess: match order {
            Some(ChannelOrder::Bgr) => preprocess.swapped(),
            _ => preprocess,
        },
        order,
        because,
    };
    let declared = graph.inputs.iter().find(|v| v.name == input)?;
    if matches!(declared.dtype, DataType::Uint8 | DataType::Int32) {
        let mut because = "its input is of integers".to_owned();
        if let (None, Some(_), Some(scaling)) = (declared_order, order, &scaling) {
            because = format!("{because}, and {}", scaling.because());
        }
        return Some(of(Preprocess::RAW, because));
    }
    if let Some((preprocess, because)) = declared_range(model) {
        return Some(of(preprocess, because));
    }
    if let Some(sign) = of_ultralytics(model) {
        return Some(sign);
    }
    Some(of(wanted?.preprocess, scaling?.because()))
}

/// Ways of scaling pixels that are likelier than the default, and what speaks for them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Likely {
    /// Names of presets: `` `signed` or `caffe` ``.
    pub presets: &'static str,
    /// Why: a clause.
    pub because: String,
}

/// What is likelier for a model than the default, where nothing [says](sign) how it is.
pub(super) fn likely(model: &Model, graph: &Graph, input: &str, layout: Layout) -> Option<Likely> {
    let scaling = Scaling::of(graph, input);
    if let Some(scaling) = scaling.filter(|s| !s.node.is("BatchNormalization")) {
        return Some(Likely {
            presets: "`unit` (0 to 1)",
            because: scaling.because(),
        });
    }
    let producer = model.proto.producer_name.as_deref().unwrap_or_default();
    let name = producer.to_ascii_lowercase();
    let because = if ["tf2onnx", "keras", "tensorflow"]
        .iter()
        .any(|p| name.contains(p))
    {
        format!("it was made by {producer}")
    } else if layout == Layout::Nhwc {
        "its input has the channels last, as in Keras and TensorFlow".to_owned()
    } else {
        return None;
    };
    Some(Likely {
        presets: "`signed` (MobileNet, Inception, EfficientNet-Lite) or `caffe` (VGG16, ResNet50)",
        because,
    })
}

/// What ONNX's own metadata of image inputs say of their range.
/// Source: `docs/MetadataProps.md` of the ONNX repository.
fn declared_range(model: &Model) -> Option<(Preprocess, String)> {
    const RANGE: &str = "Image.NominalPixelRange";
    let range = model.metadata(RANGE)?;
    let preprocess = match range {
        "NominalRange_0_255" => Preprocess::RAW,
        "Normalized_0_1" => Preprocess::UNIT,
        "Normalized_1_1" => Preprocess::SIGNED,
        _ => return None,
    };
    Some((
        preprocess,
        format!("its metadata say `{RANGE}` is `{range}`"),
    ))
}

/// What Ultralytics' metadata come to, which say nothing of pixels: its classifiers are all fed the same.
/// Source: `classify_transforms` of its `data/augment.py`, which took ImageNet's mean before 8.1.
fn of_ultralytics(model: &Model) -> Option<Sign> {
    let mut version = model.metadata("version")?.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (version.next(), version.next()) else {
        return None;
    };
    let says = |key: &str, value: &str| model.metadata(key) == Some(value);
    let is_known = says("author", "Ultralytics") && says("task", "classify");
    (is_known && (major, minor) >= (8, 1)).then(|| Sign {
        preprocess: Preprocess::UNIT,
        order: Some(ChannelOrder::Rgb),
        because: "its metadata say that Ultralytics wrote it, whose classifiers want that"
            .to_owned(),
    })
}

/// As [`declared_range`], of the order of colours.
fn declared_order(model: &Model) -> Option<ChannelOrder> {
    match model.metadata("Image.BitmapPixelFormat")? {
        "Bgr8" | "Bgra8" => Some(ChannelOrder::Bgr),
        "Rgb8" | "Rgba8" => Some(ChannelOrder::Rgb),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
