//! What kind of thing a node is: weighted, pooling, activation, normalisation.

use std::collections::HashMap;

use crate::graph::{Graph, Node};
use crate::onnx::Tensor;

/// Names of the value and dimensions of every constant, and who defines what.
pub(super) struct Index<'g> {
    pub graph: &'g Graph,
    pub producers: HashMap<&'g str, usize>,
    pub consumers: HashMap<&'g str, Vec<usize>>,
    pub constants: HashMap<&'g str, &'g Tensor>,
}

impl<'g> Index<'g> {
    pub fn new(graph: &'g Graph) -> Self {
        Index {
            graph,
            producers: graph.producers(),
            consumers: graph.consumers(),
            constants: super::infer::constants(graph),
        }
    }

    pub fn node(&self, index: usize) -> &'g Node {
        &self.graph.nodes[index]
    }

    /// The node that defines `value`.
    pub fn producer(&self, value: &str) -> Option<usize> {
        self.producers.get(value).copied()
    }

    /// The constant that `value` is, seen through operators that only rearrange it.
    pub fn constant(&self, value: &str) -> Option<(&'g str, &'g Tensor)> {
        let mut value = value;
        // A chain is at most as long as the graph; graphs are acyclic.
        loop {
            if let Some((name, tensor)) = self.constants.get_key_value(value) {
                return Some((name, tensor));
            }
            let node = self.node(self.producer(value)?);
            const REARRANGING: [&str; 7] = [
                "Identity",
                "Cast",
                "Transpose",
                "Reshape",
                "Squeeze",
                "Unsqueeze",
                "Flatten",
            ];
            if !node.domain.is_empty() || !REARRANGING.contains(&node.op_type.as_str()) {
                return None;
            }
            value = node.input(0)?;
        }
    }

    /// As [`Index::constant`], for float tensors only.
    pub fn float_constant(&self, value: &str) -> Option<(&'g str, &'g Tensor)> {
        self.constant(value).filter(|(_, t)| t.dtype.is_float())
    }

    /// The value that `value` is a mere rearrangement or inference-time copy of.
    pub fn before(&self, value: &'g str, ops: &[&str]) -> &'g str {
        let mut value = value;
        while let Some(node) = self.producer(value).map(|i| self.node(i))
            && node.domain.is_empty()
            && ops.contains(&node.op_type.as_str())
            && let Some(input) = node.input(0)
        {
            value = input;
        }
        value
    }
}

/// The name of a constant, and the constant.
pub(super) type Named<'g> = (&'g str, &'g Tensor);

/// The inputs that hold the trainable parameters of an operator, by position.
fn parameter_positions(node: &Node) -> &'static [usize] {
    if !node.domain.is_empty() {
        return &[];
    }
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" | "DeformConv" => match node.op_type.as_str() {
            "DeformConv" => &[1, 3],
            _ => &[1, 2],
        },
        "Gemm" => &[0, 1, 2],
        "MatMul" => &[0, 1],
        "Einsum" => &[0, 1, 2, 3],
        "LSTM" => &[1, 2, 3, 7],
        "GRU" | "RNN" => &[1, 2, 3],
        "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization" => &[1, 2],
        "RMSNormalization" | "PRelu" => &[1],
        "Gather" => &[0],
        _ => &[],
    }
}

/// Names and tensors of the constants that are an operator's own trainable parameters.
pub(super) fn own_parameters<'g>(index: &Index<'g>, node: &'g Node) -> Vec<(&'g str, &'g Tensor)> {
    parameter_positions(node)
        .iter()
        .filter_map(|&i| node.input(i))
        .filter_map(|name| index.float_constant(name))
        .collect()
}

/// Whether a node is half of a normalisation that an exporter wrote as a `Mul` and an `Add` of
/// constants with an element per feature, as it does with the stored statistics of a
/// `BatchNormalization` that follows no convolution.
pub(super) fn is_written_out_norm(index: &Index, node: &Node) -> bool {
    let pair = if node.is("Mul") {
        match node.output(0).and_then(|v| index.consumers.get(v)) {
            Some(readers) => readers.first().map(|&add| (node, index.node(add))),
            None => None,
        }
    } else {
        let mul = with_constant(index, node).and_then(|(data, _)| index.producer(data));
        mul.map(|mul| (index.node(mul), node))
    };
    let Some((mul, add)) = pair.filter(|(mul, add)| mul.is("Mul") && add.is("Add")) else {
        return false;
    };
    let readers = mul.output(0).and_then(|v| index.consumers.get(v));
    readers.is_some_and(|r| r.len() == 1)
        && matches!(
            (with_constant(index, mul), with_constant(index, add)),
            (Some((_, (_, scale))), Some((_, (_, shift))))
                if scale.len() > 1 && scale.dims == shift.dims
        )
}

/// The data and the float constant that a node of two inputs works on.
pub(super) fn with_constant<'g>(index: &Index<'g>, node: &'g Node) -> Option<(&'g str, Named<'g>)> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    match (index.float_constant(a), index.float_constant(b)) {
        (None, Some(constant)) => Some((a, constant)),
        (Some(constant), None) => Some((b, constant)),
        _ => None,
    }
}

/// Names and tensors of the running statistics of a `BatchNormalization`.
pub(super) fn buffers<'g>(index: &Index<'g>, node: &'g Node) -> Vec<(&'g str, &'g Tensor)> {
    if !node.is("BatchNormalization") {
        return Vec::new();
    }
    [3, 4]
        .iter()
        .filter_map(|&i| node.input(i))
        .filter_map(|name| index.float_constant(name))
        .collect()
}

/// Whether a node is an operator with a weight of its own: a convolution, a dense product, a
/// recurrent cell.
pub(super) fn is_weighted(index: &Index, node: &Node) -> bool {
    let positions: &[usize] = match node.op_type.as_str() {
        "Conv" | "ConvTranspose" | "DeformConv" | "LSTM" | "GRU" | "RNN" => &[1],
        "Gemm" | "MatMul" => &[0, 1],
        "Einsum" => &[0, 1, 2, 3],
        _ => return false,
    };
    node.domain.is_empty()
        && positions
            .iter()
            .filter_map(|&i| node.input(i))
            .any(|name| index.float_constant(name).is_some())
}

/// Whether a node normalises by statistics.
pub(super) fn is_norm(node: &Node) -> bool {
    const NORMS: [&str; 7] = [
        "BatchNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "RMSNormalization",
        "LpNormalization",
        "LRN",
    ];
    node.domain.is_empty() && NORMS.contains(&node.op_type.as_str())
}

/// Whether a node is an activation function.
pub(super) fn is_activation(node: &Node) -> bool {
    const ACTIVATIONS: [&str; 18] = [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "ThresholdedRelu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Swish",
        "Mish",
        "Tanh",
        "Gelu",
        "Softplus",
        "Softsign",
        "Erf",
    ];
    node.domain.is_empty() && ACTIVATIONS.contains(&node.op_type.as_str())
}

/// Whether a node pools over windows (not over the whole map).
pub(super) fn is_window_pool(node: &Node) -> bool {
    node.is("MaxPool") || node.is("AveragePool") || node.is("LpPool")
}

/// Whether a node pools over the whole map by its operator alone.
pub(super) fn is_global_pool(node: &Node) -> bool {
    node.is("GlobalAveragePool") || node.is("GlobalMaxPool") || node.is("GlobalLpPool")
}
