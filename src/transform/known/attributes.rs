//! Attributes of nodes as messages have them.

use std::collections::HashMap;

use crate::graph::{Attribute, attribute_to_proto};
use crate::onnx::messages::{AttributeProto, NodeProto};

/// What a call gives a function's attributes.
pub(in crate::transform) type Attributes = HashMap<String, AttributeProto>;

/// An attribute of a node.
pub(in crate::transform) fn named<'n>(
    node: &'n NodeProto,
    name: &str,
) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

/// Its number, or else what it is without.
pub(in crate::transform) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    named(node, name).and_then(|a| a.i).unwrap_or(default)
}

/// As [`int`].
pub(in crate::transform) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    named(node, name).and_then(|a| a.f).unwrap_or(default)
}

/// Its numbers, if it is there.
pub(in crate::transform) fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    named(node, name).map(|a| a.ints.clone())
}

/// Its text, or else what it is without.
pub(in crate::transform) fn string(node: &NodeProto, name: &str, default: &str) -> String {
    let text = named(node, name).and_then(|a| a.s.as_ref());
    text.map_or(default.to_owned(), |s| {
        String::from_utf8_lossy(s).into_owned()
    })
}

/// Takes an attribute away; whether it was there.
pub(in crate::transform) fn remove(node: &mut NodeProto, name: &str) -> bool {
    let count = node.attribute.len();
    node.attribute.retain(|a| a.name() != name);
    node.attribute.len() < count
}

/// Gives a node an attribute, in the place of the one of its name.
pub(in crate::transform) fn set(node: &mut NodeProto, name: &str, value: impl Into<Attribute>) {
    let attribute = attribute_to_proto(name, &value.into());
    let mut there = node.attribute.iter_mut();
    match there.find(|a| a.name == attribute.name) {
        Some(old) => *old = attribute,
        None => node.attribute.push(attribute),
    }
}
