//! Keeping what serves some values.

use std::collections::{HashMap, HashSet};

use crate::graph::captured_names;
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto, SparseTensorProto};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::{Editor, Named, inner_graphs, node_key};

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
        let gone = sweep(self.graph_mut(), values);
        let mut outputs = Vec::new();
        self.graph_mut().output.retain(|output| {
            let stays = values.contains(&output.name());
            if !stays {
                outputs.push((Part::Output, output.name().to_owned()));
            }
            stays
        });
        self.touched.extend(gone.into_iter().chain(outputs));
        Ok(())
    }

    /// Removes from graphs inside of nodes, at any depth, and from functions what does not serve their outputs. What they
    /// declare as inputs and outputs stays, as whoever runs them gives and takes these by their places.
    pub fn keep_inside(&mut self) {
        let mut scopes = Vec::new();
        for node in &mut self.graph_mut().node {
            if sweep_inside(node) {
                scopes.push(node_key(node));
            }
        }
        for function in &mut self.proto.functions {
            let mut body = GraphProto {
                node: std::mem::take(&mut function.node),
                value_info: std::mem::take(&mut function.value_info),
                ..GraphProto::default()
            };
            let outputs: Vec<&str> = function.output.iter().map(String::as_str).collect();
            let changed = body.node.iter_mut().fold(false, |c, n| sweep_inside(n) | c);
            let gone = sweep(&mut body, &outputs);
            (function.node, function.value_info) = (body.node, body.value_info);
            if changed || !gone.is_empty() {
                scopes.push(format!("function `{}`", Named::key(function)));
            }
        }
        self.scopes.extend(scopes);
    }
}

/// Removes from the graphs inside of a node what does not serve their outputs, from the innermost on; whether there was any.
fn sweep_inside(node: &mut NodeProto) -> bool {
    let mut changed = false;
    let attributes = node.attribute.iter_mut();
    for graph in attributes.flat_map(AttributeProto::subgraphs_mut) {
        for node in &mut graph.node {
            changed |= sweep_inside(node);
        }
        let declared = graph.output.iter().chain(&graph.input);
        let declared: Vec<String> = declared.map(|v| v.name().to_owned()).collect();
        let values: Vec<&str> = declared.iter().map(String::as_str).collect();
        changed |= !sweep(graph, &values).is_empty();
    }
    changed
}

/// Takes from a graph what does not serve `values`, outputs left alone; gives the parts that are gone.
fn sweep(graph: &mut GraphProto, values: &[&str]) -> Vec<(Part, String)> {
    let (nodes, read) = serving(graph, values);
    let read: HashSet<String> = read.into_iter().map(str::to_owned).collect();
    let mut dead: HashSet<String> = HashSet::new();
    let mut gone = Vec::new();
    let mut serves = nodes.into_iter();
    graph.node.retain(|node| {
        let serves = serves.next().unwrap_or(false);
        if !serves {
            gone.push((Part::Node, node_key(node)));
            dead.extend(node.output.iter().cloned());
        }
        serves
    });
    let mut serves = |part: Part, name: String| {
        let serves = read.contains(&name);
        if !serves {
            gone.push((part, name.clone()));
            dead.insert(name);
        }
        serves
    };
    graph
        .initializer
        .retain(|tensor| serves(Part::Tensor, tensor.name().to_owned()));
    graph
        .sparse_initializer
        .retain(|tensor| serves(Part::SparseTensor, sparse_name(tensor)));
    let mut lives = |part: Part, name: &str| {
        let lives = !dead.contains(name);
        if !lives {
            gone.push((part, name.to_owned()));
        }
        lives
    };
    graph.input.retain(|v| lives(Part::Input, v.name()));
    graph
        .value_info
        .retain(|v| lives(Part::ValueInfo, v.name()));
    graph.quantization_annotation.retain(|note| {
        lives(
            Part::Annotation,
            note.tensor_name.as_deref().unwrap_or_default(),
        )
    });
    gone
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
