//! What keeps samples apart is freed and gives each its own values; what would mix them is refused.

use super::free_batch;
use super::rules::rule;
use super::values::{Rows, freed, set};
use crate::graph::cases::fixture;
use crate::graph::{Graph, infer};
use crate::onnx::Tensor;

#[derive(Clone, Copy, Debug)]
enum Attr {
    I(i64),
    L(&'static [i64]),
    S(&'static str),
}
use Attr::{I, L, S};

/// A node: name, operator, inputs, attributes.
type Line = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, Attr)],
);

/// Nodes on the rows `r`, of which the last gives what is put out.
fn graph(lines: &[Line]) -> Graph {
    let mut net = Rows::new();
    for (name, values) in [
        ("axis0", &[0][..]),
        ("axis1", &[1]),
        ("axis2", &[2]),
        ("axes01", &[0, 1]),
        ("one", &[1]),
        ("two", &[2]),
        ("three", &[3]),
        ("minus", &[-1]),
        ("end", &[i64::MAX]),
        ("least", &[i64::MIN]),
        ("backwards", &[5, 4, 3, 2, 1, 0]),
        ("moved_down", &[1, 0, -1, 0]),
        ("widened", &[0, 1, 0, 1]),
        ("per_sample", &[1, 6, 4]),
        ("heads", &[1, 6, 2, 2]),
        ("joined_heads", &[2, 6, 2]),
        ("each_head", &[1, 2, 6, 2]),
        ("back", &[1, 6, 4]),
        ("four", &[4]),
        ("twice_down", &[2, 1]),
        ("twice_across", &[1, 2]),
        ("pairs", &[3, 2]),
    ] {
        net.ints(name, values);
    }
    let places: Vec<i64> = (0..24).map(|i| i % 4).collect();
    for (name, dims, values) in [
        ("number0", &[][..], &[0][..]),
        ("number1", &[], &[1]),
        ("places", &[6, 4], &places),
    ] {
        let dims = dims.to_vec();
        net.tensor(
            name,
            Tensor {
                dims,
                ..Tensor::i64s(values)
            },
        );
    }
    net.tensor("w443", Tensor::f32(&[4, 4, 3], &[0.3; 48]));
    net.tensor("w441", Tensor::f32(&[4, 4, 1], &[0.3; 16]));
    net.tensor("down", Tensor::f32(&[2], &[2.0, 1.0]));
    net.tensor("almost", Tensor::f32(&[2], &[1.1, 1.0]));
    net.tensor("across", Tensor::f32(&[2], &[1.0, 2.0]));
    net.tensor("token", Tensor::f32(&[1, 1, 4], &[0.1, 0.2, 0.3, 0.4]));
    net.tensor("off_on", Tensor::f32(&[2], &[-1.0, 2.0]));
    net.op("columns", "Transpose", "r");
    // [1, 4, 6]: the channels of all pixels; the batch is in the last axis.
    net.op("signal", "Unsqueeze", "columns axis0");
    // [1, 6, 4]: the batch in front.
    net.op("own", "Reshape", "r per_sample");
    set(
        net.op("own_columns", "Transpose", "own"),
        "perm",
        vec![0, 2, 1],
    );
    for &(name, op, inputs, attributes) in lines {
        let node = net.op(name, op, inputs);
        for &(name, value) in attributes {
            match value {
                I(v) => set(node, name, v),
                L(v) => set(node, name, v.to_vec()),
                S(v) => set(node, name, v),
            }
        }
    }
    let last = lines.last().unwrap().0;
    net.done(last.split(',').next().unwrap())
}

const MIXING: &[&[Line]] = &[
    &[("mix", "Softmax", "r", &[("axis", I(0))])],
    &[("mix", "LogSoftmax", "r", &[("axis", I(-2))])],
    &[("mix", "Hardmax", "r", &[("axis", I(0))])],
    &[("mix", "LpNormalization", "r", &[("axis", I(0))])],
    &[("mix", "CumSum", "r number0", &[])],
    &[("mix", "LayerNormalization", "r ones w4", &[("axis", I(0))])],
    &[(
        "mix",
        "MeanVarianceNormalization",
        "own",
        &[("axes", L(&[0, 1]))],
    )],
    &[
        ("mix", "ReduceMean", "r axis0", &[]),
        ("y0", "Sub", "r mix", &[]),
    ],
    &[("mix", "ReduceMax", "r", &[]), ("y0", "Sub", "r mix", &[])],
    &[
        ("mix", "ReduceSum", "x axes01", &[]),
        ("y0", "Sub", "x mix", &[]),
    ],
    &[
        ("mix", "ReduceL2", "r axis0", &[("keepdims", I(0))]),
        ("y0", "Div", "r mix", &[]),
    ],
    &[
        ("mix", "ArgMax", "r", &[("keepdims", I(0))]),
        ("y0", "Gather", "r mix", &[("axis", I(1))]),
    ],
    &[("mix", "TopK", "r three", &[("axis", I(0))])],
    // Each row with every other row: attention over the pixels of all images.
    &[
        ("mix", "MatMul", "r columns", &[]),
        ("y0", "MatMul", "mix r", &[]),
    ],
    &[
        ("mix", "MatMul", "columns r", &[]),
        ("y0", "MatMul", "r mix", &[]),
    ],
    &[
        ("mix", "Gemm", "r r", &[("transA", I(1))]),
        ("y0", "Gemm", "r mix", &[]),
    ],
    &[
        ("mix", "Gemm", "r r", &[("transB", I(1))]),
        ("y0", "Gemm", "mix r", &[]),
    ],
    &[
        ("mix", "Einsum", "r r", &[("equation", S("ij,kj->ik"))]),
        ("y0", "MatMul", "mix r", &[]),
    ],
    &[
        ("mix", "Einsum", "r r", &[("equation", S("ij,ik->jk"))]),
        ("y0", "MatMul", "r mix", &[]),
    ],
    &[
        ("mix", "Einsum", "r", &[("equation", S("ij->j"))]),
        ("y0", "Sub", "r mix", &[]),
    ],
    &[("mix", "Slice", "r one three axis0", &[])],
    &[("mix", "Slice", "r minus least axis0 minus", &[])],
    &[("mix", "Gather", "r backwards", &[])],
    &[("mix", "GatherND", "r pairs", &[])],
    &[("mix", "GatherElements", "r places", &[])],
    &[("mix", "ScatterElements", "r places r", &[])],
    &[("mix", "ScatterND", "r axis0 w4", &[])],
    &[("mix", "Concat", "r r", &[("axis", I(0))])],
    &[(
        "mix",
        "Split",
        "r",
        &[("axis", I(0)), ("num_outputs", I(1))],
    )],
    &[("mix", "Pad", "r moved_down", &[])],
    &[("mix", "Tile", "r twice_down", &[])],
    &[("mix", "Resize", "r - down", &[])],
    &[("mix", "Resize", "r - almost", &[("mode", S("linear"))])],
    &[("mix", "Trilu", "r", &[])],
    &[("mix", "Conv", "signal w443", &[("pads", L(&[1, 1]))])],
    &[(
        "mix",
        "ConvTranspose",
        "signal w443",
        &[("pads", L(&[1, 1]))],
    )],
    &[(
        "mix",
        "MaxPool",
        "signal",
        &[("kernel_shape", L(&[3])), ("pads", L(&[1, 1]))],
    )],
    &[(
        "mix",
        "AveragePool",
        "signal",
        &[("kernel_shape", L(&[3])), ("pads", L(&[1, 1]))],
    )],
    &[(
        "mix",
        "LpPool",
        "signal",
        &[("kernel_shape", L(&[3])), ("pads", L(&[1, 1]))],
    )],
    &[
        ("mix", "GlobalAveragePool", "signal", &[]),
        ("y0", "Sub", "signal mix", &[]),
    ],
    &[("mix", "InstanceNormalization", "signal ones w4", &[])],
    &[(
        "mix",
        "GroupNormalization",
        "signal ones w4",
        &[("num_groups", I(2))],
    )],
    &[("mix", "LRN", "x_turned", &[("size", I(3))])],
    // What depends on how many samples there are.
    &[
        ("sizes", "Shape", "r", &[("end", I(1))]),
        ("count", "Cast", "sizes", &[("to", I(1))]),
        ("mix", "Div", "r count", &[]),
    ],
];

const APART: &[&[Line]] = &[
    &[("a", "Softmax", "r", &[("axis", I(1))])],
    &[("a", "LogSoftmax", "r", &[])],
    &[("a", "LpNormalization", "r", &[])],
    &[("a", "CumSum", "r number1", &[])],
    &[("a", "LayerNormalization", "r ones w4", &[])],
    &[
        ("a", "ReduceMean", "r axis1", &[]),
        ("b", "Sub", "r a", &[]),
    ],
    &[("a", "ReduceMax", "own axis1", &[("keepdims", I(0))])],
    &[
        ("a", "ArgMax", "r", &[("axis", I(1))]),
        ("b", "Cast", "a", &[("to", I(1))]),
    ],
    // A table read by what was found in each row.
    &[
        ("a", "ArgMax", "r", &[("axis", I(1)), ("keepdims", I(0))]),
        ("b", "Gather", "table a", &[]),
    ],
    &[("a,found", "TopK", "r two", &[])],
    &[("a", "MatMul", "r w44", &[])],
    &[("a", "MatMul", "r w4", &[])],
    &[
        ("a", "MatMul", "w44 columns", &[]),
        ("b", "Transpose", "a", &[]),
    ],
    &[
        ("a", "MatMul", "own own_columns", &[]),
        ("b", "Softmax", "a", &[]),
        ("c", "MatMul", "b own", &[]),
    ],
    &[("a", "Gemm", "r w44 w4", &[("transB", I(1))])],
    &[("a", "Gemm", "columns w44", &[("transA", I(1))])],
    &[
        ("a", "Gemm", "w44 r", &[("transB", I(1))]),
        ("b", "Transpose", "a", &[]),
    ],
    &[("a", "Gemm", "r w44 r", &[])],
    &[("a", "Einsum", "r w44", &[("equation", S("ij,jk->ik"))])],
    &[("a", "Einsum", "own own", &[("equation", S("bij,bkj->bik"))])],
    &[("a", "Slice", "r one three axis1", &[])],
    // As PyTorch writes `x[:, 1:3]`.
    &[
        ("a", "Slice", "own axis0 end axis0 one", &[]),
        ("b", "Slice", "a one three axis1", &[]),
    ],
    &[("a", "Gather", "own number1", &[("axis", I(1))])],
    &[
        ("a", "ArgMax", "own", &[("axis", I(2))]),
        ("b", "GatherElements", "own a", &[("axis", I(2))]),
    ],
    &[("a", "Concat", "r r", &[("axis", I(1))])],
    &[("a", "Concat", "token own", &[("axis", I(1))])],
    &[("a", "Split", "r", &[("axis", I(1)), ("num_outputs", I(1))])],
    &[("a", "Pad", "r widened", &[])],
    &[("a", "Tile", "r twice_across", &[])],
    &[("a", "Resize", "r - across", &[("mode", S("linear"))])],
    &[("a", "Trilu", "own", &[])],
    &[("a", "Conv", "own_columns w443", &[("pads", L(&[1, 1]))])],
    &[("a", "Conv", "by_rows w441", &[])],
    &[("a", "MaxPool", "own", &[("kernel_shape", L(&[3]))])],
    &[
        ("a", "BatchNormalization", "signal ones w4 w4 ones", &[]),
        ("b", "Transpose", "a", &[("perm", L(&[0, 2, 1]))]),
    ],
    &[("a", "InstanceNormalization", "own_columns ones w4", &[])],
    &[("a", "Greater", "r w4", &[]), ("b", "Where", "a r w4", &[])],
    &[
        ("a", "ReduceMean", "own axis1", &[]),
        ("b", "Expand", "a per_sample", &[]),
        ("c", "Mul", "b own", &[]),
    ],
    &[
        ("a", "ArgMax", "r", &[("axis", I(1)), ("keepdims", I(0))]),
        ("b", "OneHot", "a four off_on", &[("axis", I(1))]),
    ],
    // Two heads, which become part of the batch's axis and leave it again.
    &[
        ("a", "Reshape", "own heads", &[]),
        ("b", "Transpose", "a", &[("perm", L(&[0, 2, 1, 3]))]),
        ("c", "Reshape", "b joined_heads", &[]),
        ("d", "Transpose", "c", &[("perm", L(&[0, 2, 1]))]),
        ("e", "MatMul", "c d", &[]),
        ("f", "Softmax", "e", &[]),
        ("g", "MatMul", "f c", &[]),
        ("h", "Reshape", "g each_head", &[]),
        ("i", "Transpose", "h", &[("perm", L(&[0, 2, 1, 3]))]),
        ("j", "Reshape", "i back", &[]),
        ("k", "MatMul", "j w44", &[]),
    ],
    // The size asked of the tensor.
    &[
        ("a", "Shape", "x", &[("end", I(1))]),
        ("b", "Concat", "a minus", &[("axis", I(0))]),
        ("c", "Reshape", "own b", &[]),
        ("d", "Softmax", "c", &[]),
    ],
    &[
        ("a", "Shape", "own", &[]),
        ("b", "ConstantOfShape", "a", &[]),
        ("c", "Add", "own b", &[]),
    ],
];

/// The first line of a graph that takes what [`graph`] does not have.
fn complete(lines: &[Line]) -> Vec<Line> {
    let reads = |name: &str| {
        lines
            .iter()
            .any(|(_, _, inputs, _)| inputs.split_whitespace().any(|i| i == name))
    };
    let mut all: Vec<Line> = Vec::new();
    if reads("x_turned") {
        all.push(("x_turned", "Transpose", "x", &[("perm", L(&[1, 0, 2, 3]))]));
    }
    if reads("by_rows") {
        all.push(("by_rows", "Unsqueeze", "r axis2", &[]));
    }
    all.extend(lines);
    all
}

#[test]
fn what_would_mix_samples_is_refused_by_its_node() {
    for lines in MIXING {
        let mut g = graph(&complete(lines));
        let before = g.clone();
        let node = lines.iter().find(|line| line.0 == "mix").unwrap();
        let error = free_batch(&mut g).expect_err(node.1).to_string();
        assert!(error.contains(&format!("`mix` ({})", node.1)), "{error}");
        assert_eq!(g, before);
    }
}

#[test]
fn what_keeps_samples_apart_gives_each_its_own_values_once_freed() {
    for lines in APART {
        eprintln!("{lines:?}");
        freed(&graph(&complete(lines)));
    }
}

#[test]
fn every_operator_whose_shapes_are_known_is_told_or_left_out_on_purpose() {
    let left_out = ["Range", "ScatterND", "Shape", "Size"];
    let cases = fixture("cases.json");
    for case in cases.as_array().unwrap() {
        let name = case["op"].as_str().unwrap();
        if infer::knows(name) {
            assert_ne!(rule(name).is_some(), left_out.contains(&name), "{name}");
        }
    }
}
