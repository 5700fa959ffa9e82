//! Other names for values and nodes.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::{AttributeProto, GraphProto};

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
        self.rename_all(&[(from.to_owned(), to.to_owned())])
    }

    /// As [`Editor::rename`], of many values at once; none of the new names may be an old one.
    ///
    /// # Errors
    /// As [`Editor::rename`], and when a value is named twice, or two get one name. Nothing is changed then.
    pub fn rename_all(&mut self, renames: &[(String, String)]) -> Result<(), SurgeryError> {
        let mut taken: HashSet<String> = HashSet::new();
        for graph in [self.original.graph(), self.graph()] {
            taken.extend(defined(graph).into_iter().map(str::to_owned));
        }
        let inside = made_inside(self.graph());
        let known = self.defined();
        let mut names: HashMap<&str, &str> = HashMap::new();
        for (from, to) in renames {
            if from.is_empty() || !known.contains(from.as_str()) {
                return Err(SurgeryError::NoValue {
                    value: from.clone(),
                });
            }
            if let Some(node) = [from, to]
                .into_iter()
                .find_map(|name| inside.get(name.as_str()))
            {
                return Err(SurgeryError::Shadowed {
                    value: from.clone(),
                    node: node.clone(),
                });
            }
            ensure_free(to, &taken)?;
            if names.insert(from, to).is_some() || !taken.insert(to.clone()) {
                return Err(SurgeryError::Taken { name: to.clone() });
            }
        }
        if let Some((from, _)) = renames.first()
            && !self.proto.training_info.is_empty()
        {
            return Err(SurgeryError::TrainingGraphs {
                value: from.clone(),
            });
        }
        rename_values(self.graph_mut(), &names);
        let named = self.touched.iter();
        let renamed: Vec<_> = named
            .filter_map(|(part, name)| Some((*part, (*names.get(name.as_str())?).to_owned())))
            .collect();
        self.touched.extend(renamed);
        let mut of_before = HashMap::new();
        for (from, to) in renames {
            if self.added.remove(from) {
                self.added.insert(to.clone());
            } else {
                of_before.insert(from.as_str(), to.as_str());
                self.renamed(Part::Value, from, to);
            }
        }
        if !of_before.is_empty() {
            let before = self.before.to_mut().graph.get_or_insert_default();
            rename_values(before, &of_before);
        }
        Ok(())
    }

    /// Gives the node named `from` the name `to`.
    ///
    /// # Errors
    /// When no node has the old name, or several, or a node has the new one, now or in the original.
    pub fn rename_node(&mut self, from: &str, to: &str) -> Result<(), SurgeryError> {
        self.rename_nodes(&[(from.to_owned(), to.to_owned())])
    }

    /// As [`Editor::rename_node`], of many nodes at once; none of the new names may be an old one.
    ///
    /// # Errors
    /// As [`Editor::rename_node`], and when two nodes get one name. Nothing is changed then.
    pub fn rename_nodes(&mut self, renames: &[(String, String)]) -> Result<(), SurgeryError> {
        let graphs = [self.original.graph(), self.graph()];
        let nodes = graphs.into_iter().flat_map(|graph| &graph.node);
        let mut taken: HashSet<String> = nodes.filter_map(|n| n.name.clone()).collect();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, node) in self.graph().node.iter().enumerate() {
            places.entry(node.name()).or_default().push(at);
        }
        let mut changes = Vec::new();
        let mut seen = HashSet::new();
        for (from, to) in renames {
            let node = || from.clone();
            let at = match places.get(from.as_str()).map(Vec::as_slice) {
                Some([at]) if !from.is_empty() && seen.insert(from) => *at,
                Some([_, _, ..]) => return Err(SurgeryError::SeveralNodes { node: node() }),
                _ => return Err(SurgeryError::NoNode { node: node() }),
            };
            ensure_free(to, &taken)?;
            taken.insert(to.clone());
            changes.push(at);
        }
        let mut of_before = HashMap::new();
        for (at, (from, to)) in changes.into_iter().zip(renames) {
            let node = &mut self.graph_mut().node[at];
            node.name = Some(to.clone());
            let outputs = node.output.clone();
            if !outputs.iter().any(|o| self.added.contains(o)) {
                of_before.insert(from.as_str(), to.as_str());
                self.renamed(Part::Node, from, to);
            }
        }
        if !of_before.is_empty() {
            let before = self.before.to_mut().graph.get_or_insert_default();
            for node in &mut before.node {
                // The first node of a name.
                if let Some(to) = of_before.remove(node.name()) {
                    node.name = Some(to.to_owned());
                }
            }
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

/// The values that graphs inside of nodes make, each with the node, by its first output.
fn made_inside(graph: &GraphProto) -> HashMap<&str, String> {
    let mut made = HashMap::new();
    for node in &graph.node {
        for inner in inner_graphs(node).flat_map(all_graphs) {
            made.extend(
                defined(inner)
                    .into_iter()
                    .map(|name| (name, node_key(node))),
            );
        }
    }
    made
}

/// Renames values wherever `graph` and the graphs inside of its nodes name them.
pub(crate) fn rename_values(graph: &mut GraphProto, names: &HashMap<&str, &str>) {
    let set = |name: &mut String| {
        if let Some(to) = names.get(name.as_str()) {
            (*to).clone_into(name);
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
            rename_values(graph, names);
        }
    }
}

/// Renames values and nodes one after the other, as `renames` tell; gives those of things that `graph` does not have.
pub(super) fn replay<'r>(
    graph: &mut GraphProto,
    renames: impl Iterator<Item = &'r Difference>,
) -> Vec<Difference> {
    let mut missing = Vec::new();
    // By the name of now, that of the beginning.
    let owned = |names: HashSet<&str>| -> HashMap<String, String> {
        let names = names.into_iter().map(str::to_owned);
        names.map(|name| (name.clone(), name)).collect()
    };
    let mut values = owned(defined(graph));
    let nodes = graph.node.iter().rev().enumerate();
    let places = nodes.map(|(back, n)| {
        (
            n.name.clone().unwrap_or_default(),
            graph.node.len() - 1 - back,
        )
    });
    let mut nodes: HashMap<String, usize> = places.collect();
    for rename in renames {
        let What::Renamed { to } = &rename.what else {
            continue;
        };
        let found = match rename.part {
            Part::Value => values
                .remove(&rename.name)
                .map(|first| drop(values.insert(to.clone(), first))),
            Part::Node => nodes.remove(&rename.name).map(|at| {
                graph.node[at].name = Some(to.clone());
                nodes.insert(to.clone(), at);
            }),
            _ => None,
        };
        if found.is_none() {
            missing.push(rename.clone());
        }
    }
    let changed = values.iter().filter(|(now, first)| now != first);
    let names = changed.map(|(now, first)| (first.as_str(), now.as_str()));
    rename_values(graph, &names.collect());
    missing
}
