//! A convolution that is gated, with the normalisation behind it.

use crate::graph::{Graph, Node, captured_names};

use super::super::super::SurgeryError;
use super::super::layer::{Layer, refuse, tensor};
use super::name;

/// A convolution that can be gated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateable {
    /// Name of its weight.
    pub weight: String,
    /// Its output channels.
    pub channels: usize,
    /// The parameters of its tuned copy.
    pub tuned: Vec<String>,
}

/// A convolution with the BatchNormalization behind it, where there is one.
pub(super) struct Unit<'g> {
    pub layer: Layer<'g>,
    pub norm: Option<&'g Node>,
    /// Where the last of its nodes stands.
    pub place: usize,
}

/// Of a BatchNormalization, the inputs behind its first, and whether they are trained.
pub(super) const OF_NORM: [(&str, bool); 4] = [
    ("scale", true),
    ("shift", true),
    ("mean", false),
    ("variance", false),
];

impl<'g> Unit<'g> {
    pub fn of(graph: &'g Graph, weight: &str) -> Result<Self, SurgeryError> {
        let layer = Layer::of(graph, weight, &["Conv"])?;
        let dims = &layer.weight.dims;
        if dims.len() < 3 {
            return refuse(weight, format!("it has dimensions {dims:?}"));
        }
        if let Some(bias) = layer.node.input(2).filter(|b| tensor(graph, b).is_none()) {
            return refuse(weight, format!("its bias `{bias}` is computed"));
        }
        let reads = |n: &Node| n.present_inputs().any(|i| i == layer.output);
        let mut readers = graph.nodes.iter().filter(|n| reads(n));
        let norm = match (readers.next(), readers.next()) {
            (Some(norm), None) if is_own_norm(graph, norm, layer.output)? => Some(norm),
            _ => None,
        };
        let last = norm.unwrap_or(layer.node);
        let place = graph.nodes.iter().position(|n| std::ptr::eq(n, last));
        Ok(Unit {
            layer,
            norm,
            place: place.unwrap_or_default(),
        })
    }

    /// What S gives.
    pub fn output(&self) -> &'g str {
        let of_norm = self.norm.and_then(|norm| norm.output(0));
        of_norm.unwrap_or(self.layer.output)
    }

    pub fn channels(&self) -> usize {
        self.layer.weight.dims[0]
    }

    /// The names of S's tensors, in the order of F's.
    pub fn originals(&self) -> Vec<&'g str> {
        let conv = self.layer.node;
        let from_conv = [conv.input(1), conv.input(2)].into_iter().flatten();
        let of_norm = self.norm.into_iter();
        let of_norm = of_norm.flat_map(|norm| (1..5).filter_map(|i| norm.input(i)));
        from_conv.chain(of_norm).collect()
    }

    /// Whether anything else reads one of S's tensors.
    pub fn is_shared(&self, graph: &Graph) -> bool {
        let mut inside = Vec::new();
        for inner in graph.nodes.iter().flat_map(Node::subgraphs) {
            captured_names(inner, &mut inside, 0);
        }
        let read = graph.nodes.iter().flat_map(Node::present_inputs);
        let outputs = graph.outputs.iter().map(|o| o.name.as_str());
        let all: Vec<&str> = read.chain(outputs).chain(inside).collect();
        let originals = self.originals();
        let times = |name: &str| all.iter().filter(|n| **n == name).count();
        originals.into_iter().any(|name| times(name) != 1)
    }

    /// The names of F's tensors, and whether they are trained.
    pub fn copies(&self, weight: &str) -> Vec<(String, bool)> {
        let bias = self.layer.node.input(2).map(|_| ("bias", true));
        let norm = self.norm.into_iter().flat_map(|_| OF_NORM);
        let parts = [("weight", true)].into_iter().chain(bias).chain(norm);
        parts
            .map(|(part, trained)| (name(weight, part), trained))
            .collect()
    }
}

/// Whether a node is a BatchNormalization of `value` that infers, with tensors that can be copied.
fn is_own_norm(graph: &Graph, node: &Node, value: &str) -> Result<bool, SurgeryError> {
    let infers = node.present_outputs().count() == 1 && node.int("training_mode", 0)? == 0;
    let has_tensors = (1..5).all(|i| node.input(i).is_some_and(|t| tensor(graph, t).is_some()));
    let is_read_once = node.present_inputs().filter(|i| *i == value).count() == 1;
    let is_output = graph
        .outputs
        .iter()
        .any(|o| Some(o.name.as_str()) == node.output(0));
    Ok(node.is("BatchNormalization")
        && node.input(0) == Some(value)
        && infers
        && has_tensors
        && is_read_once
        && !is_output)
}
