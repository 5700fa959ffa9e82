//! The model with the names of its classes, a model card, and programs that give the same answers.

use std::fmt::Write;

use crate::data::{ChannelOrder, GREY, ResizeMode};
use crate::layout::Layout;
use crate::onnx::DataType;
use crate::task::Task;

use super::card::{self, Origins};
use super::facts::{Facts, Reading};
use super::{Package, huggingface, labels};

/// The Rust of every package: this crate does all that the model's metadata say.
const RUST: &str = include_str!("classify.rs");

pub(super) fn package(facts: &Facts, origins: &Origins) -> Package {
    let mut package = Package::of_model("model.onnx");
    package.text("labels.txt", labels(facts));
    package.text("README.md", card::card(facts, origins));
    package.text("classify.py", python(facts));
    package.text("classify.rs", RUST);
    for (path, told) in [
        ("config.json", huggingface::config(facts)),
        ("preprocessor_config.json", huggingface::processor(facts)),
    ] {
        if let Some(told) = told {
            package.text(path, format!("{told:#}\n"));
        }
    }
    package
}

/// A string of Python, which is also one of JSON.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A program that prints the likeliest classes of pictures.
fn python(facts: &Facts) -> String {
    let mut program = String::from(
        "\"\"\"Classifies pictures: python classify.py PICTURE…  (pip install numpy onnxruntime pillow)\"\"\"\n\
         import os, sys\n\
         import numpy as np, onnxruntime\n\
         from PIL import Image, ImageOps\n\n\
         here = os.path.dirname(os.path.abspath(__file__))\n\
         names = open(os.path.join(here, \"labels.txt\"), encoding=\"utf-8\").read().split(\"\\n\")[:-1]\n\
         session = onnxruntime.InferenceSession(os.path.join(here, \"model.onnx\"))\n\n\
         for path in sys.argv[1:]:\n    \
         image = ImageOps.exif_transpose(Image.open(path)).convert(\"RGBA\")\n    \
         image = Image.alpha_composite(Image.new(\"RGBA\", image.size, \"white\"), image).convert(\"RGB\")\n",
    );
    if facts.channels == 4 {
        // Alpha is one of the channels.
        program.truncate(
            program
                .rfind("    image = Image.alpha")
                .unwrap_or(program.len()),
        );
    }
    if facts.takes_pixels {
        raw(facts, &mut program);
    } else {
        resize(facts, &mut program);
        scale(facts, &mut program);
    }
    if let Some(batch) = facts.batch.filter(|batch| *batch > 1) {
        let _ = writeln!(
            program,
            "    batch = np.repeat(batch, {batch}, 0)  # the model takes so many at a time"
        );
    }
    let _ = writeln!(
        program,
        "    scores = session.run([{}], {{{}: batch}})[0][0].reshape(-1).astype(float)",
        text(&facts.output.name),
        text(&facts.input.name)
    );
    let probabilities = match (facts.reading, facts.is_single) {
        (Reading::Probabilities, false) => "scores",
        (Reading::Probabilities, true) => "np.array([1 - scores[0], scores[0]])",
        (Reading::Softmax, _) => {
            "np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()"
        }
        (Reading::Sigmoid, false) => "1 / (1 + np.exp(-scores))",
        (Reading::Sigmoid, true) => "1 / (1 + np.exp(np.array([scores[0], -scores[0]])))",
    };
    let _ = writeln!(program, "    probabilities = {probabilities}");
    program.push_str("    print(path)\n");
    match (facts.task, &facts.thresholds) {
        (Task::MultiLabel, Some(thresholds)) => {
            let _ = writeln!(
                program,
                "    thresholds = {}\n    for i in np.argsort(-probabilities, kind=\"stable\"):\n        if probabilities[i] >= \
                 thresholds[i]:\n            print(f\"  {{100 * probabilities[i]:6.2f}} %  {{names[i]}}\")",
                serde_json::Value::from(thresholds.clone())
            );
        }
        _ => program.push_str(
            "    for i in np.argsort(-probabilities, kind=\"stable\")[:5]:\n        print(f\"  {100 * probabilities[i]:6.2f} %  {names[i]}\")\n",
        ),
    }
    program
}

/// Pixels as they are.
fn raw(facts: &Facts, program: &mut String) {
    let expand = match (facts.channels, facts.layout) {
        (1, Layout::Nchw) => "np.asarray(image.convert(\"L\"))[None, None]",
        (1, Layout::Nhwc) => "np.asarray(image.convert(\"L\"))[None, ..., None]",
        (_, Layout::Nchw) => "np.asarray(image).transpose(2, 0, 1)[None]",
        (_, Layout::Nhwc) => "np.asarray(image)[None]",
    };
    let _ = writeln!(program, "    batch = {expand}");
}

fn resize(facts: &Facts, program: &mut String) {
    let (width, height) = (facts.width, facts.height);
    let mode = if facts.channels == 4 { "RGBA" } else { "RGB" };
    let _ = match facts.preprocess.resize.mode {
        ResizeMode::Squash => writeln!(
            program,
            "    image = image.resize(({width}, {height}), Image.BILINEAR)"
        ),
        ResizeMode::Crop { share } => {
            let covered = |side: usize| (side as f64 / share).floor() as u64;
            let (wide, high) = (covered(width), covered(height));
            writeln!(
                program,
                "    w, h = {wide}, {wide} * image.height // image.width\n    if h < {high}:\n        w, h = {high} * image.width // \
                 image.height, {high}\n    left, top = round((w - {width}) / 2), round((h - {height}) / 2)\n    x, y = image.width / w, image.height / h\n    \
                 box = (left * x, top * y, min((left + {width}) * x, image.width), min((top + {height}) * y, image.height))\n    \
                 image = image.resize(({width}, {height}), Image.BILINEAR, box)"
            )
        }
        ResizeMode::Letterbox => {
            let grey = match facts.channels {
                4 => format!("({GREY}, {GREY}, {GREY}, 255)"),
                _ => format!("({GREY}, {GREY}, {GREY})"),
            };
            writeln!(
                program,
                "    ratio = min({width} / image.width, {height} / image.height)\n    w, h = max(round(image.width * ratio), 1), \
                 max(round(image.height * ratio), 1)\n    small = image.resize((w, h), Image.BILINEAR)\n    image = Image.new(\"{mode}\", ({width}, {height}), {grey})\n    \
                 image.paste(small, (({width} - w) // 2, ({height} - h) // 2))"
            )
        }
    };
}

fn scale(facts: &Facts, program: &mut String) {
    let how = &facts.preprocess;
    let (pixels, mean, std) = match facts.channels {
        1 => (
            "np.asarray(image.convert(\"L\"), np.float32)[..., None]",
            vec![how.mean[0]],
            vec![how.std[0]],
        ),
        channels => {
            let reversed = how.order == ChannelOrder::Bgr;
            let pixels = match (channels, reversed) {
                (4, true) => "np.asarray(image, np.float32)[..., [2, 1, 0, 3]]",
                (_, true) => "np.asarray(image, np.float32)[..., ::-1]",
                (_, false) => "np.asarray(image, np.float32)",
            };
            let (mut mean, mut std) = (how.mean.to_vec(), how.std.to_vec());
            if channels == 4 {
                let (of_alpha, by_alpha) = how.of_alpha();
                mean.push(of_alpha);
                std.push(by_alpha);
            }
            (pixels, mean, std)
        }
    };
    let dtype = match facts.input.dtype {
        DataType::Float16 => "np.float16",
        DataType::Double => "np.float64",
        DataType::Uint8 => "np.uint8",
        DataType::Int32 => "np.int32",
        _ => "np.float32",
    };
    let turned = match facts.layout {
        Layout::Nchw => ".transpose(2, 0, 1)",
        Layout::Nhwc => "",
    };
    let _ = writeln!(
        program,
        "    pixels = ({pixels} * {} - {mean:?}) / {std:?}\n    batch = pixels{turned}[None].astype({dtype})",
        how.scale
    );
}
