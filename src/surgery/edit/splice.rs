//! Nodes in the middle of a graph.

use std::collections::HashSet;

use crate::graph::GraphError;
use crate::onnx::messages::{GraphProto, NodeProto};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::order::in_order;
use super::{Editor, all_graphs, defined, inner_graphs, node_key};

impl Editor<'_> {
    /// Adds nodes directly behind the one that makes `value` (before all others where none does), and makes
    /// all other nodes that read `value` read `instead`. The added nodes read `value` itself.
    ///
    /// # Errors
    /// When the graph has no such value, it is an output of the graph, or a graph inside of a node reads it;
    /// when an added node has no operator or no output, an output or its name is taken, or it reads a value
    /// that is not made before it (in a graph whose own nodes are in order: in another its readers sort it); and
    /// when the added nodes do not make `instead`.
    pub fn splice(
        &mut self,
        value: &str,
        nodes: Vec<NodeProto>,
        instead: &str,
    ) -> Result<(), SurgeryError> {
        let at = self.check_splice(value, &nodes, instead)?;
        for node in &nodes {
            self.added.extend(node.output.iter().cloned());
            self.touch(Part::Node, node_key(node));
        }
        let graph = self.graph_mut();
        let mut readers = Vec::new();
        for node in &mut graph.node {
            let mut reads = false;
            for input in node.input.iter_mut().filter(|i| *i == value) {
                instead.clone_into(input);
                reads = true;
            }
            if reads {
                readers.push(node_key(node));
            }
        }
        graph.node.splice(at..at, nodes);
        for reader in readers {
            self.touch(Part::Node, reader);
        }
        Ok(())
    }

    /// Checks a splice, and gives the place among the nodes where it is made.
    fn check_splice(
        &self,
        value: &str,
        nodes: &[NodeProto],
        instead: &str,
    ) -> Result<usize, SurgeryError> {
        let refuse = |reason: &str| {
            Err(SurgeryError::Rewrite {
                value: value.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let graph = self.graph();
        if !self.defined().contains(value) {
            return Err(SurgeryError::NoValue {
                value: value.to_owned(),
            });
        }
        if graph
            .output
            .iter()
            .any(|o| o.name.as_deref() == Some(value))
        {
            return refuse("it is an output of the graph");
        }
        let mut inside = graph
            .node
            .iter()
            .flat_map(inner_graphs)
            .flat_map(all_graphs);
        if inside.any(|g| names(g, value)) {
            return refuse("a graph inside of a node names it");
        }
        if !nodes.iter().any(|n| n.output.iter().any(|o| o == instead)) {
            return Err(SurgeryError::NoValue {
                value: instead.to_owned(),
            });
        }
        let makes = |n: &NodeProto| n.output.iter().any(|o| o == value);
        let at = graph.node.iter().position(makes).map_or(0, |at| at + 1);
        let mut made = HashSet::new();
        for node in nodes {
            self.check_new(node, nodes)?;
            let mut outputs = node.output.iter().filter(|o| !o.is_empty());
            if let Some(twice) = outputs.find(|o| !made.insert(o.as_str())) {
                return Err(SurgeryError::Taken {
                    name: twice.clone(),
                });
            }
        }
        // In a file whose nodes stand in any order, so may these.
        let behind = if in_order(graph) {
            &graph.node[at..]
        } else {
            &[]
        };
        let later = behind.iter().flat_map(|n| &n.output);
        let mut missing: Vec<&String> = later.chain(nodes.iter().flat_map(|n| &n.output)).collect();
        for node in nodes {
            let early = |i: &&String| !i.is_empty() && missing.contains(i);
            if let Some(early) = node.input.iter().find(early) {
                return Err(GraphError::Undefined {
                    node: node_key(node),
                    value: early.clone(),
                }
                .into());
            }
            missing.retain(|name| !node.output.contains(name));
        }
        Ok(at)
    }
}

/// Whether a node of `graph`, or one of its outputs, names `value`, which is not its own.
fn names(graph: &GraphProto, value: &str) -> bool {
    let reads = graph.node.iter().flat_map(|n| &n.input).any(|i| i == value);
    let gives = graph
        .output
        .iter()
        .any(|o| o.name.as_deref() == Some(value));
    (reads || gives) && !defined(graph).contains(value)
}
