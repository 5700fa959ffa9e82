//! What Hugging Face's `transformers` reads beside a model: its classes, and how pictures become its input.
//!
//! Source: `CLIPImageProcessor` and `ViTImageProcessor` of `transformers`; `classifier::Beside` reads the same files.

use serde_json::{Value, json};

use crate::data::{ChannelOrder, ResizeMode};
use crate::task::Task;

use super::facts::Facts;

/// Pillow's number of its bilinear filter.
const BILINEAR: u8 = 2;

/// The content of `config.json`; `None` where the classes have no names.
pub(super) fn config(facts: &Facts) -> Option<Value> {
    let kind = match facts.task {
        Task::MultiLabel => "multi_label_classification",
        _ => "single_label_classification",
    };
    let names = || facts.classes.iter().enumerate();
    let id2label = names().map(|(i, name)| (i.to_string(), Value::from(name.as_str())));
    let label2id = names().map(|(i, name)| (name.clone(), Value::from(i)));
    facts.is_named.then(|| {
        json!({
            "id2label": Value::Object(id2label.collect()),
            "label2id": Value::Object(label2id.collect()),
            "num_labels": facts.classes.len(),
            "problem_type": kind,
        })
    })
}

/// The content of `preprocessor_config.json`; `None` where no processor does it so: of other channels than three, in the order
/// blue, green, red, with grey around, cropped to what is no square, or by the model itself.
pub(super) fn processor(facts: &Facts) -> Option<Value> {
    let how = &facts.preprocess;
    let is_square = facts.height == facts.width;
    if facts.takes_pixels || facts.channels != 3 || how.order == ChannelOrder::Bgr {
        return None;
    }
    let whole = json!({ "height": facts.height, "width": facts.width });
    let (kind, size, crop) = match how.resize.mode {
        ResizeMode::Squash => ("ViTImageProcessor", whole, None),
        ResizeMode::Crop { share } if is_square => {
            let side = (facts.height as f64 / share).floor() as usize;
            (
                "CLIPImageProcessor",
                json!({ "shortest_edge": side }),
                Some(whole),
            )
        }
        ResizeMode::Crop { .. } | ResizeMode::Letterbox => return None,
    };
    let mut told = json!({
        "image_processor_type": kind,
        "do_convert_rgb": true,
        "do_resize": true,
        "size": size,
        "resample": BILINEAR,
        "do_center_crop": crop.is_some(),
        "do_rescale": true,
        "rescale_factor": how.scale,
        "do_normalize": true,
        "image_mean": how.mean,
        "image_std": how.std,
    });
    if let Some(crop) = crop {
        told["crop_size"] = crop;
    }
    Some(told)
}
