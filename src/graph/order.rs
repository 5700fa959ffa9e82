//! The order of a graph's nodes, and which are needed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::onnx::messages::GraphProto;

use super::{Graph, GraphError, Node};

impl Graph {
    /// Brings the nodes into topological order (stable: the file's order where it already is one)
    /// and checks that every value is defined exactly once.
    ///
    /// # Errors
    /// [`GraphError::Redefined`], [`GraphError::Undefined`] or [`GraphError::Cycle`].
    pub fn sort(&mut self) -> Result<(), GraphError> {
        let mut defined: HashSet<&str> = HashSet::new();
        for name in self
            .inputs
            .iter()
            .map(|v| v.name.as_str())
            .chain(self.initializers.keys().map(String::as_str))
        {
            if !defined.insert(name) {
                return Err(GraphError::Redefined {
                    value: name.to_owned(),
                });
            }
        }
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for output in node.present_outputs() {
                if defined.contains(output) || producer.insert(output, i).is_some() {
                    return Err(GraphError::Redefined {
                        value: output.to_owned(),
                    });
                }
            }
        }
        let mut missing = vec![0usize; self.nodes.len()];
        let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in node.present_inputs() {
                if !defined.contains(input) && !producer.contains_key(input) {
                    return Err(GraphError::Undefined {
                        node: node.to_string(),
                        value: input.to_owned(),
                    });
                }
            }
            for input in names_read(node) {
                if let Some(&p) = producer.get(input) {
                    waiting[p].push(i);
                    missing[i] += 1;
                }
            }
        }
        for output in &self.outputs {
            let name = output.name.as_str();
            if !defined.contains(name) && !producer.contains_key(name) {
                return Err(GraphError::Undefined {
                    node: "(the graph's outputs)".to_owned(),
                    value: name.to_owned(),
                });
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> = missing
            .iter()
            .enumerate()
            .filter(|(_, m)| **m == 0)
            .map(|(i, _)| Reverse(i))
            .collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(Reverse(i)) = ready.pop() {
            order.push(i);
            for &next in &waiting[i] {
                missing[next] -= 1;
                if missing[next] == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
        if order.len() < self.nodes.len() {
            let stuck = missing.iter().position(|&m| m > 0).unwrap_or(0);
            return Err(GraphError::Cycle {
                node: self.nodes[stuck].to_string(),
            });
        }
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(Some)
            .collect();
        self.nodes = order.into_iter().filter_map(|i| nodes[i].take()).collect();
        Ok(())
    }

    /// Drops nodes and initializers that no output depends on. Declared inputs stay.
    pub fn prune(&mut self) {
        let mut needed: HashSet<String> = self.outputs.iter().map(|o| o.name.clone()).collect();
        let mut keep = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if node.present_outputs().any(|o| needed.contains(o)) {
                keep[i] = true;
                needed.extend(names_read(node).into_iter().map(str::to_owned));
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));
        self.initializers.retain(|name, _| needed.contains(name));
    }

    /// Leaves of the outputs the first alone, which is the class scores, and drops what neither it nor one of
    /// the values `further` depends on.
    pub fn only_scores(&mut self, further: &[&str]) {
        self.outputs.truncate(1);
        let scores = self.outputs.clone();
        self.outputs.extend(further.iter().map(|name| super::Value {
            name: (*name).to_owned(),
            dtype: crate::onnx::DataType::Float,
            dims: None,
        }));
        self.prune();
        self.outputs = scores;
    }

    /// Moves the nodes that no other node reads to the end, the last one first.
    ///
    /// onnxruntime runs a graph from such nodes: the last one of the file with all that it needs, then
    /// the one before it. A training step's nodes are those that give gradients of parameters, in the
    /// order of the backward pass. Left in it, each would wait for the last layer input's gradient, and
    /// all others would be kept in memory for them; the other way round each runs as soon as it can.
    pub fn leaves_last(&mut self) {
        let read: HashSet<String> = self
            .nodes
            .iter()
            .flat_map(names_read)
            .map(str::to_owned)
            .collect();
        let (inner, mut leaves): (Vec<Node>, Vec<Node>) = std::mem::take(&mut self.nodes)
            .into_iter()
            .partition(|node| node.present_outputs().any(|output| read.contains(output)));
        leaves.reverse();
        self.nodes = inner;
        self.nodes.append(&mut leaves);
    }
}

/// Names that a node reads, those in its subgraphs included.
pub(super) fn names_read(node: &Node) -> Vec<&str> {
    let mut names: Vec<&str> = node.present_inputs().collect();
    for subgraph in node.subgraphs() {
        captured_names(subgraph, &mut names, 0);
    }
    names
}

/// Names that a subgraph reads from the graphs around it.
pub(crate) fn captured_names<'a>(graph: &'a GraphProto, into: &mut Vec<&'a str>, depth: usize) {
    if depth > 32 {
        return;
    }
    let own: HashSet<&str> = graph
        .initializer
        .iter()
        .filter_map(|t| t.name.as_deref())
        .chain(graph.input.iter().filter_map(|v| v.name.as_deref()))
        .chain(
            graph
                .node
                .iter()
                .flat_map(|n| n.output.iter().map(String::as_str)),
        )
        .collect();
    let mut read: Vec<&str> = graph
        .output
        .iter()
        .filter_map(|v| v.name.as_deref())
        .collect();
    for node in &graph.node {
        read.extend(node.input.iter().map(String::as_str));
        for attribute in &node.attribute {
            for inner in attribute.subgraphs() {
                captured_names(inner, &mut read, depth + 1);
            }
        }
    }
    into.extend(
        read.into_iter()
            .filter(|n| !n.is_empty() && !own.contains(n)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_no_other_reads_stand_last_and_in_the_opposite_order() {
        let node = |name: &str, inputs: &[&str]| Node::new(name, "Sum", inputs, &[name]);
        let mut graph = Graph {
            nodes: vec![
                node("loss", &["x"]),
                node("a", &["x"]),
                node("of_a", &["a"]),
                node("b", &["a"]),
                node("of_b", &["a", "b"]),
            ],
            inputs: vec![crate::graph::Value::batched("x", &[1])],
            ..Graph::new(21)
        };
        graph.leaves_last();
        let names: Vec<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "of_b", "of_a", "loss"]);
        graph.sort().unwrap();
        assert_eq!(graph.nodes[2].name, "of_b", "sorting keeps it");
    }
}
