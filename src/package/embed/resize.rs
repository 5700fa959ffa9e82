//! A picture of any size at that of the network, as `data::Resize` says and `data::load_image` does it.
//!
//! Each axis is a product with a matrix of weights that is made of the picture's size while the graph runs. An axis of `side`
//! pixels is brought to `resized` pixels, of which the network sees those from `start` on; pixel k counts for place i by
//!
//! `max(0, 1 − |side (2 (start + i) + 1) − resized (2 k + 1)| / (2 max(side, resized)))`
//!
//! divided by the sum over all k: a triangle that is widened by the reduction. Between the bars are whole numbers, so that
//! float32 says it as exactly as it can.
//!
//! ONNX's own `Resize` with `antialias` does not do: OpenVINO takes no notice of that attribute (pixels are up to 58 of 255 off),
//! it begins with opset 18, and it knows no part of a pixel at which a crop begins. As with pictures of bytes elsewhere, what the
//! first product gives is rounded before the second. Weights are rounded as `fast_image_resize` rounds them, to as many bits as
//! let the largest fit into 16: without that one pixel of 30 is off by one.

use crate::data::{GREY, Resize, ResizeMode};
use crate::graph::Attribute;
use crate::onnx::{DataType, Tensor};

use super::nodes::Nodes;

/// How an axis of the picture comes to one of the network, by values of the graph, int64 scalars.
struct Axis {
    /// The length that the picture is brought to.
    resized: String,
    /// The place of that at which the network's begins; `None` for 0.
    start: Option<String>,
    /// Whether the network's goes beyond the picture on both sides.
    is_wider: bool,
}

/// Makes `pictures`, float32 [N, C, h, w] with whole numbers, [N, C, height, width]; `sides` are h and w, int64 scalars.
pub(super) fn resized(
    nodes: &mut Nodes,
    pictures: &str,
    sides: [&str; 2],
    to: [usize; 2],
    resize: Resize,
) -> String {
    let axes = match resize.mode {
        ResizeMode::Squash => [0, 1].map(|axis| Axis {
            resized: nodes.whole(to[axis]),
            start: None,
            is_wider: false,
        }),
        ResizeMode::Crop { share } => cropped(nodes, sides, to, share),
        ResizeMode::Letterbox => letterboxed(nodes, sides, to),
    };
    let [rows, columns] = [0, 1].map(|axis| matrix(nodes, &axes[axis], sides[axis], to[axis]));
    let low = nodes.op("rows", "MatMul", &[&rows, pictures]);
    let low = nodes.rounded("rows", &low);
    let columns = turned(nodes, "columns", &columns);
    let small = nodes.op("columns", "MatMul", &[&low, &columns]);
    let small = nodes.rounded("columns", &small);
    if !axes[0].is_wider {
        return small;
    }
    // Around a letterboxed picture all weights are 0.
    let [tall, wide] = [0, 1].map(|axis| inside(nodes, &axes[axis], to[axis]));
    let wide = turned(nodes, "inside", &wide);
    let inside = nodes.op("inside", "Mul", &[&tall, &wide]);
    let one = nodes.number(1.0);
    let outside = nodes.op("outside", "Sub", &[&one, &inside]);
    let grey = nodes.number(f32::from(GREY));
    let grey = nodes.op("grey", "Mul", &[&outside, &grey]);
    nodes.op("letterboxed", "Add", &[&small, &grey])
}

fn floats(nodes: &mut Nodes, hint: &str, whole: &str) -> String {
    nodes.cast(hint, whole, DataType::Float)
}

fn turned(nodes: &mut Nodes, hint: &str, matrix: &str) -> String {
    nodes.with(hint, "Transpose", &[matrix], &[("perm", vec![1, 0].into())])
}

/// See [`ResizeMode::Crop`].
fn cropped(nodes: &mut Nodes, sides: [&str; 2], to: [usize; 2], share: f64) -> [Axis; 2] {
    let covered = to.map(|side| nodes.whole((side as f64 / share).floor() as usize));
    let [high, wide] = [&covered[0], &covered[1]];
    let by_width = nodes.op("covered", "Mul", &[wide, sides[0]]);
    let by_height = nodes.op("covered", "Mul", &[high, sides[1]]);
    let is_wide = nodes.op("is_wide", "Less", &[&by_width, &by_height]);
    let tall = nodes.op("resized", "Div", &[&by_width, sides[1]]);
    let long = nodes.op("resized", "Div", &[&by_height, sides[0]]);
    let height = nodes.op("resized", "Where", &[&is_wide, high, &tall]);
    let width = nodes.op("resized", "Where", &[&is_wide, &long, wide]);
    [(height, to[0]), (width, to[1])].map(|(resized, to)| {
        let to = nodes.whole(to);
        let beyond = nodes.op("beyond", "Sub", &[&resized, &to]);
        let beyond = floats(nodes, "beyond", &beyond);
        let half = nodes.number(0.5);
        let start = nodes.op("start", "Mul", &[&beyond, &half]);
        // Halves to the even number, as Python's `round`.
        let start = nodes.op("start", "Round", &[&start]);
        Axis {
            start: Some(nodes.cast("start", &start, DataType::Int64)),
            resized,
            is_wider: false,
        }
    })
}

/// See [`ResizeMode::Letterbox`]; lengths in float64, as there.
fn letterboxed(nodes: &mut Nodes, sides: [&str; 2], to: [usize; 2]) -> [Axis; 2] {
    let doubles = sides.map(|side| nodes.cast("side", side, DataType::Double));
    let double = |value: f64| Tensor {
        dtype: DataType::Double,
        dims: Vec::new(),
        data: value.to_le_bytes().to_vec().into(),
    };
    let ratios = [0, 1].map(|axis| {
        let to = nodes.constant(double(to[axis] as f64));
        nodes.op("ratio", "Div", &[&to, &doubles[axis]])
    });
    let ratio = nodes.op("ratio", "Min", &[&ratios[0], &ratios[1]]);
    [0, 1].map(|axis| {
        let length = nodes.op("length", "Mul", &[&doubles[axis], &ratio]);
        let length = nodes.op("length", "Round", &[&length]);
        let [least, most] = [1.0, to[axis] as f64].map(|side| nodes.constant(double(side)));
        let length = nodes.op("length", "Max", &[&length, &least]);
        let length = nodes.op("length", "Min", &[&length, &most]);
        let resized = nodes.cast("resized", &length, DataType::Int64);
        let [to, two] = [to[axis], 2].map(|number| nodes.whole(number));
        let around = nodes.op("around", "Sub", &[&to, &resized]);
        let left = nodes.op("left", "Div", &[&around, &two]);
        let zero = nodes.whole(0);
        Axis {
            start: Some(nodes.op("start", "Sub", &[&zero, &left])),
            resized,
            is_wider: true,
        }
    })
}

/// For each place of an axis of the network its place in the resized picture, as a column, int64.
fn places(nodes: &mut Nodes, axis: &Axis, to: usize) -> String {
    let all: Vec<i64> = (0..to as i64).collect();
    let all = nodes.constant(Tensor {
        dims: vec![to, 1],
        ..Tensor::i64s(&all)
    });
    match &axis.start {
        Some(start) => nodes.op("places", "Add", &[&all, start]),
        None => all,
    }
}

/// Which places of an axis of the network the picture comes to, 1 or 0, as a column.
fn inside(nodes: &mut Nodes, axis: &Axis, to: usize) -> String {
    let places = places(nodes, axis, to);
    let zero = nodes.whole(0);
    let is_before = nodes.op("before", "Less", &[&places, &zero]);
    let is_behind = nodes.op("behind", "Not", &[&is_before]);
    let is_ahead = nodes.op("ahead", "Less", &[&places, &axis.resized]);
    let is_inside = nodes.op("inside", "And", &[&is_behind, &is_ahead]);
    floats(nodes, "inside", &is_inside)
}

/// The weights of an axis, [to, side].
fn matrix(nodes: &mut Nodes, axis: &Axis, side: &str, to: usize) -> String {
    let [zero, one, two] = [0, 1, 2].map(|number| nodes.whole(number));
    let odd = |nodes: &mut Nodes, value: &str| {
        let twice = nodes.op("odd", "Mul", &[value, &two]);
        nodes.op("odd", "Add", &[&twice, &one])
    };
    let pixels = nodes.op("pixels", "Range", &[&zero, side, &one]);
    let pixels = odd(nodes, &pixels);
    let pixels = nodes.op("pixels", "Mul", &[&pixels, &axis.resized]);
    let places_of = places(nodes, axis, to);
    let centres = odd(nodes, &places_of);
    let centres = nodes.op("centres", "Mul", &[&centres, side]);
    let away = nodes.op("away", "Sub", &[&centres, &pixels]);
    let away = floats(nodes, "away", &away);
    let away = nodes.op("away", "Abs", &[&away]);
    let [side, resized] = [side, &axis.resized].map(|length| floats(nodes, "length", length));
    let length = nodes.op("length", "Max", &[&side, &resized]);
    let two = nodes.number(2.0);
    let support = nodes.op("support", "Mul", &[&length, &two]);
    let away = nodes.op("away", "Div", &[&away, &support]);
    let one = nodes.number(1.0);
    let near = nodes.op("near", "Sub", &[&one, &away]);
    let nothing = nodes.number(0.0);
    let near = nodes.op("near", "Max", &[&near, &nothing]);
    let sum = nodes.sum("sum", &near, 1);
    if !axis.is_wider {
        let weights = nodes.op("weights", "Div", &[&near, &sum]);
        return in_16_bits(nodes, &weights);
    }
    let inside = inside(nodes, axis, to);
    // Where no pixel is near, it would be 0 / 0.
    let outside = nodes.op("outside", "Sub", &[&one, &inside]);
    let sum = nodes.op("sum", "Add", &[&sum, &outside]);
    let weights = nodes.op("weights", "Div", &[&near, &sum]);
    let weights = nodes.op("weights", "Mul", &[&weights, &inside]);
    in_16_bits(nodes, &weights)
}

/// Weights as multiples of 2⁻ᵖ, p the smallest number for which the largest weight times 2ᵖ⁺¹ rounds to 2¹⁵ or more.
fn in_16_bits(nodes: &mut Nodes, weights: &str) -> String {
    let most = nodes.with(
        "largest",
        "ReduceMax",
        &[weights],
        &[("keepdims", Attribute::Int(0))],
    );
    let limit = nodes.number(32_767.5);
    let ratio = nodes.op("bits", "Div", &[&limit, &most]);
    let bits = nodes.op("bits", "Log", &[&ratio]);
    let per_bit = nodes.number(std::f32::consts::LOG2_E);
    let bits = nodes.op("bits", "Mul", &[&bits, &per_bit]);
    let bits = nodes.op("bits", "Ceil", &[&bits]);
    let one = nodes.number(1.0);
    let bits = nodes.op("bits", "Sub", &[&bits, &one]);
    // It looks no further.
    let last = nodes.number(21.0);
    let bits = nodes.op("bits", "Min", &[&bits, &last]);
    let two = nodes.number(2.0);
    let unit = nodes.op("unit", "Pow", &[&two, &bits]);
    let whole = nodes.op("weights", "Mul", &[weights, &unit]);
    let whole = nodes.rounded("weights", &whole);
    nodes.op("weights", "Div", &[&whole, &unit])
}
