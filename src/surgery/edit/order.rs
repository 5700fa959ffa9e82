//! The order of nodes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::onnx::messages::{GraphProto, NodeProto};

use super::super::difference::Part;
use super::keep::reads;
use super::{Editor, node_key};

impl Editor<'_> {
    /// Puts each node of the main graph behind those that make what it reads, as ONNX asks; nodes that are in
    /// order stay where they are.
    pub fn sort(&mut self) {
        if in_order(self.graph()) {
            return;
        }
        let order = order(self.graph());
        let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut self.graph_mut().node)
            .into_iter()
            .map(Some)
            .collect();
        // Nodes of a circle, which no runtime takes, stay behind all others.
        let rest = 0..nodes.len();
        let all = order.into_iter().chain(rest);
        let sorted: Vec<NodeProto> = all.filter_map(|at| nodes[at].take()).collect();
        for node in &sorted {
            self.touch(Part::Node, node_key(node));
        }
        self.graph_mut().node = sorted;
    }
}

/// Where each value is made.
fn makers(graph: &GraphProto) -> HashMap<&str, usize> {
    let nodes = graph.node.iter().enumerate();
    let made = nodes.flat_map(|(at, node)| node.output.iter().map(move |o| (o.as_str(), at)));
    made.filter(|(name, _)| !name.is_empty()).collect()
}

/// Whether every node stands behind those that make what it reads.
pub(super) fn in_order(graph: &GraphProto) -> bool {
    let makers = makers(graph);
    let is_behind = |(at, node): (usize, &NodeProto)| {
        let mut before = reads(node).into_iter().filter_map(|i| makers.get(i));
        before.all(|&maker| maker < at)
    };
    graph.node.iter().enumerate().all(is_behind)
}

/// The places of the nodes in such an order, the first of those that can come first.
fn order(graph: &GraphProto) -> Vec<usize> {
    let makers = makers(graph);
    let mut missing = vec![0usize; graph.node.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        for &maker in reads(node).into_iter().filter_map(|i| makers.get(i)) {
            waiting[maker].push(at);
            missing[at] += 1;
        }
    }
    let first = missing.iter().enumerate().filter(|(_, m)| **m == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = first.map(|(at, _)| Reverse(at)).collect();
    let mut order = Vec::with_capacity(graph.node.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for &next in &waiting[at] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    order
}
