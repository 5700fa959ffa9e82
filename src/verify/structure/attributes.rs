//! Attributes of nodes.

use std::collections::HashSet;

use crate::graph::schemas::{ATTRIBUTE_TYPES, Schema};
use crate::onnx::messages::{AttributeProto, NodeProto};

use super::{Check, Rule};

/// The numbers of the types whose fields an attribute has.
fn fields(a: &AttributeProto) -> Vec<i32> {
    // In the order of the numbers.
    let given = [
        a.f.is_some(),
        a.i.is_some(),
        a.s.is_some(),
        a.t.is_some(),
        a.g.is_some(),
        !a.floats.is_empty(),
        !a.ints.is_empty(),
        !a.strings.is_empty(),
        !a.tensors.is_empty(),
        !a.graphs.is_empty(),
        a.sparse_tensor.is_some(),
        !a.sparse_tensors.is_empty(),
        a.tp.is_some(),
        !a.type_protos.is_empty(),
    ];
    let numbered = (1..).zip(given);
    numbered
        .filter_map(|(number, given)| given.then_some(number))
        .collect()
}

fn type_name(number: i32) -> &'static str {
    let place = usize::try_from(number - 1).ok();
    place
        .and_then(|p| ATTRIBUTE_TYPES.get(p))
        .copied()
        .unwrap_or("no type")
}

impl Check<'_> {
    /// The attributes of a node; `what` names it.
    pub(super) fn attributes(&mut self, node: &NodeProto, what: &str, schema: Option<&Schema>) {
        let mut names = HashSet::new();
        for attribute in &node.attribute {
            let name = attribute.name();
            if name.is_empty() {
                self.fault(
                    Rule::Attribute,
                    format!("{what} has an attribute without a name"),
                );
                continue;
            }
            if !names.insert(name) {
                let text = format!("{what} has the attribute `{name}` more than once");
                self.fault(Rule::Attribute, text);
            }
            self.attribute(attribute, what);
            let Some(schema) = schema else { continue };
            match schema.attribute(name) {
                None => {
                    let text = format!(
                        "{what} has the attribute `{name}`, which its operator does not know"
                    );
                    self.fault(Rule::Attribute, text);
                }
                Some(known) if known.kind != attribute.r#type() && attribute.r#type() != 0 => {
                    let (is, expected) = (type_name(attribute.r#type()), type_name(known.kind));
                    let text = format!(
                        "{what}: its attribute `{name}` is of type {is} instead of {expected}"
                    );
                    self.fault(Rule::Attribute, text);
                }
                Some(_) => {}
            }
        }
        let Some(schema) = schema else { return };
        let required = schema.attributes.iter().filter(|a| a.required);
        for name in required.map(|a| a.name).filter(|n| !names.contains(n)) {
            let text = format!("{what} lacks the attribute `{name}`, which its operator requires");
            self.fault(Rule::Attribute, text);
        }
    }

    /// The form of an attribute.
    fn attribute(&mut self, attribute: &AttributeProto, what: &str) {
        let name = attribute.name();
        let fields = fields(attribute);
        let reference = attribute.ref_attr_name();
        if !reference.is_empty() {
            match self.of_function {
                None => {
                    let text = format!(
                        "{what}: its attribute `{name}` refers to one of a function, and it is in none"
                    );
                    self.fault(Rule::Attribute, text);
                }
                Some(function) => {
                    let given = function.attribute.iter().map(String::as_str);
                    let defaults = function.attribute_proto.iter().map(AttributeProto::name);
                    if !given.chain(defaults).any(|known| known == reference) {
                        let text = format!(
                            "{what}: its attribute `{name}` refers to `{reference}`, which the function has not"
                        );
                        self.fault(Rule::Attribute, text);
                    }
                }
            }
            if !fields.is_empty() {
                let text =
                    format!("{what}: its attribute `{name}` has a value and refers to another");
                self.fault(Rule::Attribute, text);
            }
            return;
        }
        let ir_version = self.model.proto.ir_version();
        match attribute.r#type() {
            // Writers before IR version 2 left the type out.
            0 if ir_version < 2 => {}
            0 => {
                let text =
                    format!("{what}: its attribute `{name}` does not say of which type it is");
                self.fault(Rule::Attribute, text);
            }
            kind => {
                if let Some(other) = fields.into_iter().find(|field| *field != kind) {
                    let (kind, other) = (type_name(kind), type_name(other));
                    let text = format!(
                        "{what}: its attribute `{name}` of type {kind} has a value of type {other}"
                    );
                    self.fault(Rule::Attribute, text);
                }
            }
        }
        let tensors = attribute.t.iter().chain(&attribute.tensors);
        for tensor in tensors {
            let what = format!("{what}: the tensor of its attribute `{name}`");
            self.tensor(tensor, &what);
        }
        let sparse = attribute
            .sparse_tensor
            .iter()
            .chain(&attribute.sparse_tensors);
        for sparse in sparse {
            let what = format!("{what}: the sparse tensor of its attribute `{name}`");
            self.sparse_tensor(sparse, &what);
        }
    }
}
