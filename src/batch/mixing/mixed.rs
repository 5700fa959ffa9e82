//! What would mix samples, at the node `mix`.

use super::Attr::{I, L, S};
use super::Line;

pub const MIXING: &[&[Line]] = &[
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
    &[("mix", "GatherND", "r pairs", &[])],
    &[("mix", "GatherND", "r one_row", &[])],
    &[("mix", "Resize", "r - - shorter", &[])],
    &[(
        "mix",
        "Resize",
        "own - - halved",
        &[("keep_aspect_ratio_policy", S("not_larger"))],
    )],
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
