//! Keeping what serves some values.

use std::collections::{HashMap, HashSet};

use crate::graph::captured_names;
use crate::onnx::messages::{GraphProto, NodeProto, SparseTensorProto};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::{Editor, inner_graphs, node_key};

impl Editor<'_> {
    /// Removes what does not serve `values`: nodes, initializers, the graph inputs that stand for these
    /// (IR 3), noted types, quantisation annotations, and the outputs that are not among `values`.
    /// Other inputs stay declared. What graphs inside of nodes read counts as read by the node, and the tensors of a
    /// value's quantisation annotation as read with it.
    ///
    /// # Errors
    /// When the graph does not have one of the values.
    pub fn keep(&mut self, values: &[&str]) -> Result<(), SurgeryError> {
        let known = self.defined();
        if let Some(value) = values.iter().find(|v| !known.contains(**v)) {
            return Err(SurgeryError::NoValue {
                value: (*value).to_owned(),
            });
        }
        let (nodes, read) = serving(self.graph(), values);
        let read: HashSet<String> = read.into_iter().map(str::to_owned).collect();
        let mut dead: HashSet<String> = HashSet::new();
        let mut touched = Vec::new();
        let graph = self.graph_mut();
        let mut serves = nodes.into_iter();
        graph.node.retain(|node| {
            let serves = serves.next().unwrap_or(false);
            if !serves {
                touched.push((Part::Node, node_key(node)));
                dead.extend(node.output.iter().cloned());
            }
            serves
        });
        graph.initializer.retain(|tensor| {
            let name = tensor.name.clone().unwrap_or_default();
            let serves = read.contains(&name);
            if !serves {
                touched.push((Part::Tensor, name.clone()));
                dead.insert(name);
            }
            serves
        });
        graph.sparse_initializer.retain(|tensor| {
            let name = sparse_name(tensor);
            let serves = read.contains(&name);
            if !serves {
                touched.push((Part::SparseTensor, name.clone()));
                dead.insert(name);
            }
            serves
        });
        let mut lives = |part: Part, name: &Option<String>| {
            let name = name.clone().unwrap_or_default();
            let lives = match part {
                Part::Output => values.contains(&name.as_str()),
                _ => !dead.contains(&name),
            };
            if !lives {
                touched.push((part, name));
            }
            lives
        };
        graph.input.retain(|v| lives(Part::Input, &v.name));
        graph.output.retain(|v| lives(Part::Output, &v.name));
        graph.value_info.retain(|v| lives(Part::ValueInfo, &v.name));
        graph
            .quantization_annotation
            .retain(|a| lives(Part::Annotation, &a.tensor_name));
        self.touched.extend(touched);
        Ok(())
    }
}

/// Which nodes serve `values`, and all values that they read, `values` included.
pub(crate) fn serving<'g>(
    graph: &'g GraphProto,
    values: &[&'g str],
) -> (Vec<bool>, HashSet<&'g str>) {
    let mut makers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            makers.entry(output).or_default().push(i);
        }
    }
    let mut serves = vec![false; graph.node.len()];
    let mut read: HashSet<&str> = HashSet::new();
    let mut notes: HashMap<&str, Vec<&str>> = HashMap::new();
    for annotation in &graph.quantization_annotation {
        let tensors = annotation.quant_parameter_tensor_names.iter();
        notes
            .entry(annotation.tensor_name.as_deref().unwrap_or_default())
            .or_default()
            .extend(tensors.filter_map(|t| t.value.as_deref()));
    }
    let mut open: Vec<&str> = values.to_vec();
    while let Some(value) = open.pop() {
        if !read.insert(value) {
            continue;
        }
        open.extend(notes.get(value).into_iter().flatten());
        for &maker in makers.get(value).into_iter().flatten() {
            if !std::mem::replace(&mut serves[maker], true) {
                open.extend(reads(&graph.node[maker]));
            }
        }
    }
    (serves, read)
}

/// The values that a node reads, those that its inner graphs read from outside included.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in inner_graphs(node) {
        captured_names(graph, &mut names, 0);
    }
    names.retain(|name| !name.is_empty());
    names
}

fn sparse_name(tensor: &SparseTensorProto) -> String {
    let values = tensor.values.as_ref();
    values.and_then(|v| v.name.clone()).unwrap_or_default()
}
