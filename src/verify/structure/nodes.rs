//! Nodes against the definitions of their operators.

use std::collections::HashMap;

use crate::graph::schemas::{self, Occurs, Schema};
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};

use super::scope::Scope;
use super::{Check, Rule, domain, types};

impl<'a> Check<'a> {
    /// A node; gives the types of its outputs, as far as they follow from its inputs.
    pub(super) fn node(
        &mut self,
        node: &'a NodeProto,
        what: &str,
        scope: &Scope<'_>,
    ) -> Vec<Option<String>> {
        let unknown = vec![None; node.output.len()];
        if node.op_type().is_empty() {
            self.fault(Rule::Operator, format!("{what} has no operator"));
            return unknown;
        }
        if node.input.is_empty() && node.output.is_empty() {
            self.fault(
                Rule::Arity,
                format!("{what} has neither inputs nor outputs"),
            );
        }
        let of = domain(node.domain());
        let Some(&version) = self.imports.get(of) else {
            let set = if of.is_empty() { "ai.onnx" } else { of };
            let text = format!("{what} is of the operator set `{set}`, which is not imported");
            self.fault(Rule::Operator, text);
            return unknown;
        };
        let function = self.functions.get(&(of, node.op_type())).copied();
        let schema = schemas::schema(of, node.op_type(), version);
        match (schema, function) {
            (_, Some(function)) => self.call(node, function, what),
            (None, None) if schemas::knows(of) => {
                let text = format!(
                    "{what}: the operator is not known in version {version} of its operator set"
                );
                self.fault(Rule::Operator, text);
            }
            (None, None) => drop(self.unknown_domains.insert(of.to_owned())),
            (Some(schema), None) if schema.deprecated => {
                let text = format!(
                    "{what}: the operator is gone from version {version} of its operator set"
                );
                self.fault(Rule::Operator, text);
            }
            (Some(schema), None) => self.arity(node, schema, what),
        }
        let schema = schema.filter(|_| function.is_none());
        self.attributes(node, what, schema);
        let inner = self.inner(node, what, scope);
        let Some(schema) = schema else { return unknown };
        let bound = self.input_types(node, schema, what, scope);
        let control = self.control_flow(node, &inner, what);
        let own = types::by_attribute(node).filter(|_| of.is_empty());
        (0..node.output.len())
            .map(|place| {
                let parameter = schema.output(place)?;
                let of_any = !parameter.is_of_one_type();
                match (&control, &own) {
                    (Some(kinds), _) => kinds.get(place).cloned().flatten(),
                    (None, Some(own)) if place == 0 => Some(own.clone()),
                    _ if of_any => None,
                    _ => match schema.variable(parameter.kind).is_some() {
                        true => bound.get(parameter.kind).cloned(),
                        false => Some(parameter.kind.to_owned()),
                    },
                }
            })
            .collect()
    }

    fn arity(&mut self, node: &NodeProto, schema: &Schema, what: &str) {
        let sides = [
            (&node.input, &schema.inputs, "input"),
            (&node.output, &schema.outputs, "output"),
        ];
        for (names, parameters, part) in sides {
            let (least, most) = Schema::range(parameters);
            let count = names.len();
            if count < least || most.is_some_and(|most| count > most) {
                let most = most.map_or_else(|| "any number".to_owned(), |most| most.to_string());
                let text =
                    format!("{what} has {count} {part}s; its operator has {least} to {most}");
                self.fault(Rule::Arity, text);
                continue;
            }
            let left_out = names.iter().enumerate().filter(|(_, name)| name.is_empty());
            for (place, _) in left_out {
                let parameter = Schema::parameter(parameters, place);
                if parameter.is_some_and(|p| p.occurs == Occurs::Once) {
                    let text = format!(
                        "{what} leaves out its {part} {place}, which its operator requires"
                    );
                    self.fault(Rule::Arity, text);
                }
            }
        }
    }

    /// Holds types of inputs against what an operator takes; gives what its variables stand for.
    fn input_types(
        &mut self,
        node: &NodeProto,
        schema: &Schema,
        what: &str,
        scope: &Scope<'_>,
    ) -> HashMap<&'static str, String> {
        let mut bound: HashMap<&'static str, String> = HashMap::new();
        for (place, name) in node.input.iter().enumerate() {
            let (Some(parameter), Some(is)) = (schema.input(place), scope.kind(name)) else {
                continue;
            };
            let kind = parameter.kind;
            let Some(allowed) = schema.variable(kind) else {
                if kind != is {
                    let text =
                        format!("{what} takes {kind} as its input {place}, and `{name}` is {is}");
                    self.fault(Rule::Type, text);
                }
                continue;
            };
            if !allowed.contains(&is) {
                let text =
                    format!("{what} does not take {is}, which `{name}` is, as its input {place}");
                self.fault(Rule::Type, text);
                continue;
            }
            if !parameter.is_of_one_type() {
                continue;
            }
            match bound.get(kind) {
                Some(other) if other != is => {
                    let text = format!(
                        "{what} takes inputs of one type, and has {other} and `{name}` of type {is}"
                    );
                    self.fault(Rule::Type, text);
                }
                _ => drop(bound.insert(kind, is.to_owned())),
            }
        }
        bound
    }

    /// The graphs inside of a node: each with the types of its outputs.
    fn inner(
        &mut self,
        node: &'a NodeProto,
        what: &str,
        scope: &Scope<'_>,
    ) -> Vec<(&'a AttributeProto, &'a GraphProto, Vec<Option<String>>)> {
        let mut inner = Vec::new();
        for attribute in &node.attribute {
            for graph in attribute.subgraphs() {
                let way = format!("`{}` of {what}", attribute.name());
                let kinds = self.within(way, |check| check.graph(graph, scope, false));
                inner.push((attribute, graph, kinds));
            }
        }
        inner
    }

    /// The types that a node of control flow gives, whose graphs must fit it; `None` of another node.
    fn control_flow(
        &mut self,
        node: &NodeProto,
        inner: &[(&AttributeProto, &GraphProto, Vec<Option<String>>)],
        what: &str,
    ) -> Option<Vec<Option<String>>> {
        let inner_kinds = |name: &str| {
            let found = inner
                .iter()
                .find(|(attribute, _, _)| attribute.name() == name);
            found.map(|(_, graph, kinds)| (*graph, kinds))
        };
        match node.op_type() {
            "If" => {
                let ((_, then), (_, other)) =
                    (inner_kinds("then_branch")?, inner_kinds("else_branch")?);
                let count = node.output.len();
                if then.len() != count || other.len() != count {
                    let text = format!(
                        "{what} has {count} outputs, and its branches have {} and {}",
                        then.len(),
                        other.len()
                    );
                    self.fault(Rule::Arity, text);
                }
                for (place, pair) in then.iter().zip(other).enumerate() {
                    if let (Some(a), Some(b)) = pair
                        && a != b
                    {
                        let text =
                            format!("{what}: its branches give {a} and {b} as output {place}");
                        self.fault(Rule::Type, text);
                    }
                }
                Some(then.clone())
            }
            "Loop" => {
                let (body, kinds) = inner_kinds("body")?;
                let carried = node.input.len().saturating_sub(2);
                self.body(body.input.len(), carried + 2, "inputs", what);
                if kinds.len() < carried + 1 || kinds.len() - 1 != node.output.len() {
                    let text = format!(
                        "{what} has {} outputs for {carried} carried values, and its body gives {}",
                        node.output.len(),
                        kinds.len()
                    );
                    self.fault(Rule::Arity, text);
                }
                Some(kinds.iter().skip(1).cloned().collect())
            }
            "Scan" => {
                let (body, kinds) = inner_kinds("body")?;
                // Before opset 9 the first input was the lengths of sequences.
                if self.imports.get("").is_some_and(|&version| version >= 9) {
                    self.body(body.input.len(), node.input.len(), "inputs", what);
                    self.body(kinds.len(), node.output.len(), "outputs", what);
                }
                Some(kinds.clone())
            }
            _ => None,
        }
    }

    fn body(&mut self, has: usize, expected: usize, part: &str, what: &str) {
        if has != expected {
            let text = format!("{what}: its body has {has} {part} instead of {expected}");
            self.fault(Rule::Arity, text);
        }
    }
}
