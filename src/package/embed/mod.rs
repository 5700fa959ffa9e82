//! A model that makes its input of pictures by itself: the rule of its card as nodes of standard operators in front of it, and
//! probabilities behind it.

mod nodes;
mod resize;

use crate::classifier::ModelCard;
use crate::data::{ChannelOrder, Preprocess};
use crate::graph::{Dim, Graph, Value, value_to_proto};
use crate::layout::{Layout, TO_NCHW, TO_NHWC};
use crate::onnx::{DataType, Model, Tensor};
use crate::surgery::{Edited, Editor};

use super::PackageError;
use super::facts::{Facts, Port, Reading};
use super::prepare::describe;
use nodes::Nodes;

/// The first opset that has all operators that are added.
const FIRST_OPSET: i64 = 11;
/// Channels of the pictures that such a model takes; grey is made of colours, as elsewhere.
const COLOURS: usize = 3;
const OUTPUT: &str = "probabilities";

/// A model that takes pictures.
#[derive(Debug)]
pub struct Embedded {
    /// The model, and how it differs from the one that it was made of.
    pub edited: Edited,
    /// What there is to know of it.
    pub facts: Facts,
}

/// The model of these facts with its preprocessing inside: its input are pictures, uint8, of any size (those of a batch of
/// one), RGB, with their axes in the order of `layout`; its output `probabilities` has a number for each class.
///
/// # Errors
/// When its opset lacks an operator, it takes four channels, or cannot be edited.
pub fn embedded(
    model: &Model,
    graph: &Graph,
    facts: &Facts,
    layout: Layout,
) -> Result<Embedded, PackageError> {
    let opset = model.opset();
    if facts.takes_pixels {
        return Err(PackageError::Unfit(
            "the model has its preprocessing inside already".to_owned(),
        ));
    }
    if opset < FIRST_OPSET {
        return Err(PackageError::Unfit(format!(
            "the model is of opset {opset}, and --embed-preprocessing adds operators of opset {FIRST_OPSET} (`Range`, `Round`): \
             raise it first, say with onnx.version_converter of Python's package onnx"
        )));
    }
    if facts.channels == 4 {
        return Err(PackageError::Unfit(
            "the model takes four channels: pictures with alpha are not resized inside of a model"
                .to_owned(),
        ));
    }
    let mut editor = Editor::new(model)?;
    let mut front = Nodes::new(opset, editor.names());
    let made = in_front(&mut front, facts, layout);
    for (name, tensor) in &front.tensors {
        editor.add_tensor(name, tensor)?;
    }
    let nodes = front.nodes.iter().map(|node| node.to_proto()).collect();
    editor.splice(&facts.input.name, nodes, &made)?;
    let input = picture_input(facts, layout);
    editor.set_inputs(&[value_to_proto(&input)])?;

    let mut behind = Nodes::new(opset, editor.names());
    let (name, nodes) = probabilities(&mut behind, graph, facts);
    for (name, tensor) in &behind.tensors {
        editor.add_tensor(name, tensor)?;
    }
    for node in nodes {
        editor.add_node(node)?;
    }
    let classes = facts.classes.len();
    let batch = input.dims.iter().flatten().next().cloned();
    let batch = batch.unwrap_or(Dim::Symbolic("N".to_owned()));
    editor.set_outputs(&[Value {
        name: name.clone(),
        dtype: DataType::Float,
        dims: Some(vec![batch, Dim::Known(classes)]),
    }])?;
    describe(&mut editor, facts)?;
    let card = ModelCard {
        preprocess: Some(Preprocess::RAW),
        embedded: Some(facts.preprocess.clone()),
        ..ModelCard::default()
    };
    for (key, value) in card.entries()? {
        editor.set_metadata(key, &value);
    }
    let sample = match layout {
        Layout::Nchw => vec![Some(COLOURS), None, None],
        Layout::Nhwc => vec![None, None, Some(COLOURS)],
    };
    Ok(Embedded {
        edited: editor.finish()?,
        facts: Facts {
            input: Port {
                name: facts.input.name.clone(),
                dtype: DataType::Uint8,
                sample,
            },
            output: Port {
                name,
                dtype: DataType::Float,
                sample: vec![Some(classes)],
            },
            channels: COLOURS,
            layout,
            takes_pixels: true,
            reading: Reading::Probabilities,
            is_single: false,
            ..facts.clone()
        },
    })
}

/// The declaration of pictures, under the name that the input had.
fn picture_input(facts: &Facts, layout: Layout) -> Value {
    let batch = match facts.batch {
        Some(batch) => Dim::Known(batch),
        None => Dim::Symbolic("N".to_owned()),
    };
    let [height, width] = ["height", "width"].map(|side| Dim::Symbolic(side.to_owned()));
    let colours = Dim::Known(COLOURS);
    let dims = match layout {
        Layout::Nchw => vec![batch, colours, height, width],
        Layout::Nhwc => vec![batch, height, width, colours],
    };
    Value {
        name: facts.input.name.clone(),
        dtype: DataType::Uint8,
        dims: Some(dims),
    }
}

/// From pictures to what the network sees; gives the name of that.
fn in_front(nodes: &mut Nodes, facts: &Facts, layout: Layout) -> String {
    let picture = facts.input.name.as_str();
    let shape = nodes.op("shape", "Shape", &[picture]);
    let [_, high, wide] = layout.axes();
    let sides = [high, wide].map(|axis| {
        let axis = nodes.whole(axis);
        nodes.op("side", "Gather", &[&shape, &axis])
    });
    let mut pixels = nodes.cast("pixels", picture, DataType::Float);
    if layout == Layout::Nhwc {
        pixels = turned(nodes, &pixels, TO_NCHW);
    }
    let how = &facts.preprocess;
    let to = [facts.height, facts.width];
    pixels = resize::resized(nodes, &pixels, [&sides[0], &sides[1]], to, how.resize);
    if facts.channels == 1 {
        pixels = grey(nodes, &pixels);
    } else if how.order == ChannelOrder::Bgr {
        let order = nodes.constant(Tensor::i64s(&[2, 1, 0]));
        pixels = nodes.with("bgr", "Gather", &[&pixels, &order], &[("axis", 1.into())]);
    }
    pixels = scaled(nodes, &pixels, how, facts.channels);
    if facts.layout == Layout::Nhwc {
        pixels = turned(nodes, &pixels, TO_NHWC);
    }
    match facts.input.dtype {
        DataType::Float => pixels,
        other => nodes.cast("input", &pixels, other),
    }
}

fn turned(nodes: &mut Nodes, value: &str, perm: [i64; 4]) -> String {
    let perm = ("perm", perm.to_vec().into());
    nodes.with("turned", "Transpose", &[value], &[perm])
}

/// Rec. 601 luma in whole numbers, as of pictures elsewhere.
fn grey(nodes: &mut Nodes, pixels: &str) -> String {
    let shares = nodes.constant(Tensor::f32(&[1, 3, 1, 1], &[299.0, 587.0, 114.0]));
    let parts = nodes.op("luma", "Mul", &[pixels, &shares]);
    let sum = nodes.sum("luma", &parts, 1);
    let thousand = nodes.number(1000.0);
    let half = nodes.number(500.0);
    let sum = nodes.op("luma", "Add", &[&sum, &half]);
    let share = nodes.op("luma", "Div", &[&sum, &thousand]);
    nodes.op("luma", "Floor", &[&share])
}

/// `(pixel * scale - mean) / std`, in the order in which it is computed elsewhere.
fn scaled(nodes: &mut Nodes, pixels: &str, how: &Preprocess, channels: usize) -> String {
    let mut value = pixels.to_owned();
    if how.scale != 1.0 {
        let scale = nodes.number(how.scale);
        value = nodes.op("scaled", "Mul", &[&value, &scale]);
    }
    for (op, numbers, idle) in [("Sub", how.mean, 0.0), ("Div", how.std, 1.0)] {
        if numbers.iter().all(|number| *number == idle) {
            continue;
        }
        let numbers = &numbers[..channels.min(3)];
        let numbers = nodes.constant(Tensor::f32(&[1, numbers.len(), 1, 1], numbers));
        value = nodes.op("scaled", op, &[&value, &numbers]);
    }
    value
}

/// From the class scores to a row of probabilities: its name, and the nodes that make it.
fn probabilities(
    nodes: &mut Nodes,
    graph: &Graph,
    facts: &Facts,
) -> (String, Vec<crate::onnx::messages::NodeProto>) {
    let mut value = facts.output.name.clone();
    if facts.output.dtype != DataType::Float {
        value = nodes.cast("scores", &value, DataType::Float);
    }
    if facts.output.sample.len() > 1 {
        value = nodes.with("scores", "Flatten", &[&value], &[("axis", 1.into())]);
    }
    value = match facts.reading {
        Reading::Probabilities => value,
        Reading::Softmax => nodes.with("softmax", "Softmax", &[&value], &[("axis", 1.into())]),
        Reading::Sigmoid => nodes.op("sigmoid", "Sigmoid", &[&value]),
    };
    if facts.is_single {
        let one = nodes.number(1.0);
        let rest = nodes.op("first", "Sub", &[&one, &value]);
        value = nodes.with("both", "Concat", &[&rest, &value], &[("axis", 1.into())]);
    }
    let made: Vec<_> = nodes.nodes.iter().map(|node| node.to_proto()).collect();
    let taken = graph.producers().contains_key(OUTPUT)
        || graph.initializers.contains_key(OUTPUT)
        || graph.inputs.iter().any(|input| input.name == OUTPUT);
    // The model's own output keeps its name.
    if made.is_empty() || taken {
        return (value, made);
    }
    let mut made = made;
    if let Some(last) = made.last_mut() {
        last.output = vec![OUTPUT.to_owned()];
    }
    (OUTPUT.to_owned(), made)
}
