//! A graph with what is looked up of it, and which nodes are layers or normalisations written out.

use std::collections::HashMap;

use crate::graph::operators::Class;
use crate::graph::{Graph, Node, Weight, weights};
use crate::onnx::Tensor;

/// Names of the value and dimensions of every constant, and who defines what.
pub(super) struct Index<'g> {
    pub graph: &'g Graph,
    pub producers: HashMap<&'g str, usize>,
    pub consumers: HashMap<&'g str, Vec<usize>>,
    pub constants: HashMap<&'g str, &'g Tensor>,
    /// In the order of their nodes.
    pub weights: Vec<Weight<'g>>,
}

impl<'g> Index<'g> {
    pub fn new(graph: &'g Graph) -> Self {
        Index {
            graph,
            producers: graph.producers(),
            consumers: graph.consumers(),
            constants: super::infer::constants(graph),
            weights: weights(graph),
        }
    }

    pub fn node(&self, index: usize) -> &'g Node {
        &self.graph.nodes[index]
    }

    /// The weights with which a node works on data.
    pub fn weights_at(&self, node: usize) -> impl Iterator<Item = &Weight<'g>> {
        let first = self.weights.partition_point(|w| w.node < node);
        self.weights[first..]
            .iter()
            .take_while(move |w| w.node == node)
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
            if !node.elements().is_rearrangement() {
                return None;
            }
            value = node.input(0)?;
        }
    }

    /// As [`Index::constant`], for float tensors only.
    pub fn float_constant(&self, value: &str) -> Option<(&'g str, &'g Tensor)> {
        self.constant(value).filter(|(_, t)| t.dtype.is_float())
    }

    /// The value that `value` is made of by nothing but nodes that `pass`.
    pub fn before(&self, value: &'g str, pass: impl Fn(&Node) -> bool) -> &'g str {
        let mut value = value;
        while let Some(node) = self.producer(value).map(|i| self.node(i))
            && pass(node)
            && let Some(input) = node.input(0)
        {
            value = input;
        }
        value
    }
}

/// Whether a node is half of a normalisation that an exporter wrote as a `Mul` and an `Add` of
/// constants with an element per feature, as it does with the stored statistics of a
/// `BatchNormalization` that follows no convolution.
pub(super) fn is_written_out_norm(index: &Index, at: usize) -> bool {
    let pair = if index.node(at).is("Mul") {
        let readers = index
            .node(at)
            .output(0)
            .and_then(|v| index.consumers.get(v));
        readers.and_then(|r| Some((at, *r.first()?)))
    } else {
        let mul = |weight: &Weight| index.producer(index.node(at).input(1 - weight.place.min(1))?);
        per_channel(index, at).and_then(|w| Some((mul(w)?, at)))
    };
    let Some((mul, add)) = pair else {
        return false;
    };
    let readers = index
        .node(mul)
        .output(0)
        .and_then(|v| index.consumers.get(v));
    index.node(mul).is("Mul")
        && index.node(add).is("Add")
        && readers.is_some_and(|r| r.len() == 1)
        && matches!(
            (per_channel(index, mul), per_channel(index, add)),
            (Some(scale), Some(shift))
                if scale.elements() > 1 && scale.elements() == shift.elements()
        )
}

/// The one weight that a node adds to its data or multiplies it by, if that varies by channel alone.
pub(super) fn per_channel<'i, 'g>(index: &'i Index<'g>, at: usize) -> Option<&'i Weight<'g>> {
    let node = index.node(at);
    let joins = node.is_a(Class::Affine);
    let mut weights = index.weights_at(at);
    let weight = weights.next().filter(|w| joins && w.is_per_channel())?;
    weights.next().is_none().then_some(weight)
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
pub(super) fn is_weighted(index: &Index, at: usize) -> bool {
    match index.node(at).operator().map(|o| o.class) {
        Some(Class::Layer(places)) => index.weights_at(at).any(|w| places.contains(&w.place)),
        _ => false,
    }
}
