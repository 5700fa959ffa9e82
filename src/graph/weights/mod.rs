//! Which constants of a graph are weights.
//!
//! The one definition, for everything that trains, differentiates, counts or lists them:
//!
//! - A weight is a float tensor, an initializer or what a `Constant` node holds, that an operator of the
//!   list in `places` reads at one of the inputs given there: the filters, matrices, biases and scales
//!   of layers, tables that are looked up, and what is added to, multiplied with or joined to the data
//!   (class tokens, position embeddings, layer scales). All other inputs are settings: sizes, thresholds,
//!   bounds, exponents, coordinates.
//! - It may be computed with before it meets the data: cast, rearranged, standardised,
//!   multiplied out, looked up.
//! - Running statistics are none, whether a `BatchNormalization` reads them or one that is written out
//!   ([`statistics`]).
//! - A single number is none: 0.5 and √2 of a Gelu, 1/√d of an attention, an epsilon. It is one where an
//!   operator has its own input for it (the bias of a convolution of one channel, the slope of a PRelu),
//!   where it is the bias of a layer with one output and no other bias, whose result nothing else reads
//!   (the 3 of a hard-swish is none), and where it is of rank 1 or more and its name is
//!   that of a module's member, as PyTorch writes them (`blocks.3.gain`), and nothing else reads it.
//! - Ones and zeros that an exporter wrote where a normalisation has no scale or shift are none ([`filler`]).
//! - What scales or shifts the pixels before the first layer is none, nor is a mask: a tensor that varies
//!   along several axes and holds but 0 and 1, or 0 and numbers of −100 or less.

mod filler;
mod places;
mod statistics;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::operators::Elements;
use super::reach::gives_no_floats;
use super::{Attribute, Graph, Node, following};
use crate::onnx::Tensor;
use filler::is_filler;
use places::{carried, mixes, places};

pub(super) use places::takes_batch_statistics;

/// A weight, at a node that works on data with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight<'g> {
    /// Name of the initializer, or of the output of the `Constant` node.
    pub name: &'g str,
    /// Index of the node at which it meets the data.
    pub node: usize,
    /// The input of that node through which it does.
    pub place: usize,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Whether the node reads its elements as they are, cast at most.
    pub unchanged: bool,
}

impl Weight<'_> {
    /// Number of its elements.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether it varies along one axis at most, as a bias or a scale per channel does.
    pub fn is_per_channel(&self) -> bool {
        is_vector(&self.dims)
    }
}

/// A value without data that is made of more weights than this is not followed.
const MOST_JOINED: usize = 64;

/// The weights of a graph, one entry per node and input at which one meets the data, in the order of the
/// nodes. Whether the output depends on them is not asked; see [`reaching`](super::reaching).
pub fn weights(graph: &Graph) -> Vec<Weight<'_>> {
    let constants = constants(graph);
    let producers = graph.producers();
    let data = following(graph, graph.inputs.iter().map(|v| v.name.as_str()));
    let statistics = statistics::names(graph, &constants, &producers, &data);
    let mut search = Search {
        made: constants
            .keys()
            .filter(|name| !statistics.contains(*name))
            .map(|&name| (name, Rc::from([name])))
            .collect(),
        cast: constants.keys().map(|&name| (name, name)).collect(),
        graph,
        constants,
        producers,
        consumers: graph.consumers(),
        data,
        behind: HashSet::new(),
        found: Vec::new(),
    };
    for index in 0..graph.nodes.len() {
        search.visit(index);
    }
    search.found
}

struct Search<'g> {
    graph: &'g Graph,
    constants: HashMap<&'g str, Constant<'g>>,
    producers: HashMap<&'g str, usize>,
    consumers: HashMap<&'g str, Vec<usize>>,
    /// Values that depend on the graph's inputs.
    data: HashSet<&'g str>,
    /// What values that do not are made of.
    made: HashMap<&'g str, Rc<[&'g str]>>,
    /// Constants and what is but a cast of one, with that constant.
    cast: HashMap<&'g str, &'g str>,
    /// Values that some layer has worked on.
    behind: HashSet<&'g str>,
    found: Vec<Weight<'g>>,
}

impl<'g> Search<'g> {
    fn visit(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        if reads(node, &self.data) {
            let after_layer = reads(node, &self.behind);
            let mut taken = Vec::new();
            // What is mixed with pixels scales them.
            if after_layer || !mixes(node) {
                for place in places(node, self.graph.opset) {
                    self.take(index, place, &mut taken);
                }
            }
            if after_layer || !mixes(node) && !taken.is_empty() {
                self.behind.extend(node.present_outputs());
            }
            self.found.append(&mut taken);
        } else if !gives_no_floats(node) {
            let mut taken = Vec::new();
            for place in carried(node, self.graph.opset) {
                self.take(index, place, &mut taken);
            }
            let mut names: Vec<&str> = taken.iter().map(|w| w.name).collect();
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(*name));
            if (1..=MOST_JOINED).contains(&names.len()) {
                let names: Rc<[&str]> = names.into();
                let outputs = node.present_outputs();
                self.made.extend(outputs.map(|o| (o, Rc::clone(&names))));
            }
            if matches!(node.elements(), Elements::Same | Elements::Converted)
                && let (Some(from), Some(to)) = (node.input(0), node.output(0))
                && let Some(&constant) = self.cast.get(from)
            {
                self.cast.insert(to, constant);
            }
        }
    }

    /// Adds the weights that the node reads at `place` to `taken`.
    fn take(&self, index: usize, place: usize, taken: &mut Vec<Weight<'g>>) {
        let node = &self.graph.nodes[index];
        let value = node.input(place).filter(|v| !self.data.contains(v));
        let made = value.and_then(|v| Some((v, self.made.get(v)?)));
        let Some((value, names)) = made else { return };
        for &name in names.iter() {
            let counts = match mixes(node) {
                true => self.counts_where_mixed(node, value, name),
                // A number as the bias of several features is none of theirs.
                false if node.is("Gemm") && place == 2 && self.constants[name].len() == 1 => {
                    output_features(self.graph, index, taken) == Some(1)
                }
                false => !is_filler(node, place, name, &self.constants[name]),
            };
            if counts {
                taken.push(Weight {
                    name,
                    node: index,
                    place,
                    dims: self.constants[name].dims(),
                    unchanged: self.cast.get(value) == Some(&name),
                });
            }
        }
    }

    /// Whether the constant `name`, of which `value` is made, is a weight where `node` mixes it with others.
    fn counts_where_mixed(&self, node: &Node, value: &str, name: &str) -> bool {
        let constant = &self.constants[name];
        if constant.len() != 1 {
            return !constant.is_mask();
        }
        let readers = |value: &str| self.consumers.get(value).map_or(0, Vec::len);
        let is_bias = || {
            let other = node.present_inputs().find(|v| *v != value);
            let other = other.filter(|v| node.is("Add") && readers(v) == 1);
            let product = other.and_then(|v| self.producers.get(v).copied());
            product.is_some_and(|at| {
                output_features(self.graph, at, &self.found) == Some(1)
                    && self.graph.nodes[at].input(2).is_none()
            })
        };
        constant.is_member(name, readers(name)) || is_bias()
    }
}

/// A float tensor that may be a weight.
enum Constant<'g> {
    Tensor(&'g Tensor),
    Floats(&'g [f32]),
    /// In a `Constant` node, where exporters put numbers of their own.
    Node(&'g Tensor),
}

impl Constant<'_> {
    fn dims(&self) -> Vec<usize> {
        match self {
            Constant::Tensor(t) | Constant::Node(t) => t.dims.clone(),
            Constant::Floats(values) => vec![values.len()],
        }
    }

    fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether a single number is a member of a module, by its name, form and readers.
    fn is_member(&self, name: &str, readers: usize) -> bool {
        matches!(self, Constant::Tensor(t) if !t.dims.is_empty())
            && name.contains('.')
            && readers == 1
    }

    fn is_mask(&self) -> bool {
        const LOOKED_AT_FIRST: usize = 64;
        let (Constant::Tensor(tensor) | Constant::Node(tensor)) = self else {
            return false;
        };
        if is_vector(&tensor.dims) {
            return false;
        }
        let all =
            |values: &[f32], other: fn(f32) -> bool| values.iter().all(|&v| v == 0.0 || other(v));
        let (closed, one) = (|v: f32| v <= -100.0, |v: f32| v == 1.0);
        let begin = Tensor {
            dtype: tensor.dtype,
            dims: vec![tensor.len().min(LOOKED_AT_FIRST)],
            data: tensor
                .data
                .slice(..tensor.data.len().min(LOOKED_AT_FIRST * tensor.dtype.size())),
        };
        let first = begin.to_f32().unwrap_or_default();
        if !all(&first, closed) && !all(&first, one) {
            return false;
        }
        let values = tensor.to_f32().unwrap_or_default();
        all(&values, closed) && values.iter().any(|&v| closed(v))
            || all(&values, one) && values.contains(&0.0) && values.contains(&1.0)
    }
}

fn is_vector(dims: &[usize]) -> bool {
    dims.iter().filter(|&&d| d != 1).count() <= 1
}

/// The dimensions of all float tensors that a graph holds, initializers and those of `Constant` nodes, by name.
pub fn float_tensors(graph: &Graph) -> HashMap<&str, Vec<usize>> {
    let all = constants(graph).into_iter();
    all.map(|(name, constant)| (name, constant.dims()))
        .collect()
}

/// Float initializers and float tensors of `Constant` nodes, by value name.
fn constants(graph: &Graph) -> HashMap<&str, Constant<'_>> {
    let mut found: HashMap<&str, Constant<'_>> = HashMap::new();
    for (name, tensor) in graph
        .initializers
        .iter()
        .filter(|(_, t)| t.dtype.is_float())
    {
        found.insert(name, Constant::Tensor(tensor));
    }
    for node in graph.nodes.iter().filter(|n| n.is("Constant")) {
        let attribute = |name: &str| node.attributes.get(name);
        let constant = match (attribute("value"), attribute("value_floats")) {
            (Some(Attribute::Tensor(t)), _) if t.dtype.is_float() => Constant::Node(t),
            (_, Some(Attribute::Floats(values))) => Constant::Floats(values),
            _ => continue,
        };
        found.extend(node.output(0).map(|name| (name, constant)));
    }
    found
}

fn reads(node: &Node, values: &HashSet<&str>) -> bool {
    node.present_inputs().any(|v| values.contains(v))
}

/// The number of features that the node at `index` gives, by its weight among `weights`, which are in the
/// order of their nodes; `None` where the node is no convolution or dense product, or its weight is
/// computed with before, other than by a cast.
pub fn output_features(graph: &Graph, index: usize, weights: &[Weight<'_>]) -> Option<usize> {
    let node = &graph.nodes[index];
    let first = weights.partition_point(|w| w.node < index);
    let at_node = weights[first..].iter().take_while(|w| w.node == index);
    let mut own = at_node.filter(|w| w.unchanged);
    own.find_map(|w| match (node.op_type.as_str(), w.place) {
        ("MatMul", 1) => w.dims.last().copied().filter(|_| w.dims.len() > 1),
        ("MatMul", 0) => w.dims.get(w.dims.len().checked_sub(2)?).copied(),
        ("Conv" | "DeformConv", 1) => w.dims.first().copied(),
        ("ConvTranspose", 1) => {
            let group = usize::try_from(node.int("group", 1).ok()?).ok()?;
            w.dims.get(1)?.checked_mul(group)
        }
        ("Gemm", 1) => {
            let transposed = node.int("transB", 0).ok()? != 0;
            w.dims.get(usize::from(!transposed)).copied()
        }
        _ => None,
    })
}
