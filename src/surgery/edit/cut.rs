//! Other inputs and outputs.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::ValueInfoProto;

use super::super::SurgeryError;
use super::super::difference::Part;
use super::keep::reads;
use super::{Editor, node_key};

impl Editor<'_> {
    /// Makes `inputs` the inputs of the graph, in this order, in place of those it declares; those that stand for
    /// initializers (IR 3) stay behind them. A value of a node is then fed instead of made, and an initializer fed
    /// instead of stored. What else a node makes of which a value is fed it still makes, and has another name for that
    /// one: `NAME/cut`. Nodes that then serve nothing are left to [`Editor::keep`].
    ///
    /// # Errors
    /// When one is named twice, or the graph has no such value.
    pub fn set_inputs(&mut self, inputs: &[ValueInfoProto]) -> Result<(), SurgeryError> {
        let mut fed: HashSet<String> = HashSet::new();
        let known = self.defined();
        for name in inputs.iter().map(ValueInfoProto::name) {
            if !known.contains(name) {
                return Err(SurgeryError::NoValue {
                    value: name.to_owned(),
                });
            }
            if !fed.insert(name.to_owned()) {
                return Err(SurgeryError::Taken {
                    name: name.to_owned(),
                });
            }
        }
        let mut names = self.names();
        let mut touched = Vec::new();
        let mut added = Vec::new();
        let graph = self.graph_mut();
        for node in &mut graph.node {
            if !node.output.iter().any(|o| fed.contains(o)) {
                continue;
            }
            touched.push((Part::Node, node_key(node)));
            for output in node.output.iter_mut().filter(|o| fed.contains(*o)) {
                *output = names.fresh(&format!("{output}/cut"));
                added.push(output.clone());
            }
            touched.push((Part::Node, node_key(node)));
        }
        let stays = |name: &str| !fed.contains(name);
        graph.initializer.retain(|tensor| {
            let stays = stays(tensor.name());
            if !stays {
                touched.push((Part::Tensor, tensor.name().to_owned()));
            }
            stays
        });
        graph.sparse_initializer.retain(|tensor| {
            let name = tensor.values.as_ref().map_or("", |v| v.name());
            let stays = stays(name);
            if !stays {
                touched.push((Part::SparseTensor, name.to_owned()));
            }
            stays
        });
        let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
        let (stand_ins, old): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.input)
            .into_iter()
            .partition(|input| stored.contains(input.name()));
        // A noted type is not noted twice.
        graph.value_info.retain(|noted| {
            let stays = stays(noted.name());
            if !stays {
                touched.push((Part::ValueInfo, noted.name().to_owned()));
            }
            stays
        });
        for input in old.iter().chain(inputs).chain(&stand_ins) {
            touched.push((Part::Input, input.name().to_owned()));
        }
        graph.input = inputs.iter().chain(&stand_ins).cloned().collect();
        self.touched.extend(touched);
        self.added.extend(added);
        Ok(())
    }

    /// Takes inputs from the declaration that nothing reads and that are no outputs; `but` for these.
    pub fn drop_unread_inputs(&mut self, but: &HashSet<&str>) {
        let graph = self.graph();
        let mut read: HashSet<String> = but.iter().map(|&name| name.to_owned()).collect();
        read.extend(graph.node.iter().flat_map(reads).map(str::to_owned));
        read.extend(graph.output.iter().filter_map(|o| o.name.clone()));
        let mut touched = Vec::new();
        self.graph_mut().input.retain(|input| {
            let stays = read.contains(input.name());
            if !stays {
                touched.push((Part::Input, input.name().to_owned()));
            }
            stays
        });
        self.touched.extend(touched);
    }

    /// Declares `outputs` as the outputs of the graph, in place of those it has. Types that are noted of them are not
    /// noted twice.
    ///
    /// # Errors
    /// When there are none, one is named twice, or nothing makes one.
    pub fn declare_outputs(&mut self, outputs: &[ValueInfoProto]) -> Result<(), SurgeryError> {
        if outputs.is_empty() {
            return Err(SurgeryError::NoOutput);
        }
        let known = self.defined();
        let mut seen = HashSet::new();
        for name in outputs.iter().map(ValueInfoProto::name) {
            if !known.contains(name) {
                return Err(SurgeryError::NoValue {
                    value: name.to_owned(),
                });
            }
            if !seen.insert(name) {
                return Err(SurgeryError::Taken {
                    name: name.to_owned(),
                });
            }
        }
        let old = std::mem::take(&mut self.graph_mut().output);
        for value in old.iter().chain(outputs) {
            self.touch(Part::Output, value.name());
        }
        let mut noted = Vec::new();
        self.graph_mut().value_info.retain(|value| {
            let stays = !seen.contains(value.name());
            if !stays {
                noted.push(value.name().to_owned());
            }
            stays
        });
        for name in noted {
            self.touch(Part::ValueInfo, name);
        }
        self.graph_mut().output = outputs.to_vec();
        Ok(())
    }

    /// Whether every value that a node reads, and every output, is there.
    ///
    /// # Errors
    /// [`SurgeryError::Unreachable`] names one that is not, and who reads it.
    pub fn ensure_reachable(&self) -> Result<(), SurgeryError> {
        let known = self.defined();
        let missing = |value: &&str| !known.contains(*value);
        let mut readers: HashMap<&str, String> = HashMap::new();
        for node in &self.graph().node {
            if let Some(value) = reads(node).into_iter().find(|value| missing(value)) {
                readers.insert(value, format!("node `{}`", node_key(node)));
            }
        }
        let outputs = self.graph().output.iter().map(ValueInfoProto::name);
        for value in outputs.filter(missing) {
            readers.insert(value, "the cut".to_owned());
        }
        match readers.into_iter().min() {
            None => Ok(()),
            Some((value, reader)) => Err(SurgeryError::Unreachable {
                value: value.to_owned(),
                reader,
            }),
        }
    }

    /// Removes functions of the model that no node calls, nor any function that one calls.
    pub fn drop_uncalled_functions(&mut self) {
        use crate::graph::messages::all_graphs;
        use crate::onnx::messages::NodeProto;
        type Called = (String, String, String);
        let callee = |node: &NodeProto| -> Called {
            let text = |s: &Option<String>| s.clone().unwrap_or_default();
            (
                text(&node.domain),
                text(&node.op_type),
                text(&node.overload),
            )
        };
        let of_nodes = |nodes: &[NodeProto]| -> Vec<Called> {
            let inner = nodes
                .iter()
                .flat_map(super::inner_graphs)
                .flat_map(all_graphs);
            let inner = inner.flat_map(|g| &g.node);
            nodes.iter().chain(inner).map(callee).collect()
        };
        let mut open = of_nodes(&self.graph().node);
        let training = self.proto.training_info.iter();
        let graphs = training.flat_map(|t| t.initialization.iter().chain(&t.algorithm));
        open.extend(graphs.flat_map(|g| of_nodes(&g.node)));
        let mut called: HashSet<Called> = HashSet::new();
        while let Some(callee) = open.pop() {
            if !called.insert(callee.clone()) {
                continue;
            }
            let (domain, name, _) = &callee;
            let mut functions = self.proto.functions.iter();
            if let Some(function) = functions.find(|f| f.domain() == domain && f.name() == name) {
                open.extend(of_nodes(&function.node));
            }
        }
        // A call that names no overload may mean any.
        let named: HashSet<(String, String)> = called
            .into_iter()
            .map(|(domain, name, _)| (domain, name))
            .collect();
        let mut gone = Vec::new();
        self.proto.functions.retain(|function| {
            let stays = named.contains(&(function.domain().to_owned(), function.name().to_owned()));
            if !stays {
                gone.push(super::Named::key(function));
            }
            stays
        });
        for function in gone {
            self.touch(Part::Function, function);
        }
    }
}
