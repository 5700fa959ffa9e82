//! The model's own functions, written out.

use std::collections::{BTreeSet, HashMap};

use crate::onnx::functions_stay_few;
use crate::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};

use super::messages::{defined, inner_graphs, names};
use super::{GraphError, Names};

/// A model's graph without calls of its functions.
pub(crate) struct WrittenOut {
    /// The graph.
    pub graph: GraphProto,
    /// The calls that were nodes of the main graph.
    pub calls: Vec<NodeProto>,
    /// The nodes that stand in their place.
    pub nodes: Vec<NodeProto>,
    /// Operator sets that these are of and that the model has not.
    pub imports: Vec<OperatorSetIdProto>,
}

/// Writes out each call of a function that the model carries, in its graph and in the graphs inside of nodes,
/// as runtimes do before they run it; `None` where it carries none. What a call makes keeps its names; values
/// and nodes inside of it get those of the function behind the name of the call, with a number where that is
/// taken: `call/value`.
///
/// # Errors
/// [`GraphError::Function`] when a function does not fit its call, reads what it does not have, was written
/// for another version of an operator set than the model, or calls itself.
pub(crate) fn write_out(proto: &ModelProto) -> Result<Option<WrittenOut>, GraphError> {
    let functions = &proto.functions;
    let (Some(first), Some(graph)) = (functions.first(), &proto.graph) else {
        return Ok(None);
    };
    if !functions_stay_few(proto) {
        let reason = "the functions call one another in a circle, or too often";
        return Err(refused(first, reason.to_owned()));
    }
    let imports = proto.opset_import.iter();
    let mut inliner = Inliner {
        functions: functions.iter().map(|f| (Callee::of(f), f)).collect(),
        imports: imports.map(import).collect(),
        missing: Vec::new(),
        names: names(graph),
    };
    let mut graph = graph.clone();
    let (mut all, mut calls, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    for node in std::mem::take(&mut graph.node) {
        let call = inliner.callee(&node).map(|_| node.clone());
        let written = inliner.node(node)?;
        if let Some(call) = call {
            calls.push(call);
            nodes.extend(written.iter().cloned());
        }
        all.extend(written);
    }
    graph.node = all;
    Ok(Some(WrittenOut {
        graph,
        calls,
        nodes,
        imports: inliner.missing,
    }))
}

/// By what a call finds its function: domain, name, overload.
#[derive(PartialEq, Eq, Hash)]
struct Callee<'a>(&'a str, &'a str, &'a str);

impl<'a> Callee<'a> {
    fn of(function: &'a FunctionProto) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Callee(
            text(&function.domain),
            text(&function.name),
            text(&function.overload),
        )
    }
}

/// New names by the names of a function.
type NewNames = HashMap<String, String>;

struct Inliner<'f> {
    functions: HashMap<Callee<'f>, &'f FunctionProto>,
    /// The versions of the model's operator sets, by domain.
    imports: HashMap<String, i64>,
    /// Operator sets that functions have and the model has not.
    missing: Vec<OperatorSetIdProto>,
    names: Names,
}

impl<'f> Inliner<'f> {
    /// The function that a node calls, if it does.
    fn callee(&self, node: &NodeProto) -> Option<&'f FunctionProto> {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
        let (domain, name, overload) = (text(&node.domain), node.op_type(), text(&node.overload));
        let callee = Callee(&domain, name, &overload);
        // Keys of the map live as long as the functions; a shorter one finds them all the same.
        let functions: &HashMap<Callee<'_>, &'f FunctionProto> = &self.functions;
        functions.get(&callee).copied()
    }

    /// A node with no call left: itself, or what it calls.
    fn node(&mut self, mut node: NodeProto) -> Result<Vec<NodeProto>, GraphError> {
        let inner = node
            .attribute
            .iter_mut()
            .flat_map(AttributeProto::subgraphs_mut);
        for graph in inner {
            graph.node = self.nodes(std::mem::take(&mut graph.node))?;
        }
        match self.callee(&node) {
            None => Ok(vec![node]),
            Some(function) => {
                let body = self.body(function, &node)?;
                self.nodes(body)
            }
        }
    }

    // Functions do not call themselves, which was looked at before.
    fn nodes(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, GraphError> {
        let mut written = Vec::with_capacity(nodes.len());
        for node in nodes {
            written.extend(self.node(node)?);
        }
        Ok(written)
    }

    /// The nodes of a function with the values and attributes of a call.
    fn body(
        &mut self,
        function: &FunctionProto,
        call: &NodeProto,
    ) -> Result<Vec<NodeProto>, GraphError> {
        if call.input.len() > function.input.len() || call.output.len() > function.output.len() {
            let reason = format!(
                "the call of `{}` has more inputs or outputs",
                first_output(call)
            );
            return Err(refused(function, reason));
        }
        self.import(function)?;
        let prefix = match call.name.as_deref() {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => first_output(call),
        };
        let given = call
            .input
            .iter()
            .cloned()
            .chain(std::iter::repeat(String::new()));
        let mut names: NewNames = function.input.iter().cloned().zip(given).collect();
        let mut copies = Vec::new();
        for (name, wanted) in function.output.iter().zip(&call.output) {
            if wanted.is_empty() {
                continue;
            }
            // An input that is an output, too, or an output that is listed twice.
            match names.contains_key(name) {
                true => copies.push((name, wanted)),
                false => drop(names.insert(name.clone(), wanted.clone())),
            }
        }
        let made = function.node.iter().flat_map(|n| &n.output);
        let made: BTreeSet<&String> = made.filter(|name| !name.is_empty()).collect();
        for name in &made {
            if !names.contains_key(*name) {
                let new = self.names.fresh(&format!("{prefix}/{name}"));
                names.insert((*name).clone(), new);
            }
        }
        let is_there = |name: &String| made.contains(name) || function.input.contains(name);
        if let Some(output) = function.output.iter().find(|name| !is_there(name)) {
            return Err(refused(
                function,
                format!("nothing makes its output `{output}`"),
            ));
        }
        let attributes = Attributes::of(function, call);
        let mut body = Vec::with_capacity(function.node.len() + copies.len());
        for node in &function.node {
            let mut node = node.clone();
            self.rename_node(&mut node, &names, &prefix)
                .map_err(|value| {
                    refused(function, format!("it reads `{value}`, which it has not"))
                })?;
            attributes.bind(&mut node);
            body.push(node);
        }
        for (name, wanted) in copies {
            body.push(NodeProto {
                op_type: Some("Identity".to_owned()),
                input: vec![names[name].clone()],
                output: vec![wanted.clone()],
                ..NodeProto::default()
            });
        }
        Ok(body)
    }

    /// Checks that the model has the operator sets of a function's nodes, or that they can be added.
    fn import(&mut self, function: &FunctionProto) -> Result<(), GraphError> {
        let mut used = BTreeSet::new();
        let mut open: Vec<&NodeProto> = function.node.iter().collect();
        while let Some(node) = open.pop() {
            open.extend(inner_graphs(node).flat_map(|graph| &graph.node));
            if self.callee(node).is_none() {
                used.insert(domain(node.domain.as_deref()));
            }
        }
        for own in &function.opset_import {
            let (name, version) = import(own);
            match self.imports.get(&name) {
                _ if !used.contains(name.as_str()) => {}
                Some(&other) if other != version => {
                    let set = if name.is_empty() { "ai.onnx" } else { &name };
                    return Err(refused(
                        function,
                        format!(
                            "it was written for version {version} of `{set}`, the model for {other}"
                        ),
                    ));
                }
                Some(_) => {}
                None => {
                    self.imports.insert(name, version);
                    self.missing.push(own.clone());
                }
            }
        }
        Ok(())
    }

    /// Gives a node and what it names new names.
    ///
    /// # Errors
    /// With the name of a value that it reads and that has none.
    fn rename_node(
        &mut self,
        node: &mut NodeProto,
        names: &NewNames,
        prefix: &str,
    ) -> Result<(), String> {
        for value in node.input.iter_mut().chain(&mut node.output) {
            rename(value, names)?;
        }
        if let Some(name) = node.name.as_mut().filter(|name| !name.is_empty()) {
            *name = self.names.fresh(&format!("{prefix}/{name}"));
        }
        let devices = node.device_configurations.iter_mut();
        let sharded = devices.flat_map(|d| &mut d.sharding_spec);
        for value in sharded.flat_map(|s| &mut s.tensor_name) {
            rename(value, names)?;
        }
        let inner = node
            .attribute
            .iter_mut()
            .flat_map(AttributeProto::subgraphs_mut);
        for graph in inner {
            self.rename_graph(graph, names.clone(), prefix)?;
        }
        Ok(())
    }

    /// As [`Inliner::rename_node`], for a graph inside of one: what it makes gets new names, too.
    fn rename_graph(
        &mut self,
        graph: &mut GraphProto,
        mut names: NewNames,
        prefix: &str,
    ) -> Result<(), String> {
        let own: BTreeSet<&str> = defined(graph).into_iter().collect();
        for name in own {
            let new = self.names.fresh(&format!("{prefix}/{name}"));
            names.insert(name.to_owned(), new);
        }
        let declared = graph.input.iter_mut().chain(&mut graph.output);
        for value in declared.chain(&mut graph.value_info) {
            value.name.iter_mut().try_for_each(|n| rename(n, &names))?;
        }
        for tensor in &mut graph.initializer {
            tensor.name.iter_mut().try_for_each(|n| rename(n, &names))?;
        }
        for values in graph
            .sparse_initializer
            .iter_mut()
            .flat_map(|s| &mut s.values)
        {
            values.name.iter_mut().try_for_each(|n| rename(n, &names))?;
        }
        for annotation in &mut graph.quantization_annotation {
            let of = annotation.tensor_name.iter_mut();
            let by = annotation.quant_parameter_tensor_names.iter_mut();
            of.chain(by.flat_map(|t| &mut t.value))
                .try_for_each(|n| rename(n, &names))?;
        }
        for node in &mut graph.node {
            self.rename_node(node, &names, prefix)?;
        }
        Ok(())
    }
}

fn rename(value: &mut String, names: &NewNames) -> Result<(), String> {
    if !value.is_empty() {
        names
            .get(value)
            .ok_or_else(|| value.clone())?
            .clone_into(value);
    }
    Ok(())
}

/// What a call says of a function's attributes.
struct Attributes<'a>(HashMap<&'a str, &'a AttributeProto>);

impl<'a> Attributes<'a> {
    /// Those of the call, else the function's defaults.
    fn of(function: &'a FunctionProto, call: &'a NodeProto) -> Self {
        let all = function.attribute_proto.iter().chain(&call.attribute);
        Attributes(all.map(|a| (a.name(), a)).collect())
    }

    /// Puts them where a node, or one of a graph inside of it, refers to them. One that is not given is left
    /// out.
    fn bind(&self, node: &mut NodeProto) {
        for mut attribute in std::mem::take(&mut node.attribute) {
            match attribute
                .ref_attr_name
                .as_deref()
                .filter(|name| !name.is_empty())
            {
                Some(referred) => {
                    let given = self.0.get(referred).copied().cloned();
                    node.attribute.extend(given.map(|given| AttributeProto {
                        name: attribute.name,
                        ..given
                    }));
                }
                None => {
                    for graph in attribute.subgraphs_mut() {
                        graph.node.iter_mut().for_each(|node| self.bind(node));
                    }
                    node.attribute.push(attribute);
                }
            }
        }
    }
}

/// An operator set's domain and version.
fn import(set: &OperatorSetIdProto) -> (String, i64) {
    let name = domain(set.domain.as_deref()).to_owned();
    (name, set.version.unwrap_or_default())
}

/// ONNX's own domain has two names.
fn domain(name: Option<&str>) -> &str {
    match name {
        None | Some("ai.onnx") => "",
        Some(name) => name,
    }
}

/// By what a node goes that has no name.
fn first_output(node: &NodeProto) -> String {
    let output = node.output.iter().find(|o| !o.is_empty());
    output.or(node.name.as_ref()).cloned().unwrap_or_default()
}

fn refused(function: &FunctionProto, reason: String) -> GraphError {
    let Callee(domain, name, overload) = Callee::of(function);
    let overload = match overload {
        "" => String::new(),
        overload => format!(":{overload}"),
    };
    GraphError::Function {
        function: format!("{domain}:{name}{overload}"),
        reason,
    }
}
