//! Appending nodes to a graph under fresh names.

use std::collections::{HashMap, HashSet};

use crate::kernels::dialect::Kernel;
use crate::onnx::Tensor;

use super::{Attribute, Graph, Node};

/// Names that are taken.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: HashSet<String>,
    /// How many were made from a hint that was taken.
    made: HashMap<String, usize>,
}

impl Names {
    /// `hint`, with a number behind it where that is taken; it is taken from now on.
    pub(crate) fn fresh(&mut self, hint: &str) -> String {
        if self.taken.insert(hint.to_owned()) {
            return hint.to_owned();
        }
        let count = self.made.entry(hint.to_owned()).or_insert(1);
        loop {
            *count += 1;
            let name = format!("{hint}_{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Names {
            taken: names.into_iter().collect(),
            made: HashMap::new(),
        }
    }
}

/// Appends nodes and constants to a graph, each under a name that is not yet taken.
#[derive(Debug)]
pub struct Builder<'g> {
    graph: &'g mut Graph,
    names: Names,
    constants: HashMap<(Vec<usize>, i32, bytes::Bytes), String>,
}

impl<'g> Builder<'g> {
    /// A builder that appends to `graph`.
    pub fn new(graph: &'g mut Graph) -> Self {
        let names = graph
            .initializers
            .keys()
            .chain(graph.inputs.iter().map(|v| &v.name))
            .chain(graph.nodes.iter().flat_map(|n| &n.outputs))
            .cloned()
            .collect();
        Builder {
            graph,
            names,
            constants: HashMap::new(),
        }
    }

    /// The graph as it stands.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The graph itself, for what the builder does not do; the caller keeps names unique.
    pub fn graph_mut(&mut self) -> &mut Graph {
        self.graph
    }

    /// A name that is not yet taken, made from `hint`.
    pub fn fresh(&mut self, hint: &str) -> String {
        self.names.fresh(hint)
    }

    /// Appends a node with one output and returns the output's name.
    pub fn op(
        &mut self,
        hint: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        let output = self.fresh(hint);
        let mut node = Node::new(&output, op_type, inputs, &[&output]);
        for (name, value) in attributes {
            node = node.with(name, value);
        }
        self.graph.nodes.push(node);
        output
    }

    /// Appends a node with `outputs` outputs and returns their names.
    pub fn multi_op(
        &mut self,
        hint: &str,
        op_type: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<(&str, Attribute)>,
    ) -> Vec<String> {
        let names = self.fresh_outputs(hint, outputs);
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = Node::new(&names[0], op_type, inputs, &borrowed);
        for (name, value) in attributes {
            node = node.with(name, value);
        }
        self.graph.nodes.push(node);
        names
    }

    /// Appends a node that runs `kernel`, with `outputs` outputs, and returns their names.
    pub fn kernel(
        &mut self,
        hint: &str,
        kernel: &Kernel,
        inputs: &[&str],
        outputs: usize,
    ) -> Vec<String> {
        let names = self.fresh_outputs(hint, outputs);
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let node = Node::of_kernel(&names[0], kernel, inputs, &borrowed);
        self.graph.nodes.push(node);
        names
    }

    fn fresh_outputs(&mut self, hint: &str, count: usize) -> Vec<String> {
        (0..count)
            .map(|i| self.fresh(&format!("{hint}/{i}")))
            .collect()
    }

    /// The name of an initializer with this value; equal constants are made once.
    pub fn constant(&mut self, tensor: Tensor) -> String {
        let key = (
            tensor.dims.clone(),
            tensor.dtype as i32,
            tensor.data.clone(),
        );
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.fresh("const");
        self.graph.initializers.insert(name.clone(), tensor);
        self.constants.insert(key, name.clone());
        name
    }

    /// A float32 scalar constant.
    pub fn scalar(&mut self, value: f32) -> String {
        self.constant(Tensor::scalar_f32(value))
    }

    /// A one-dimensional int64 constant.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(Tensor::i64s(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_the_hundred_thousandth_is_made_as_fast_as_the_first() {
        let mut graph = Graph::new(21);
        let mut builder = Builder::new(&mut graph);
        let start = std::time::Instant::now();
        let names: HashSet<String> = (0..100_000).map(|_| builder.fresh("grad/x")).collect();
        assert_eq!(names.len(), 100_000);
        assert!(start.elapsed().as_secs() < 5);
        assert!(names.contains("grad/x") && names.contains("grad/x_100000"));
        // A name may look like one that was made.
        assert_eq!(builder.fresh("y_2"), "y_2");
        let more: Vec<String> = (0..3).map(|_| builder.fresh("y")).collect();
        assert_eq!(more, ["y", "y_3", "y_4"]);
    }
}
