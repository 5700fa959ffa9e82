//! Whether a model is what ONNX says that a model is.
//!
//! What `onnx.checker.check_model` with its full check refuses is refused, and told by name: all faults of a model, not the
//! first. Beyond it are refused what no runtime can run: shapes that contradict each other inside of convolutions and
//! reshapes, data that are longer than declared or not where they are said to be, calls that do not fit their functions.
//! Operators of domains that are not ONNX's are not known here and pass.
//!
//! Sources: <https://github.com/onnx/onnx/blob/main/docs/IR.md>, `onnx/checker.cc`, and of operators their definitions, see
//! `schemas`.

mod attributes;
mod fits;
mod functions;
mod graph;
mod nodes;
mod scope;
mod shapes;
mod tensors;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use crate::graph::schemas;
use crate::onnx::Model;
use crate::onnx::messages::FunctionProto;

use scope::Scope;

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Versions, operator sets, metadata.
    Header,
    /// Names that are missing, or stand for two things.
    Name,
    /// Values that nothing makes, or that are read before they are made.
    Order,
    /// Operators that are not known, or no longer.
    Operator,
    /// The number of inputs and outputs of a node, and those that are left out.
    Arity,
    /// Attributes.
    Attribute,
    /// Element types.
    Type,
    /// Dimensions.
    Shape,
    /// Tensors and their data.
    Tensor,
    /// Functions of the model.
    Function,
}

/// What is wrong with a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The way from the model to the graph or function where it is; empty for the model and its main graph.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// What it is about.
    pub rule: Rule,
    /// The node, tensor or field at fault, and what is wrong with it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scope in &self.scope {
            write!(f, "in {scope}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// What is known of a model's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Structure {
    /// What is wrong, in the order of the file.
    pub faults: Vec<Fault>,
    /// What was not looked at, and why, a sentence each.
    pub unchecked: Vec<String>,
    /// Nodes that were looked at, those of inner graphs and functions included.
    pub nodes: usize,
    /// Tensors that were looked at.
    pub tensors: usize,
    /// Values of the main graph whose dimensions follow from what is declared.
    pub shapes: usize,
}

/// The newest version of the file format that is known here.
const NEWEST_IR: i64 = 14;
/// Faults beyond which no more are told.
const MOST_FAULTS: usize = 1000;

/// Looks whether a model is well-formed. Of an outline ([`Model::open_outline`]) the values of large
/// tensors are not read; that they are all there is looked at.
pub fn structure(model: &Model) -> Structure {
    let functions = model.proto.functions.iter();
    let mut check = Check {
        model,
        functions: functions.map(|f| (functions::key(f), f)).collect(),
        imports: HashMap::new(),
        scope: Vec::new(),
        of_function: None,
        unknown_domains: HashSet::new(),
        found: Structure::default(),
    };
    check.header();
    check.functions();
    check.graph(model.graph(), &Scope::default(), true);
    if check.found.faults.is_empty() {
        check.shapes();
    }
    let mut domains: Vec<&String> = check.unknown_domains.iter().collect();
    domains.sort();
    let unknown = domains
        .into_iter()
        .map(|domain| format!("operators of the domain `{domain}`, which is not ONNX's own"));
    check.found.unchecked.extend(unknown);
    check.found
}

/// The walk over a model.
struct Check<'a> {
    model: &'a Model,
    functions: HashMap<(&'a str, &'a str), &'a FunctionProto>,
    /// The versions of operator sets where the walk is.
    imports: HashMap<&'a str, i64>,
    scope: Vec<String>,
    /// The function that the walk is in.
    of_function: Option<&'a FunctionProto>,
    unknown_domains: HashSet<String>,
    found: Structure,
}

/// The default operator set goes by two names.
fn domain(name: &str) -> &str {
    match name {
        "ai.onnx" => "",
        name => name,
    }
}

impl<'a> Check<'a> {
    fn fault(&mut self, rule: Rule, message: impl Into<String>) {
        if self.found.faults.len() < MOST_FAULTS {
            self.found.faults.push(Fault {
                scope: self.scope.clone(),
                rule,
                message: message.into(),
            });
        }
    }

    fn within<T>(&mut self, scope: String, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(scope);
        let walked = walk(self);
        self.scope.pop();
        walked
    }

    fn header(&mut self) {
        let proto = &self.model.proto;
        match proto.ir_version {
            None => self.fault(Rule::Header, "it has no `ir_version`"),
            Some(version) if version > NEWEST_IR => self.fault(
                Rule::Header,
                format!(
                    "its `ir_version` {version} is newer than {NEWEST_IR}, the newest that is known"
                ),
            ),
            Some(version) if version >= 3 && proto.opset_import.is_empty() => {
                self.fault(Rule::Header, "it imports no operator set");
            }
            Some(_) => {}
        }
        let mut imports: HashMap<&'a str, i64> = HashMap::new();
        for set in &proto.opset_import {
            let (name, version) = (domain(set.domain()), set.version());
            if let Some(other) = imports.insert(name, version).filter(|v| *v != version) {
                let name = if name.is_empty() { "ai.onnx" } else { name };
                let text = format!(
                    "it imports the operator set `{name}` in the versions {other} and {version}"
                );
                self.fault(Rule::Header, text);
            }
        }
        // What old files leave out.
        if proto.opset_import.is_empty() && proto.ir_version() < 3 {
            imports.insert("", 1);
        }
        let newest = schemas::newest();
        if imports.get("").is_some_and(|&version| version > newest) {
            let text = format!("what came with opsets after {newest}");
            self.found.unchecked.push(text);
        }
        self.imports = imports;
        let mut keys = HashSet::new();
        for entry in &proto.metadata_props {
            if !keys.insert(entry.key()) {
                let text = format!("its metadata have `{}` more than once", entry.key());
                self.fault(Rule::Header, text);
            }
        }
    }
}
