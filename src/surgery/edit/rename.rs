//! Other names for values and nodes.

use std::collections::HashSet;

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

use super::super::SurgeryError;
use super::super::difference::{Difference, Part, What};
use super::{Editor, all_graphs, defined, ensure_free, inner_graphs, node_key, value_names};

impl Editor<'_> {
    /// Gives the value `from` of the main graph the name `to`, wherever it is named: where it is made or
    /// declared, at the nodes that read it, in the graphs inside of nodes, in quantisation annotations.
    /// Bodies of functions have names of their own.
    ///
    /// # Errors
    /// When the graph has no such value, or one of the new name, now or in the original; when a graph
    /// inside of a node makes a value of either name, which would take the place of this one there; and
    /// when the model carries training graphs, which name values in ways that are not followed.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), SurgeryError> {
        if !has_value(self.graph(), from) {
            return Err(SurgeryError::NoValue {
                value: from.to_owned(),
            });
        }
        let nodes = self.graph().node.iter();
        if let Some(node) = nodes.into_iter().find(|n| makes_inside(n, &[from, to])) {
            return Err(SurgeryError::Shadowed {
                value: from.to_owned(),
                node: node_key(node),
            });
        }
        let mut taken: HashSet<String> = HashSet::new();
        for graph in [self.original.graph(), self.graph()] {
            taken.extend(defined(graph).into_iter().map(str::to_owned));
        }
        ensure_free(to, &taken)?;
        if !self.proto.training_info.is_empty() {
            return Err(SurgeryError::TrainingGraphs {
                value: from.to_owned(),
            });
        }
        rename_value(self.graph_mut(), from, to);
        let named = self.touched.iter().filter(|(_, name)| name == from);
        let renamed: Vec<_> = named.map(|(part, _)| (*part, to.to_owned())).collect();
        self.touched.extend(renamed);
        if self.added.remove(from) {
            self.added.insert(to.to_owned());
        } else {
            let before = self.before.to_mut().graph.get_or_insert_default();
            rename_value(before, from, to);
            self.renamed(Part::Value, from, to);
        }
        Ok(())
    }

    /// Gives the node named `from` the name `to`.
    ///
    /// # Errors
    /// When no node has the old name, or several, or a node has the new one, now or in the original.
    pub fn rename_node(&mut self, from: &str, to: &str) -> Result<(), SurgeryError> {
        let is_it = |n: &&NodeProto| n.name.as_deref() == Some(from);
        let mut found = self.graph().node.iter().filter(is_it);
        let Some(node) = found.next().filter(|_| !from.is_empty()) else {
            return Err(SurgeryError::NoNode {
                node: from.to_owned(),
            });
        };
        if found.next().is_some() {
            return Err(SurgeryError::SeveralNodes {
                node: from.to_owned(),
            });
        }
        let is_new = node.output.iter().any(|o| self.added.contains(o));
        let graphs = [self.original.graph(), self.graph()];
        let nodes = graphs.into_iter().flat_map(|graph| &graph.node);
        let taken: HashSet<String> = nodes.filter_map(|n| n.name.clone()).collect();
        ensure_free(to, &taken)?;
        rename_node(self.graph_mut(), from, to);
        if !is_new {
            rename_node(self.before.to_mut().graph.get_or_insert_default(), from, to);
            self.renamed(Part::Node, from, to);
        }
        Ok(())
    }

    fn renamed(&mut self, part: Part, from: &str, to: &str) {
        self.renames.push(Difference {
            scope: Vec::new(),
            part,
            name: from.to_owned(),
            what: What::Renamed { to: to.to_owned() },
        });
    }
}

/// Those of `renames` whose values and nodes `graph` still has under their new names.
pub(super) fn lasting(renames: Vec<Difference>, graph: &GraphProto) -> Vec<Difference> {
    let mut values = value_names(graph);
    let mut nodes: HashSet<String> = graph.node.iter().filter_map(|n| n.name.clone()).collect();
    let mut lasting: Vec<Difference> = Vec::new();
    for rename in renames.into_iter().rev() {
        let names = match rename.part {
            Part::Node => &mut nodes,
            _ => &mut values,
        };
        if let What::Renamed { to } = &rename.what
            && names.remove(to)
        {
            names.insert(rename.name.clone());
            lasting.push(rename);
        }
    }
    lasting.reverse();
    lasting
}

/// Whether a graph inside of `node` makes a value of one of these names.
fn makes_inside(node: &NodeProto, names: &[&str]) -> bool {
    let inside = inner_graphs(node).flat_map(all_graphs);
    inside
        .map(defined)
        .any(|own| names.iter().any(|name| own.contains(name)))
}

/// Whether the main graph makes or is given the value.
pub(super) fn has_value(graph: &GraphProto, name: &str) -> bool {
    !name.is_empty() && defined(graph).contains(name)
}

/// Renames a value wherever `graph` and the graphs inside of its nodes name it.
pub(super) fn rename_value(graph: &mut GraphProto, from: &str, to: &str) {
    let set = |name: &mut String| {
        if name == from {
            to.clone_into(name);
        }
    };
    let inputs = graph.input.iter_mut().chain(&mut graph.output);
    for info in inputs.chain(&mut graph.value_info) {
        info.name.iter_mut().for_each(set);
    }
    for tensor in &mut graph.initializer {
        tensor.name.iter_mut().for_each(set);
    }
    for sparse in &mut graph.sparse_initializer {
        let values = sparse.values.iter_mut();
        values.flat_map(|v| &mut v.name).for_each(set);
    }
    for annotation in &mut graph.quantization_annotation {
        annotation.tensor_name.iter_mut().for_each(set);
        let tensors = annotation.quant_parameter_tensor_names.iter_mut();
        tensors.flat_map(|t| &mut t.value).for_each(set);
    }
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(set);
        let devices = node.device_configurations.iter_mut();
        let sharded = devices.flat_map(|d| &mut d.sharding_spec);
        sharded.flat_map(|s| &mut s.tensor_name).for_each(set);
        for graph in node
            .attribute
            .iter_mut()
            .flat_map(AttributeProto::subgraphs_mut)
        {
            rename_value(graph, from, to);
        }
    }
}

/// Renames the first node of that name; whether there is one.
pub(super) fn rename_node(graph: &mut GraphProto, from: &str, to: &str) -> bool {
    let mut nodes = graph.node.iter_mut();
    let found = nodes.find(|n| n.name.as_deref() == Some(from));
    found.map(|node| node.name = Some(to.to_owned())).is_some()
}
