//! Functions that a model carries.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::{AttributeProto, FunctionProto, NodeProto};

use super::scope::Scope;
use super::{Check, Rule, domain};

/// By what nodes name a function.
pub(super) fn key(function: &FunctionProto) -> (&str, &str) {
    (domain(function.domain()), function.name())
}

impl<'a> Check<'a> {
    pub(super) fn functions(&mut self) {
        let mut names = HashSet::new();
        for function in &self.model.proto.functions {
            let (of, name) = key(function);
            let whole = format!("{of}:{name}");
            if name.is_empty() || of.is_empty() {
                let text = format!("the function `{whole}` lacks its name or its domain");
                self.fault(Rule::Function, text);
            }
            if !names.insert((of, name, function.overload())) {
                let text = format!("there is more than one function `{whole}`");
                self.fault(Rule::Function, text);
            }
            let imports = function.opset_import.iter();
            let imports: HashMap<&'a str, i64> = imports
                .map(|set| (domain(set.domain()), set.version()))
                .collect();
            let around = std::mem::replace(&mut self.imports, imports);
            self.of_function = Some(function);
            self.within(format!("function `{whole}`"), |check| {
                check.function(function)
            });
            self.of_function = None;
            self.imports = around;
        }
    }

    fn function(&mut self, function: &'a FunctionProto) {
        let mut scope = Scope::default();
        for input in &function.input {
            if scope.has(input) {
                self.fault(
                    Rule::Name,
                    format!("there is more than one input `{input}`"),
                );
            }
            scope.add(input, None);
        }
        let mut attributes = HashSet::new();
        let defaults = function.attribute_proto.iter().map(AttributeProto::name);
        for name in function
            .attribute
            .iter()
            .map(String::as_str)
            .chain(defaults)
        {
            if !attributes.insert(name) {
                self.fault(
                    Rule::Attribute,
                    format!("there is more than one attribute `{name}`"),
                );
            }
        }
        self.nodes(&function.node, &mut scope, &HashMap::new());
        for output in &function.output {
            if !scope.has(output) {
                self.fault(Rule::Order, format!("nothing makes its output `{output}`"));
            }
        }
    }

    /// A node that calls a function; `what` names it.
    pub(super) fn call(&mut self, node: &NodeProto, function: &FunctionProto, what: &str) {
        for (count, most, part) in [
            (node.input.len(), function.input.len(), "inputs"),
            (node.output.len(), function.output.len(), "outputs"),
        ] {
            if count > most {
                let text = format!("{what} has {count} {part}, and its function {most}");
                self.fault(Rule::Arity, text);
            }
        }
        let defaults = function.attribute_proto.iter().map(AttributeProto::name);
        let known: HashSet<&str> = function
            .attribute
            .iter()
            .map(String::as_str)
            .chain(defaults)
            .collect();
        for attribute in &node.attribute {
            if !known.contains(attribute.name()) {
                let name = attribute.name();
                let text =
                    format!("{what} has the attribute `{name}`, which its function does not know");
                self.fault(Rule::Attribute, text);
            }
        }
    }
}
