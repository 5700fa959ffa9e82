//! What a package says of itself to whoever opens it.

use std::fmt::Write;

use crate::data::{ChannelOrder, ResizeMode};
use crate::layout::Layout;
use crate::task::Task;

use super::facts::{Facts, Reading};
use super::{Format, protocol};

/// Text in a paragraph or a table of Markdown, as it is.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '$' | '&' => {
                shown.push('\\');
                shown.push(c);
            }
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

/// Text as code in a paragraph or a table of Markdown.
pub(super) fn code(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    // In a table a bar would end the cell.
    let text = text.replace('|', "\\|");
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}

/// The `README.md` of a package for servers or browsers.
pub(super) fn of(facts: &Facts, format: Format) -> String {
    let name = &facts.name;
    let mut text = format!("# {}\n\n", shown(name));
    match format {
        Format::Triton => {
            let _ = writeln!(
                text,
                "A model repository of [Triton Inference Server](https://github.com/triton-inference-server/server). This folder \
                 is the repository:\n\n```sh\ndocker run --rm -p 8000:8000 -p 8001:8001 -v \"$PWD\":/models \\\n  \
                 nvcr.io/nvidia/tritonserver:24.10-py3 tritonserver --model-repository=/models\ncurl localhost:8000/v2/models/{name}\n```\n"
            );
            let _ = writeln!(text, "{}\n", batching(facts));
        }
        Format::Kserve => {
            let _ = writeln!(
                text,
                "For [KServe](https://kserve.github.io/website/): copy this folder to where the cluster reads models, name that \
                 place in `inferenceservice.yaml` (`storageUri`), and apply it. It asks for KServe's Triton runtime, which reads \
                 `{name}/config.pbtxt`.\n\n```sh\nkubectl apply -f inferenceservice.yaml\ncurl -d @request.json \
                 -H 'Content-Type: application/json' http://HOST/v2/models/{name}/infer\n```\n\n`{name}/metadata.json` is what \
                 the server answers to `GET v2/models/{name}` by the [Open Inference \
                 Protocol](https://github.com/kserve/open-inference-protocol), `request.json` a request of zeros.\n"
            );
            let _ = writeln!(text, "{}\n", batching(facts));
        }
        Format::Web => {
            text.push_str(
                "A page that classifies pictures that are dropped on it, in the browser: nothing leaves the machine. Any file \
                 server shows it; it loads nothing from elsewhere.\n\n```sh\npython3 -m http.server   # then open \
                 http://localhost:8000\n```\n\n",
            );
        }
        Format::Plain => {}
    }
    text.push_str(&contract(facts));
    text
}

fn batching(facts: &Facts) -> String {
    match (facts.batch, &facts.alone) {
        (Some(batch), _) => format!(
            "The model takes {batch} at a time and no other number: the server makes no batches of its own (`max_batch_size: 0`), \
             and a request has all of them."
        ),
        (None, Some(why)) => format!("The server runs samples one at a time (`max_batch_size: 1`): {}.", shown(why)),
        (None, None) => "The server runs requests together that come at the same time (`dynamic_batching`), up to \
                         `max_batch_size`."
            .to_owned(),
    }
}

/// What a request has to hold, and what the answer means.
pub(super) fn contract(facts: &Facts) -> String {
    let mut text = String::from(
        "## Input and output\n\n| | name | type | shape |\n| --- | --- | --- | --- |\n",
    );
    for (what, port, dims) in [
        ("input", &facts.input, facts.input_dims()),
        ("output", &facts.output, facts.output_dims()),
    ] {
        let dtype = protocol::datatype(port.dtype).unwrap_or("BF16");
        let dims: Vec<String> = dims
            .iter()
            .map(|dim| dim.map_or("any".to_owned(), |n| n.to_string()))
            .collect();
        let _ = writeln!(
            text,
            "| {what} | {} | {dtype} | {} |",
            code(&port.name),
            dims.join(" × ")
        );
    }
    let _ = writeln!(text, "\n{}\n\n{}\n", input(facts), output(facts));
    text
}

/// How a picture becomes the input.
pub(super) fn input(facts: &Facts) -> String {
    let (height, width) = (facts.height, facts.width);
    let colours = match (facts.channels, facts.preprocess.order) {
        (1, _) => "grey".to_owned(),
        (4, order) => format!("{} and alpha", order.name()),
        (_, order) => order.name().to_owned(),
    };
    let axes = match facts.layout {
        Layout::Nchw => "batch, channels, height, width",
        Layout::Nhwc => "batch, height, width, channels",
    };
    if facts.takes_pixels {
        let colours = if facts.channels == 1 { "grey" } else { "RGB" };
        return format!(
            "The input are pictures as they are, of any size, those of a batch of one: {colours}, 0 to 255, axes {axes}. The \
             model brings them to {height} × {width} pixels itself ({}) and scales them. Pictures have to be upright (as EXIF \
             says) and without transparency. It takes pixels, not JPEG files: neither onnxruntime nor OpenVINO has ONNX's \
             operator that decodes them (`ImageDecoder`).",
            rule(facts)
        );
    }
    let how = &facts.preprocess;
    let scaled = match facts.channels {
        1 => format!(
            "`(pixel * {} - {}) / {}`",
            how.scale, how.mean[0], how.std[0]
        ),
        _ => format!(
            "`(pixel * {} - mean) / std`, mean {:?}, std {:?}, in the order {}",
            how.scale,
            how.mean,
            how.std,
            match how.order {
                ChannelOrder::Rgb => "red, green, blue",
                ChannelOrder::Bgr => "blue, green, red",
            }
        ),
    };
    format!(
        "A picture, upright as EXIF says and laid on white where it is transparent, comes to {height} × {width} pixels by {}, \
         bilinear with antialiasing (Pillow's `BILINEAR`). Its pixels, {colours} from 0 to 255, are then scaled by {scaled}. The \
         axes are {axes}.",
        rule(facts)
    )
}

/// How pictures come to the size that the network sees.
fn rule(facts: &Facts) -> String {
    match facts.preprocess.resize.mode {
        ResizeMode::Squash => "squashing all of it (the aspect is not kept)".to_owned(),
        ResizeMode::Crop { share } => {
            format!("cutting out its middle (the input covers {share} of the short side)")
        }
        ResizeMode::Letterbox => "fitting all of it in, with grey (114) around".to_owned(),
    }
}

/// What the output says.
pub(super) fn output(facts: &Facts) -> String {
    let count = facts.classes.len();
    if facts.is_single {
        let value = match facts.reading {
            Reading::Probabilities => "The output is",
            Reading::Softmax | Reading::Sigmoid => "The sigmoid of the output is",
        };
        return format!(
            "{value} the probability of the second class, {}; the rest is that of the first, {}.",
            shown(&facts.classes[1]),
            shown(&facts.classes[0])
        );
    }
    let value = match facts.reading {
        Reading::Probabilities => "The output has the probabilities",
        Reading::Softmax => "The softmax of the output are the probabilities",
        Reading::Sigmoid => "The sigmoid of each number of the output is the probability",
    };
    let order = "in the order of `labels.txt`";
    match facts.task {
        Task::MultiLabel => format!(
            "{value} of the {count} classes, {order}, each by itself: a picture may be of several, or of none. A class is taken \
             to apply from its threshold on: {}.",
            thresholds(facts)
        ),
        _ => format!("{value} of the {count} classes, {order}."),
    }
}

fn thresholds(facts: &Facts) -> String {
    const SHOWN: usize = 20;
    let all = facts.thresholds.as_deref().unwrap_or_default();
    let names = facts.classes.iter().zip(all);
    let first: Vec<String> = names
        .take(SHOWN)
        .map(|(name, threshold)| format!("{} {threshold:.4}", shown(name)))
        .collect();
    let rest = match all.len().saturating_sub(SHOWN) {
        0 => "",
        _ => ", …",
    };
    format!(
        "{}{rest} (all of them are in the model's metadata, `ftsurgery.thresholds`)",
        first.join(", ")
    )
}
