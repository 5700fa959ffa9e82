//! The layers of a network: one row per node, and the weighted layers that strategies train.

use std::collections::{HashMap, HashSet};

use crate::graph::operators::{Class, Elements};
use crate::graph::{Dim, Node, output_features};
use crate::onnx::Tensor;

use super::count;
use super::infer::Inferred;
use super::kinds::{Index, buffers, is_weighted, is_written_out_norm, per_channel};

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
    /// Indices of all nodes that hold its parameters, the operator first, then its biases, scales and
    /// normalisation.
    pub nodes: Vec<usize>,
    /// Names of its trainable constants (initializers, or outputs of `Constant` nodes): the
    /// operator's weight and bias, biases and scales per channel next to it, and those of the
    /// normalisation directly behind it, an operator or written out as `Mul` and `Add`. A normalisation
    /// with no weighted operator directly before it (pre-activation) belongs to the next weighted layer;
    /// if that is in the classifier but the normalisation is not, to the one before.
    pub parameters: Vec<String>,
    /// Elements of `parameters`; shared ones count in the first layer only.
    pub elements: usize,
    /// The block it lies in, an index into [`Analysis::blocks`](super::Analysis).
    pub block: usize,
    /// Whether it is part of the classifier.
    pub in_classifier: bool,
}

/// Rows and weighted layers of the nodes in `data`, with blocks still to be set, and the names of the
/// trainable constants that no layer owns, each with the row at which it meets the data. Constants are
/// those of `reached`.
pub(super) fn collect(
    index: &Index,
    shapes: &Inferred,
    data: &[bool],
    in_backbone: &[bool],
    reached: &HashSet<&str>,
) -> (Vec<Layer>, Vec<WeightedLayer>, Vec<(String, usize)>) {
    let owners = owners(index, data, in_backbone, reached);
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
    let owned: HashSet<&str> = index
        .weights
        .iter()
        .filter(|w| owners.of[w.node].is_some())
        .map(|w| w.name)
        .collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut loose = Vec::new();
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
            if let (Some(&from), false) = (inputs.first(), node.gives_sizes()) {
                made_by.extend(node.present_outputs().map(|v| (v, from)));
            }
            continue;
        }
        inputs.sort_unstable();
        inputs.dedup();
        made_by.extend(node.present_outputs().map(|v| (v, layers.len())));
        let owner = owners.of[i];
        let mut parameters = 0;
        for weight in index.weights_at(i).filter(|w| reached.contains(w.name)) {
            // What a layer owns counts there, also where something else reads it before.
            if owner.is_none() && owned.contains(weight.name) {
                continue;
            }
            let first = seen.insert(weight.name);
            let elements = if first { weight.elements() } else { 0 };
            parameters += elements;
            let Some(owner) = owner else {
                if first {
                    loose.push((weight.name.to_owned(), layers.len()));
                }
                continue;
            };
            let layer = &mut weighted[owner];
            layer.elements += elements;
            if !layer.nodes.contains(&i) {
                layer.nodes.push(i);
            }
            if !layer.parameters.iter().any(|p| p == weight.name) {
                layer.parameters.push(weight.name.to_owned());
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
            buffers: count_once(&buffers(index, node), &mut seen),
            macs: count::macs(index, shapes, node),
            activation_bytes: count::activation_bytes(shapes, node),
            weighted: owner,
            block: 0,
        });
    }
    (layers, weighted, loose)
}

fn count_once<'g>(list: &[(&'g str, &Tensor)], seen: &mut HashSet<&'g str>) -> usize {
    let new = list.iter().filter(|(name, _)| seen.insert(name));
    new.map(|(_, tensor)| tensor.len()).sum()
}

fn is_plumbing(node: &Node) -> bool {
    let passes = matches!(node.elements(), Elements::Same | Elements::Converted);
    passes || node.gives_sizes() || node.is("Constant")
}

/// For each node with constants to train the weighted layer it belongs to, and the node of each weighted
/// layer.
struct Owners {
    of: Vec<Option<usize>>,
    primary: Vec<usize>,
}

/// A layer owns what its operator reads, the normalisation next to it, however it is written, and the
/// biases and scales per channel directly behind it or leading directly into it.
fn owners(index: &Index, data: &[bool], in_backbone: &[bool], reached: &HashSet<&str>) -> Owners {
    let nodes = &index.graph.nodes;
    let mut of = vec![None; nodes.len()];
    let mut primary = Vec::new();
    let trains = |i: usize| index.weights_at(i).any(|w| reached.contains(w.name));
    for i in 0..nodes.len() {
        if data[i] && is_weighted(index, i) && trains(i) {
            of[i] = Some(primary.len());
            primary.push(i);
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        if !data[i] || of[i].is_some() || !trains(i) {
            continue;
        }
        let is_norm = node.is_a(Class::Norm) || node.is("PRelu");
        let written_out = is_written_out_norm(index, i);
        let factor = per_channel(index, i);
        let operand = match factor {
            Some(weight) => node.input(1 - weight.place.min(1)),
            None => node.input(0).filter(|_| is_norm),
        };
        let before = operand.and_then(|v| index.producer(index.before(v, keeps_features)));
        let owner = before.and_then(|p| of[p]).filter(|&owner: &usize| {
            let features = output_features(index.graph, primary[owner], &index.weights);
            is_norm
                || written_out
                || features.is_none_or(|n| factor.is_some_and(|w| w.elements() == n))
        });
        let owner = match owner {
            Some(owner) => Some(owner),
            None if is_norm || written_out => neighbour(index, &primary, in_backbone, data, i),
            None if factor.is_some() => leads_into(index, &primary, i),
            None => None,
        };
        // A new head takes the place of all that is on the other side.
        of[i] = owner.filter(|&owner| in_backbone[primary[owner]] == in_backbone[i]);
    }
    Owners { of, primary }
}

/// Whether a node between a layer and its bias or scale leaves features what they are.
fn keeps_features(node: &Node) -> bool {
    let elements = node.elements();
    elements.is_copy() || elements.is_rearrangement()
}

/// The weighted layer that node `from` leads into, by nothing but a few biases and scales per channel and
/// changes of layout.
fn leads_into(index: &Index, primary: &[usize], from: usize) -> Option<usize> {
    const FEW: usize = 8;
    let mut at = from;
    for _ in 0..FEW {
        let readers = index.consumers.get(index.node(at).output(0)?)?;
        let layer = readers.iter().find_map(|r| primary.binary_search(r).ok());
        if layer.is_some() {
            return layer;
        }
        let &[next] = readers.as_slice() else {
            return None;
        };
        let moves = keeps_features(index.node(next));
        if !moves && per_channel(index, next).is_none() {
            return None;
        }
        at = next;
    }
    None
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
            if is_weighted(index, i) {
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
