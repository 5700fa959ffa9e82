//! The inputs of operators at which constants are weights, and those at which weights pass.

use crate::graph::Node;

/// The inputs of an operator at which a constant is a weight: those of layers, normalisations and
/// tables, and those of operators that mix what they read.
pub(super) fn places(node: &Node, opset: i64) -> Vec<usize> {
    if !node.domain.is_empty() {
        return Vec::new();
    }
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => vec![1, 2],
        "DeformConv" => vec![1, 3],
        "Gemm" => vec![1, 0, 2],
        "MatMul" => vec![0, 1],
        "LSTM" => vec![1, 2, 3, 7],
        "GRU" | "RNN" => vec![1, 2, 3],
        "BatchNormalization" if takes_batch_statistics(node, opset) => vec![0, 1, 2],
        "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization" => vec![1, 2],
        "RMSNormalization" | "PRelu" => vec![1],
        "Gather" | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" => vec![0],
        "Where" => vec![1, 2],
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Concat" | "Einsum" => {
            (0..node.inputs.len()).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the operator has no weights of its own but mixes what it reads, so that not each constant among
/// it is a weight.
pub(super) fn mixes(node: &Node) -> bool {
    const MIXING: [&str; 10] = [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Where",
        "Sum",
        "Mean",
        "Concat",
        "ScatterElements",
        "ScatterND",
    ];
    MIXING.contains(&node.op_type.as_str())
}

/// The inputs of an operator that reads no data from which weights come to its outputs: those of
/// [`places`], and those of which it makes what is still that weight.
pub(super) fn carried(node: &Node, opset: i64) -> Vec<usize> {
    const FIRST: [&str; 69] = [
        "Abs",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Celu",
        "Clip",
        "Conv",
        "ConvTranspose",
        "Cos",
        "DepthToSpace",
        "Dropout",
        "Elu",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Gelu",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "MaxPool",
        "Mish",
        "Neg",
        "PRelu",
        "Pad",
        "Pow",
        "RMSNormalization",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "Selu",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
    ];
    let mut found = places(node, opset);
    if node.is("Max") || node.is("Min") {
        found.extend(0..node.inputs.len());
    }
    let first = node.domain.is_empty() && FIRST.contains(&node.op_type.as_str());
    if first && !found.contains(&0) {
        found.insert(0, 0);
    }
    found
}

/// Whether a BatchNormalization of an opset takes the statistics of what it reads: its attribute says so,
/// or, before opset 14, that it has more outputs than one.
/// Source: <https://onnx.ai/onnx/operators/text_diff_BatchNormalization_9_14.html>.
pub(in crate::graph) fn takes_batch_statistics(node: &Node, opset: i64) -> bool {
    match opset {
        14.. => node.int("training_mode", 0).is_ok_and(|mode| mode != 0),
        _ => node.present_outputs().count() > 1,
    }
}
