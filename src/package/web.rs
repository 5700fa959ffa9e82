//! A page that classifies pictures in a browser, by onnxruntime-web.

use serde_json::{Value, json};

use crate::onnx::DataType;

use super::facts::Facts;
use super::{Format, Package, PackageError, readme};

/// How a page makes the model's input of a picture: a module of JavaScript, which the page of `differentiate --format web` has,
/// too.
pub const PICTURES: &str = include_str!("page/pictures.js");
/// What the page is besides.
const PAGE: [(&str, &str); 4] = [
    ("index.html", include_str!("page/index.html")),
    ("style.css", include_str!("page/style.css")),
    ("app.js", include_str!("page/app.js")),
    ("pictures.js", PICTURES),
];

/// The page, `model.onnx` and `model.json`, which says how it is fed.
pub(super) fn package(facts: &Facts) -> Result<Package, PackageError> {
    let mut package = Package::of_model("model.onnx");
    for (path, text) in PAGE {
        package.text(path, text);
    }
    package.text(
        "model.json",
        serde_json::to_string_pretty(&told(facts)?)? + "\n",
    );
    package.text("README.md", readme::of(facts, Format::Web));
    Ok(package)
}

/// What the page is told of the model.
fn told(facts: &Facts) -> Result<Value, PackageError> {
    let unfit = |why: String| Err(PackageError::Unfit(why));
    if facts.takes_pixels {
        return unfit(
            "the page decodes, resizes and scales pictures itself: a model does not have to"
                .to_owned(),
        );
    }
    if ![1, 3].contains(&facts.channels) {
        return unfit(format!(
            "the model takes {} channels; a page makes 1 or 3 of a picture",
            facts.channels
        ));
    }
    let dtype = match facts.input.dtype {
        DataType::Float => "float32",
        DataType::Uint8 => "uint8",
        DataType::Int32 => "int32",
        other => {
            return unfit(format!(
                "the model takes {other:?}; a page gives float32, uint8 or int32"
            ));
        }
    };
    if facts.output.dtype != DataType::Float {
        return unfit(format!(
            "the model gives {:?}; a page reads float32",
            facts.output.dtype
        ));
    }
    Ok(json!({
        "name": facts.name,
        "input": {
            "name": facts.input.name,
            "type": dtype,
            "batch": facts.batch.unwrap_or(1),
            "channels": facts.channels,
            "height": facts.height,
            "width": facts.width,
            "layout": facts.layout,
            "preprocess": facts.preprocess,
        },
        "output": facts.output.name,
        "activation": facts.reading.applied(),
        "single": facts.is_single,
        "classes": facts.classes,
        "thresholds": facts.thresholds,
    }))
}
