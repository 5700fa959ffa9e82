//! The layers of a network: one row per node, and the weighted layers that strategies train.

use std::collections::{HashMap, HashSet};

use crate::graph::{Dim, Node};

use super::count;
use super::infer::Inferred;
use super::kinds::{
    Index, Named, buffers, is_norm, is_weighted, is_written_out_norm, own_parameters, with_constant,
};

/// One node of the dataflow. `Identity`, `Cast`, constants and what only computes shapes are left
/// out.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Index of the node in the graph.
    pub node: usize,
    /// Name of the node.
    pub name: String,
    /// Its operator.
    pub op_type: String,
    /// The layers whose outputs it reads, indices into [`Analysis::layers`](super::Analysis).
    pub inputs: Vec<usize>,
    /// Dimensions of its first output, the batch being the symbol `N`; `None` if not known.
    pub output_shape: Option<Vec<Dim>>,
    /// Elements of its trainable parameters: weights, biases, scales. A tensor that several nodes
    /// share counts where it is first used.
    pub parameters: usize,
    /// Elements of its running statistics.
    pub buffers: usize,
    /// Multiply-accumulate operations for a batch of one.
    pub macs: Option<u64>,
    /// Bytes of its outputs for a batch of one.
    pub activation_bytes: Option<u64>,
    /// The weighted layer it is part of, an index into [`Analysis::weighted`](super::Analysis).
    pub weighted: Option<usize>,
    /// The block it lies in, an index into [`Analysis::blocks`](super::Analysis). A normalisation
    /// lies where the weighted layer lies to which its parameters belong.
    pub block: usize,
}

/// An operator with a weight, and the parameters that are trained with it.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedLayer {
    /// Name of the node of the operator.
    pub name: String,
    /// Index of that node in the graph.
    pub node: usize,
    /// The value that node defines.
    pub output: String,
    /// Indices of all nodes that hold its parameters, the operator first, then its bias `Add` and
    /// normalisation.
    pub nodes: Vec<usize>,
    /// Names of its trainable constants (initializers, or outputs of `Constant` nodes): the
    /// operator's weight and bias, those of a bias `Add` behind it and of the normalisation
    /// directly behind it. A normalisation with no weighted operator directly before it
    /// (pre-activation) belongs to the next weighted layer; if that is in the classifier but the
    /// normalisation is not, to the one before.
    pub parameters: Vec<String>,
    /// Elements of `parameters`; shared ones count in the first layer only.
    pub elements: usize,
    /// The block it lies in, an index into [`Analysis::blocks`](super::Analysis).
    pub block: usize,
    /// Whether it is part of the classifier.
    pub in_classifier: bool,
}

/// Rows and weighted layers of the nodes in `data`, with blocks still to be set.
pub(super) fn collect(
    index: &Index,
    shapes: &Inferred,
    data: &[bool],
    in_backbone: &[bool],
) -> (Vec<Layer>, Vec<WeightedLayer>) {
    let owners = owners(index, data, in_backbone);
    let mut weighted: Vec<WeightedLayer> = owners
        .primary
        .iter()
        .map(|&i| WeightedLayer {
            name: index.node(i).name.clone(),
            node: i,
            output: index.node(i).output(0).unwrap_or("").to_owned(),
            nodes: vec![i],
            parameters: Vec::new(),
            elements: 0,
            block: 0,
            in_classifier: !in_backbone[i],
        })
        .collect();
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    let mut made_by: HashMap<&str, usize> = HashMap::new();
    for (i, node) in index.graph.nodes.iter().enumerate() {
        if !data[i] {
            continue;
        }
        let mut inputs: Vec<usize> = node
            .present_inputs()
            .filter_map(|v| made_by.get(v).copied())
            .collect();
        if is_plumbing(node) {
            if let (Some(&from), false) = (inputs.first(), node.is("Shape") || node.is("Size")) {
                made_by.extend(node.present_outputs().map(|v| (v, from)));
            }
            continue;
        }
        inputs.sort_unstable();
        inputs.dedup();
        made_by.extend(node.present_outputs().map(|v| (v, layers.len())));
        let mut own = own_parameters(index, node);
        own.extend(bias_of(index, node).map(|(_, bias)| bias));
        if owners.of[i].is_some() && own.is_empty() {
            own.extend(with_constant(index, node).map(|(_, constant)| constant));
        }
        let mut count_once = |list: &[(&str, &crate::onnx::Tensor)]| -> usize {
            list.iter()
                .filter(|(name, _)| seen.insert((*name).to_owned()))
                .map(|(_, tensor)| tensor.len())
                .sum()
        };
        let parameters = count_once(&own);
        let buffers = count_once(&buffers(index, node));
        let owner = owners.of[i].filter(|_| !own.is_empty());
        if let Some(owner) = owner {
            let layer = &mut weighted[owner];
            layer.elements += parameters;
            if layer.node != i {
                layer.nodes.push(i);
            }
            for (name, _) in own {
                if !layer.parameters.iter().any(|p| p == name) {
                    layer.parameters.push(name.to_owned());
                }
            }
        }
        layers.push(Layer {
            node: i,
            name: node.name.clone(),
            op_type: node.op_type.clone(),
            inputs,
            output_shape: node
                .output(0)
                .and_then(|v| shapes.get(v))
                .filter(|s| !s.has_unknown())
                .map(|s| s.dims.clone()),
            parameters,
            buffers,
            macs: count::macs(index, shapes, node),
            activation_bytes: count::activation_bytes(shapes, node),
            weighted: owner,
            block: 0,
        });
    }
    (layers, weighted)
}

fn is_plumbing(node: &Node) -> bool {
    const PLUMBING: [&str; 5] = ["Shape", "Size", "Identity", "Cast", "Constant"];
    node.domain.is_empty() && PLUMBING.contains(&node.op_type.as_str())
}

/// For each node the weighted layer it belongs to, and the node of each weighted layer.
struct Owners {
    of: Vec<Option<usize>>,
    primary: Vec<usize>,
}

fn owners(index: &Index, data: &[bool], in_backbone: &[bool]) -> Owners {
    let nodes = &index.graph.nodes;
    let mut of = vec![None; nodes.len()];
    let mut primary = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        if data[i] && is_weighted(index, node) {
            of[i] = Some(primary.len());
            primary.push(i);
        }
    }
    let mut weighed: HashSet<&str> = HashSet::new();
    for (i, node) in nodes.iter().enumerate() {
        let behind = node.present_inputs().any(|v| weighed.contains(v));
        if data[i] && (behind || of[i].is_some()) {
            weighed.extend(node.present_outputs());
        }
        if !data[i] || of[i].is_some() {
            continue;
        }
        let bias = bias_of(index, node).map(|(operator, _)| operator);
        // Before the first layer it is the scaling of pixels.
        let written_out = behind && is_written_out_norm(index, node);
        if bias.is_none() && !is_norm(node) && !written_out && !node.is("PRelu") {
            continue;
        }
        let before = || {
            let data = match written_out {
                true => with_constant(index, node)?.0,
                false => node.input(0)?,
            };
            index.producer(index.before(data, &["Transpose", "Identity"]))
        };
        of[i] = match bias.or_else(before).and_then(|p| of[p]) {
            Some(owner) => Some(owner),
            None => neighbour(index, &primary, in_backbone, data, i),
        };
    }
    Owners { of, primary }
}

/// The weighted layer that follows node `from` on its side of the cut, else the one before it.
fn neighbour(
    index: &Index,
    primary: &[usize],
    in_backbone: &[bool],
    data: &[bool],
    from: usize,
) -> Option<usize> {
    let nodes = &index.graph.nodes;
    let mut reached: HashSet<&str> = nodes[from].present_outputs().collect();
    for (i, node) in nodes.iter().enumerate().skip(from + 1) {
        if data[i] && node.present_inputs().any(|v| reached.contains(v)) {
            if let Ok(next) = primary.binary_search(&i)
                && in_backbone[i] == in_backbone[from]
            {
                return Some(next);
            }
            if is_weighted(index, node) {
                break;
            }
            reached.extend(node.present_outputs());
        }
    }
    let mut reached: HashSet<&str> = nodes[from].present_inputs().collect();
    for (i, node) in nodes.iter().enumerate().take(from).rev() {
        if data[i] && node.present_outputs().any(|v| reached.contains(v)) {
            if let Ok(previous) = primary.binary_search(&i) {
                return Some(previous);
            }
            reached.extend(node.present_inputs());
        }
    }
    None
}

/// The operator whose bias the `Add` node adds, and the bias: a constant with an element per
/// output feature behind an operator that has no bias of its own.
fn bias_of<'g>(index: &Index<'g>, node: &'g Node) -> Option<(usize, Named<'g>)> {
    let (data, bias) = with_constant(index, node).filter(|_| node.is("Add"))?;
    let operator = index.producer(index.before(data, &["Transpose", "Identity"]))?;
    let op = index.node(operator);
    if !is_weighted(index, op) {
        return None;
    }
    let (_, weight) = [1, 0]
        .iter()
        .filter_map(|&i| op.input(i))
        .find_map(|v| index.float_constant(v))?;
    let features = match op.op_type.as_str() {
        "MatMul" => weight.dims.last().copied(),
        "Conv" if op.input(2).is_none() => weight.dims.first().copied(),
        "ConvTranspose" if op.input(2).is_none() => {
            let group = usize::try_from(op.int("group", 1).ok()?).ok()?;
            weight.dims.get(1).and_then(|d| d.checked_mul(group))
        }
        "Gemm" if op.input(2).is_none() => None.or_else(|| {
            let transposed = op.int("transB", 0).ok()? != 0;
            weight.dims.get(usize::from(!transposed)).copied()
        }),
        _ => None,
    }?;
    let (_, tensor) = bias;
    (tensor.len() == features && !tensor.dims.is_empty()).then_some((operator, bias))
}
