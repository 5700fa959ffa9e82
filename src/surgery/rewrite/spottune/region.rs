//! Blocks of a graph: regions that begin at one value and end at one, of which nothing else reads what is between.
//!
//! A residual block is found at the sum that ends it. Where one summand is what the other is made of, it is what lies
//! between the two; where the shortcut is computed as well, it is all from the last value that both summands are made of to
//! the sum. A sum inside of a residual block (of an attention's parts, of three branches) is part of it; where a skip goes round
//! several residual blocks, these are the blocks.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::operators::{Class, Data};
use crate::graph::{Attribute, Graph, Node, Weight, captured_names, following, weights};
use crate::layout::TO_NCHW;

use super::super::layer::tensor;

/// Some nodes that work on data, between two values.
#[derive(Debug)]
pub(super) struct Region<'g> {
    /// The one value of the data that is read from outside.
    pub from: &'g str,
    /// The one that is made for outside.
    pub to: &'g str,
    /// Places of the nodes, in order.
    pub nodes: Vec<usize>,
    /// Names of the tensors that can be trained, each once.
    pub weights: Vec<&'g str>,
    /// Whether one of them is the weight of a layer, and not a scale or a shift.
    has_layer: bool,
}

impl Region<'_> {
    /// The place of the last node.
    pub fn end(&self) -> usize {
        self.nodes.last().copied().unwrap_or_default()
    }

    /// Whether a node is in both.
    pub fn meets(&self, other: &Region<'_>) -> bool {
        self.nodes.iter().any(|at| other.nodes.contains(at))
    }

    fn contains(&self, other: &Region<'_>) -> bool {
        other.nodes.iter().all(|at| self.nodes.contains(at))
    }

    /// Whether the channels of what it reads are the last axis, by the first layer or normalisation that reads it.
    pub fn reads_channels_last(&self, graph: &Graph) -> bool {
        for node in self.nodes.iter().map(|&at| &graph.nodes[at]) {
            let perm = node.attributes.get("perm");
            if node.is("Transpose") && perm == Some(&Attribute::Ints(TO_NCHW.to_vec())) {
                return true;
            }
            if let Some(operator) = node.operator()
                && matches!(operator.class, Class::Layer(_) | Class::Norm)
            {
                return operator.data == Data::Any;
            }
        }
        false
    }
}

/// How data flow through a graph. A *place* is 0, where the graph's inputs come from, or that of a node plus 1.
pub(super) struct Flow<'g> {
    graph: &'g Graph,
    producers: HashMap<&'g str, usize>,
    consumers: HashMap<&'g str, Vec<usize>>,
    /// Values that depend on the inputs.
    data: HashSet<&'g str>,
    /// Values that are outputs, or that a graph inside of a node reads.
    held: HashSet<&'g str>,
    weights: Vec<Weight<'g>>,
    /// Of each place the last before it that all its data pass, and how many of these there are up to the inputs.
    above: Vec<(usize, usize)>,
}

impl<'g> Flow<'g> {
    pub fn new(graph: &'g Graph) -> Self {
        let mut held: Vec<&str> = graph.outputs.iter().map(|o| o.name.as_str()).collect();
        for inner in graph.nodes.iter().flat_map(Node::subgraphs) {
            captured_names(inner, &mut held, 0);
        }
        let mut flow = Flow {
            producers: graph.producers(),
            consumers: graph.consumers(),
            data: following(graph, graph.inputs.iter().map(|v| v.name.as_str())),
            held: held.into_iter().collect(),
            weights: weights(graph),
            above: vec![(0, 0)],
            graph,
        };
        for node in &graph.nodes {
            let read: Vec<usize> = flow.read(node).map(|value| flow.place(value)).collect();
            let common = |a, b| flow.common(a, b);
            let above = match node.subgraphs().next() {
                None => read.into_iter().reduce(common).unwrap_or(0),
                Some(_) => 0,
            };
            flow.above.push((above, flow.above[above].1 + 1));
        }
        flow
    }

    /// The data that a node reads.
    fn read(&self, node: &'g Node) -> impl Iterator<Item = &'g str> {
        node.present_inputs().filter(|v| self.data.contains(v))
    }

    fn place(&self, value: &str) -> usize {
        self.producers.get(value).map_or(0, |at| at + 1)
    }

    /// The last place that all data of both pass.
    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            if self.above[a].1 >= self.above[b].1 {
                a = self.above[a].0;
            } else {
                b = self.above[b].0;
            }
        }
        a
    }

    /// The region that begins behind `entry` and ends with the node at `exit`.
    fn region(&self, entry: usize, exit: usize) -> Option<Region<'g>> {
        let nodes = &self.graph.nodes;
        let mut made = nodes[exit].present_outputs();
        let (Some(to), None) = (made.next(), made.next()) else {
            return None;
        };
        let mut from = None;
        let mut inside = BTreeSet::from([exit]);
        let mut open = vec![exit];
        while let Some(at) = open.pop() {
            if nodes[at].subgraphs().next().is_some() {
                return None;
            }
            for value in self.read(&nodes[at]) {
                match self.place(value) {
                    place if place == entry => {
                        if *from.get_or_insert(value) != value {
                            return None;
                        }
                    }
                    // Another input of the graph.
                    0 => return None,
                    place => {
                        if inside.insert(place - 1) {
                            open.push(place - 1);
                        }
                    }
                }
            }
        }
        let is_own = |value: &str| {
            let readers = self.consumers.get(value).into_iter().flatten();
            !self.held.contains(value)
                && readers
                    .into_iter()
                    .all(|r| inside.contains(r) || nodes[*r].gives_sizes())
        };
        let mut between = inside.iter().filter(|at| **at != exit);
        if !self.data.contains(to)
            || self.held.contains(to)
            || !between.all(|at| nodes[*at].present_outputs().all(is_own))
        {
            return None;
        }
        let mut region = Region {
            from: from?,
            to,
            nodes: inside.into_iter().collect(),
            weights: Vec::new(),
            has_layer: false,
        };
        for &at in &region.nodes {
            let places = match nodes[at].operator().map(|o| o.class) {
                Some(Class::Layer(places)) => places,
                _ => &[],
            };
            for weight in self.weights_at(at) {
                if tensor(self.graph, weight.name).is_none() {
                    continue;
                }
                region.has_layer |= places.contains(&weight.place);
                if !region.weights.contains(&weight.name) {
                    region.weights.push(weight.name);
                }
            }
        }
        region.has_layer.then_some(region)
    }

    fn weights_at(&self, node: usize) -> impl Iterator<Item = &Weight<'g>> {
        let first = self.weights.partition_point(|w| w.node < node);
        let own = move |w: &&Weight<'g>| w.node == node;
        self.weights[first..].iter().take_while(own)
    }

    /// The region between two values.
    pub fn between(&self, from: &str, to: &str) -> Option<Region<'g>> {
        let exit = *self.producers.get(to)?;
        let region = self.region(self.place(from), exit)?;
        (region.from == from && region.to == to).then_some(region)
    }

    /// The smallest region that has these weights, and no others.
    pub fn around(&self, names: &[&str]) -> Option<Region<'g>> {
        let own = self.weights.iter().filter(|w| names.contains(&w.name));
        let own: BTreeSet<usize> = own.map(|w| w.node).collect();
        let above = own.iter().map(|at| self.above[at + 1].0);
        let entry = above.reduce(|a, b| self.common(a, b))?;
        for exit in *own.last()?..self.graph.nodes.len() {
            if self.weights_at(exit).any(|w| !names.contains(&w.name)) {
                return None;
            }
            let has_all = |r: &Region<'_>| own.iter().all(|at| r.nodes.contains(at));
            let region = self.region(entry, exit);
            if let Some(region) = region.filter(has_all) {
                let all = region.weights.iter().all(|w| names.contains(w));
                return all.then_some(region);
            }
        }
        None
    }

    /// The residual blocks, in order.
    pub fn residual(&self) -> Vec<Region<'g>> {
        let mut found: Vec<Region<'g>> = Vec::new();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let Some(region) = self.residual_of(at, node) else {
                continue;
            };
            let met: Vec<usize> = (0..found.len())
                .filter(|&i| found[i].meets(&region))
                .collect();
            match met.as_slice() {
                [] => found.push(region),
                &[inner] if region.contains(&found[inner]) => found[inner] = region,
                _ => {}
            }
        }
        found.sort_by_key(Region::end);
        found
    }

    /// The residual block that a sum ends.
    fn residual_of(&self, at: usize, node: &'g Node) -> Option<Region<'g>> {
        let summands: Vec<&str> = self.read(node).collect();
        let [a, b] = summands[..] else { return None };
        if !(node.is("Add") || node.is("Sum")) || a == b {
            return None;
        }
        let (of_a, of_b) = (self.place(a), self.place(b));
        let entry = self.common(of_a, of_b);
        let branch = if entry == of_a {
            self.region(of_a, of_b.checked_sub(1)?)
                .filter(|r| r.from == a)
        } else if entry == of_b {
            self.region(of_b, of_a.checked_sub(1)?)
                .filter(|r| r.from == b)
        } else {
            None
        };
        // A summand may be one of several that the same node makes.
        branch.or_else(|| self.region(entry, at))
    }
}
