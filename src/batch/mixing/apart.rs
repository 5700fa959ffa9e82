//! What keeps samples apart.

use super::Attr::{I, L, S};
use super::Line;

pub const APART: &[&[Line]] = &[
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
    // Each sample's own elements, in another order; a strided view; some columns, twice and turned.
    &[("a", "Gather", "r backwards", &[])],
    &[
        ("a", "Reshape", "own minus", &[]),
        ("b", "Gather", "a strided", &[]),
        ("c", "Reshape", "b two_rows", &[]),
        ("d", "Softmax", "c", &[]),
    ],
    &[
        ("a", "Transpose", "own", &[("perm", L(&[1, 0, 2]))]),
        ("b", "Gather", "a table_of_rows", &[("axis", I(0))]),
        ("c", "Transpose", "b", &[("perm", L(&[2, 0, 1, 3]))]),
    ],
    // As PyTorch's newer exporter writes `x[:, [4, 0, 5]]`.
    &[
        ("a", "Transpose", "own", &[("perm", L(&[1, 0, 2]))]),
        ("b", "GatherND", "a three_rows", &[]),
        ("c", "Transpose", "b", &[("perm", L(&[1, 0, 2]))]),
        ("d", "Softmax", "c", &[]),
    ],
    &[
        ("a", "Expand", "own_columns heads_of_rows", &[]),
        ("b", "Transpose", "a", &[("perm", L(&[1, 0, 2, 3]))]),
    ],
    &[
        ("a", "ReduceMean", "r axis1", &[]),
        ("b", "Expand", "a rows", &[]),
        ("c", "Mul", "b r", &[]),
    ],
    &[
        ("a", "Resize", "own - - longer", &[("mode", S("linear"))]),
        ("b", "Softmax", "a", &[]),
    ],
    &[("a", "Resize", "r - - wider", &[("mode", S("cubic"))])],
    &[(
        "a",
        "Resize",
        "own - - two_lengths",
        &[("axes", L(&[-3, -1]))],
    )],
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
