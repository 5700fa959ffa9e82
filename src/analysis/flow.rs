//! The dataflow from a model's input to its output, and the nodes that every path passes.

use std::collections::HashSet;

use super::kinds::Index;

/// Which nodes compute data, rather than shapes or weights, and which of them all paths share.
pub(super) struct Flow {
    /// Nodes on some path from the image input to the main output.
    pub on_path: Vec<bool>,
    /// Nodes on every such path, from input to output.
    pub chain: Vec<usize>,
}

/// Nodes that are reached by data from `sources`. `Shape` and `Size` end a path: what follows
/// them steers shapes.
pub(super) fn data_nodes(index: &Index, sources: &[&str]) -> Vec<bool> {
    let mut values: HashSet<&str> = sources.iter().copied().collect();
    let mut data = vec![false; index.graph.nodes.len()];
    for (i, node) in index.graph.nodes.iter().enumerate() {
        if node.present_inputs().any(|v| values.contains(v)) {
            data[i] = true;
            if !node.gives_sizes() {
                values.extend(node.present_outputs());
            }
        }
    }
    data
}

/// Nodes among `data` that `value` depends on, the one that defines it included.
pub(super) fn ancestors(index: &Index, data: &[bool], value: &str) -> Vec<bool> {
    let mut needed: HashSet<&str> = HashSet::from([value]);
    let mut found = vec![false; data.len()];
    for (i, node) in index.graph.nodes.iter().enumerate().rev() {
        if data[i] && !node.gives_sizes() && node.present_outputs().any(|v| needed.contains(v)) {
            found[i] = true;
            needed.extend(node.present_inputs());
        }
    }
    found
}

impl Flow {
    /// The paths from the value `input` to the value `output`; `None` if there is none.
    pub fn between(index: &Index, input: &str, output: &str) -> Option<Self> {
        let data = data_nodes(index, &[input]);
        let on_path = ancestors(index, &data, output);
        if !on_path.contains(&true) {
            return None;
        }
        let last_reader = |value: &str| {
            let readers = index.consumers.get(value)?;
            readers.iter().copied().filter(|&r| on_path[r]).max()
        };
        // In topological order, a node is on every path exactly if no edge leaps over it.
        let mut reach = last_reader(input).unwrap_or(0);
        let mut chain = Vec::new();
        for (i, node) in index.graph.nodes.iter().enumerate() {
            if !on_path[i] {
                continue;
            }
            if reach <= i {
                chain.push(i);
            }
            let furthest = node.present_outputs().filter_map(last_reader).max();
            reach = reach.max(furthest.unwrap_or(0));
        }
        Some(Flow { on_path, chain })
    }
}
