//! The nodes of a graph as they are written.

use std::collections::{BTreeSet, HashMap};

use crate::graph::{Names, captured_names};
use crate::onnx::element_name;
use crate::onnx::messages::{AttributeProto, NodeProto};
use crate::surgery::node_key;

use super::super::known::set;
use super::walk::Scope;

/// The nodes of a graph as they are written.
#[derive(Default)]
pub(super) struct Written {
    pub list: Vec<NodeProto>,
    pub head: Vec<NodeProto>,
    /// Casts, by the node that they come behind.
    casts: HashMap<usize, Vec<NodeProto>>,
    pub makers: HashMap<String, usize>,
    /// Values that are to have the names of outputs.
    pub returned: Vec<(String, String)>,
    pub renamed: HashMap<String, String>,
    pub touched: BTreeSet<String>,
}

impl Written {
    pub(super) fn push(&mut self, node: NodeProto) {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            self.makers.insert(output.clone(), self.list.len());
        }
        self.list.push(node);
    }

    /// Puts a node behind the one that makes a value, or before all.
    pub(super) fn behind(&mut self, value: &str, node: NodeProto) {
        self.touched.insert(node_key(&node));
        match self.makers.get(value) {
            Some(&at) => self.casts.entry(at).or_default().push(node),
            None => self.head.push(node),
        }
    }

    pub(super) fn rename_returned(&mut self) {
        for (from, to) in std::mem::take(&mut self.returned) {
            self.rename(&from, &to);
        }
    }

    /// Gives a value that a node makes another name, wherever it is read.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let nodes = self
            .list
            .iter_mut()
            .chain(self.casts.values_mut().flatten());
        for node in nodes.chain(&mut self.head) {
            let before = node_key(node);
            if rename_in(node, from, to) {
                self.touched.extend([before, node_key(node)]);
            }
        }
        if let Some(at) = self.makers.remove(from) {
            self.makers.insert(to.to_owned(), at);
        }
        self.renamed.insert(from.to_owned(), to.to_owned());
    }

    pub(super) fn nodes(&mut self) -> Vec<NodeProto> {
        let mut nodes = std::mem::take(&mut self.head);
        self.touched.extend(nodes.iter().map(node_key));
        for (at, node) in std::mem::take(&mut self.list).into_iter().enumerate() {
            nodes.push(node);
            nodes.extend(self.casts.remove(&at).unwrap_or_default());
        }
        nodes
    }
}

/// Renames a value at a node, and in the graphs inside that read it; whether it is there.
fn rename_in(node: &mut NodeProto, from: &str, to: &str) -> bool {
    let mut found = false;
    for name in node
        .input
        .iter_mut()
        .chain(&mut node.output)
        .filter(|name| *name == from)
    {
        to.clone_into(name);
        found = true;
    }
    for inner in node
        .attribute
        .iter_mut()
        .flat_map(AttributeProto::subgraphs_mut)
    {
        let mut read = Vec::new();
        captured_names(inner, &mut read, 0);
        if !read.contains(&from) {
            continue;
        }
        found = true;
        for output in inner
            .output
            .iter_mut()
            .filter(|o| o.name.as_deref() == Some(from))
        {
            output.name = Some(to.to_owned());
        }
        for node in &mut inner.node {
            rename_in(node, from, to);
        }
    }
    found
}

/// The value of a type, cast where a node wants it.
pub(super) fn cast(
    value: &str,
    to: i32,
    scope: &mut Scope,
    written: &mut Written,
    names: &mut Names,
) -> String {
    if let Some(cast) = scope.casts.get(&(value.to_owned(), to)) {
        return cast.clone();
    }
    let name = names.fresh(&format!("{value}/{}", element_name(to)));
    written.behind(value, cast_node(value, &name, to));
    scope.types.insert(name.clone(), to);
    scope.casts.insert((value.to_owned(), to), name.clone());
    name
}

pub(super) fn cast_node(value: &str, name: &str, to: i32) -> NodeProto {
    let mut node = NodeProto {
        name: Some(format!("{name}/cast")),
        op_type: Some("Cast".to_owned()),
        input: vec![value.to_owned()],
        output: vec![name.to_owned()],
        ..NodeProto::default()
    };
    set(&mut node, "to", i64::from(to));
    node
}
