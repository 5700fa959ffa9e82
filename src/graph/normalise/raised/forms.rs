//! Nodes of older opsets whose meaning could change with the opset.

use crate::graph::cases::graph;
use crate::graph::{Attribute, Graph, Node};
use crate::onnx::Tensor;

#[derive(Clone, Copy, Debug)]
pub enum Attr {
    I(i64),
    F(f32),
    L(&'static [i64]),
    S(&'static str),
}
pub use Attr::{F, I, L, S};

/// A node of older opsets: the first and last of them, operator, dimensions of `x`, other inputs,
/// attributes.
pub type Form = (
    [i64; 2],
    &'static str,
    &'static [usize],
    &'static [&'static str],
    &'static [(&'static str, Attr)],
);

pub const MAP: &[usize] = &[1, 2, 5, 6];

/// Forms whose meaning could change with the opset though schema and shapes are the same.
pub const FORMS: &[Form] = &[
    (
        [9, 13],
        "BatchNormalization",
        &[2, 3, 2],
        &["c", "c", "c", "c"],
        &[("momentum", F(0.7))],
    ),
    (
        [9, 13],
        "BatchNormalization",
        &[2, 3],
        &["c", "c", "c", "c"],
        &[("epsilon", F(0.3))],
    ),
    ([9, 10], "Clip", MAP, &[], &[]),
    ([9, 10], "Clip", MAP, &[], &[("min", F(0.2))]),
    (
        [9, 10],
        "Clip",
        MAP,
        &[],
        &[("max", F(0.2)), ("min", F(-0.3))],
    ),
    ([11, 12], "Clip", MAP, &["", "small"], &[]),
    ([9, 11], "Dropout", MAP, &[], &[("ratio", F(0.9))]),
    ([12, 21], "Dropout", MAP, &["small"], &[]),
    ([9, 12], "Softmax", &[2, 3, 4], &[], &[]),
    ([9, 12], "Softmax", &[2, 3, 4], &[], &[("axis", I(0))]),
    ([9, 12], "Softmax", &[2, 3, 4], &[], &[("axis", I(2))]),
    ([11, 12], "Softmax", &[2, 3, 4], &[], &[("axis", I(-2))]),
    ([11, 12], "Softmax", &[2, 3, 4], &[], &[("axis", I(-1))]),
    ([9, 12], "Softmax", &[5], &[], &[("axis", I(0))]),
    ([13, 21], "Softmax", &[2, 3, 4], &[], &[]),
    ([13, 21], "Softmax", &[2, 3, 4], &[], &[("axis", I(1))]),
    ([9, 12], "LogSoftmax", &[2, 3, 4], &[], &[]),
    ([9, 12], "LogSoftmax", &[2, 3, 4], &[], &[("axis", I(0))]),
    ([13, 21], "LogSoftmax", &[2, 3, 4], &[], &[]),
    ([9, 12], "Hardmax", &[2, 3, 4], &[], &[]),
    ([9, 12], "Hardmax", &[2, 3, 4], &[], &[("axis", I(0))]),
    ([13, 21], "Hardmax", &[2, 3, 4], &[], &[]),
    (
        [9, 9],
        "Upsample",
        MAP,
        &["larger"],
        &[("mode", S("nearest"))],
    ),
    (
        [9, 9],
        "Upsample",
        MAP,
        &["larger"],
        &[("mode", S("linear"))],
    ),
    ([9, 9], "Upsample", MAP, &["larger"], &[]),
    (
        [10, 10],
        "Resize",
        MAP,
        &["larger"],
        &[("mode", S("nearest"))],
    ),
    (
        [10, 10],
        "Resize",
        MAP,
        &["larger"],
        &[("mode", S("linear"))],
    ),
    (
        [10, 10],
        "Resize",
        MAP,
        &["smaller"],
        &[("mode", S("nearest"))],
    ),
    (
        [10, 10],
        "Resize",
        MAP,
        &["smaller"],
        &[("mode", S("linear"))],
    ),
    (
        [10, 10],
        "Resize",
        MAP,
        &["both"],
        &[("mode", S("nearest"))],
    ),
    ([11, 21], "Resize", MAP, &["", "larger"], &[]),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "smaller"],
        &[("mode", S("linear"))],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "both"],
        &[("mode", S("cubic")), ("cubic_coeff_a", F(-0.5))],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "", "sizes"],
        &[("mode", S("linear"))],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["nothing", "nothing", "sizes"],
        &[("mode", S("nearest"))],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "both"],
        &[
            ("coordinate_transformation_mode", S("align_corners")),
            ("mode", S("linear")),
        ],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "both"],
        &[
            ("coordinate_transformation_mode", S("pytorch_half_pixel")),
            ("mode", S("linear")),
        ],
    ),
    (
        [11, 21],
        "Resize",
        MAP,
        &["", "both"],
        &[
            ("coordinate_transformation_mode", S("asymmetric")),
            ("nearest_mode", S("ceil")),
        ],
    ),
    (
        [11, 12],
        "Resize",
        MAP,
        &["", "both"],
        &[("coordinate_transformation_mode", S("tf_half_pixel_for_nn"))],
    ),
    (
        [9, 10],
        "Pad",
        MAP,
        &[],
        &[("pads", L(&[0, 0, 1, 2, 0, 1, 0, 3])), ("value", F(0.5))],
    ),
    (
        [9, 10],
        "Pad",
        MAP,
        &[],
        &[
            ("pads", L(&[0, 0, 1, 2, 0, 0, 0, 3])),
            ("mode", S("reflect")),
        ],
    ),
    (
        [9, 10],
        "Pad",
        MAP,
        &[],
        &[("pads", L(&[0, 0, -1, 2, 0, 0, 1, 0]))],
    ),
    ([11, 21], "Pad", MAP, &["pads", "small"], &[]),
    ([11, 21], "Pad", MAP, &["pads"], &[("mode", S("edge"))]),
    (
        [9, 9],
        "Slice",
        MAP,
        &[],
        &[
            ("starts", L(&[1, -3])),
            ("ends", L(&[1000, -1])),
            ("axes", L(&[1, 3])),
        ],
    ),
    ([9, 9], "TopK", MAP, &[], &[("k", I(2)), ("axis", I(3))]),
    ([10, 21], "TopK", MAP, &["k"], &[]),
    ([9, 12], "Split", MAP, &[], &[("axis", I(3))]),
    ([9, 12], "Squeeze", &[1, 3, 1], &[], &[]),
    ([9, 12], "ReduceSum", MAP, &[], &[]),
    (
        [9, 12],
        "ReduceSum",
        MAP,
        &[],
        &[("axes", L(&[1, 3])), ("keepdims", I(0))],
    ),
    ([9, 17], "ReduceMean", MAP, &[], &[("axes", L(&[2]))]),
    ([11, 17], "ReduceMax", MAP, &[], &[("axes", L(&[-1]))]),
    ([9, 17], "ReduceL2", MAP, &[], &[]),
    (
        [9, 17],
        "ReduceLogSumExp",
        MAP,
        &[],
        &[("axes", L(&[0, 1]))],
    ),
    ([9, 10], "OneHot", &[4], &["depth", "off_on"], &[]),
    (
        [11, 21],
        "OneHot",
        &[4],
        &["depth", "off_on"],
        &[("axis", I(0))],
    ),
    ([9, 21], "LpNormalization", MAP, &[], &[("axis", I(1))]),
    ([9, 21], "MeanVarianceNormalization", MAP, &[], &[]),
    ([9, 21], "LRN", MAP, &[], &[("size", I(3))]),
    (
        [9, 21],
        "DepthToSpace",
        &[1, 8, 2, 3],
        &[],
        &[("blocksize", I(2))],
    ),
    (
        [11, 21],
        "DepthToSpace",
        &[1, 8, 2, 3],
        &[],
        &[("blocksize", I(2)), ("mode", S("CRD"))],
    ),
    ([9, 21], "Flatten", MAP, &[], &[("axis", I(2))]),
    ([9, 21], "PRelu", &[2, 3, 2, 2], &["slopes"], &[]),
    (
        [18, 20],
        "GroupNormalization",
        &[2, 6, 2],
        &["pair", "pair"],
        &[("num_groups", I(2))],
    ),
    (
        [21, 26],
        "GroupNormalization",
        &[2, 6, 2],
        &["six", "six"],
        &[("num_groups", I(2))],
    ),
    ([23, 26], "RMSNormalization", &[2, 3, 4], &["four"], &[]),
    ([24, 26], "Swish", MAP, &[], &[("alpha", F(0.5))]),
];

/// The graph of a form in one opset.
pub fn form(opset: i64, &(_, op, dims, inputs, attributes): &Form) -> Graph {
    let mut node = Node::new("n", op, &[&["x"], inputs].concat(), &["y"]);
    if op == "Split" {
        node.outputs.push("rest".to_owned());
    }
    if op == "TopK" {
        node.outputs.push("places".to_owned());
    }
    for &(name, value) in attributes {
        let value: Attribute = match value {
            I(v) => v.into(),
            F(v) => v.into(),
            L(v) => v.to_vec().into(),
            S(v) => v.into(),
        };
        node.attributes.insert(name.to_owned(), value);
    }
    let mut graph = graph(opset, dims, vec![node]);
    let floats = |dims: &[usize], values: &[f32]| Tensor::f32(dims, values);
    for (name, tensor) in [
        ("c", floats(&[3], &[0.5, 1.0, 2.0])),
        ("pair", floats(&[2], &[0.5, 2.0])),
        ("four", floats(&[4], &[0.5, 2.0, 1.0, 3.0])),
        ("six", floats(&[6], &[0.5, 2.0, 1.0, 3.0, 4.0, -1.0])),
        ("slopes", floats(&[3, 1, 1], &[0.5, 0.1, 0.2])),
        ("small", Tensor::scalar_f32(0.25)),
        ("larger", floats(&[4], &[1.0, 1.0, 2.0, 1.5])),
        ("smaller", floats(&[4], &[1.0, 1.0, 0.6, 0.5])),
        ("both", floats(&[4], &[1.0, 1.0, 2.0, 0.7])),
        ("nothing", floats(&[0], &[])),
        ("sizes", Tensor::i64s(&[1, 2, 7, 4])),
        ("pads", Tensor::i64s(&[0, 0, 1, 2, 0, 1, 0, 3])),
        ("k", Tensor::i64s(&[2])),
        ("depth", Tensor::i64s(&[3])),
        ("off_on", floats(&[2], &[-1.0, 2.0])),
        (
            "kernel",
            floats(
                &[2, 2, 3, 2],
                &std::array::from_fn::<f32, 24, _>(|i| i as f32 - 9.5),
            ),
        ),
    ] {
        if inputs.contains(&name) {
            graph.initializers.insert(name.to_owned(), tensor);
        }
    }
    graph
}
