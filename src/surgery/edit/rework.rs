//! Nodes that compute the same in another way, and dimensions that are left open.

use std::collections::HashMap;

use crate::graph::Node;
use crate::onnx::Tensor;
use crate::onnx::messages::{DimensionValue, TypeValue, ValueInfoProto};

use super::super::SurgeryError;
use super::super::difference::Part;
use super::{Editor, node_key};

/// Another form of a node.
#[derive(Clone, Copy, Debug)]
pub struct Rework<'a> {
    /// Nodes that come before it.
    pub ahead: &'a [Node],
    /// As it was.
    pub was: &'a Node,
    /// As it is to be.
    pub now: &'a Node,
}

impl Editor<'_> {
    /// Gives nodes another form, by their first outputs: inputs and attributes in which `was` and `now` differ, or
    /// where the operator differs all of it, with nodes before it. `tensors` become initializers. These and the
    /// nodes ahead get other names where theirs are taken.
    ///
    /// # Errors
    /// When the graph does not have such a node, or a value that one is to read.
    pub fn rework(
        &mut self,
        tensors: &[(String, Tensor)],
        changes: &[Rework<'_>],
    ) -> Result<(), SurgeryError> {
        let mut names = self.names();
        let mut new: HashMap<&str, String> = HashMap::new();
        for (name, tensor) in tensors {
            let fresh = names.fresh(name);
            self.add_tensor(&fresh, tensor)?;
            new.insert(name, fresh);
        }
        for node in changes.iter().flat_map(|c| c.ahead) {
            for output in node.present_outputs() {
                new.insert(output, names.fresh(output));
            }
        }
        let named = |value: &String| new.get(value.as_str()).unwrap_or(value).clone();
        for change in changes {
            let output = change.now.output(0).unwrap_or_default();
            let makes = |n: &crate::onnx::messages::NodeProto| n.output.iter().any(|o| o == output);
            let missing = |value: &str| SurgeryError::NoValue {
                value: value.to_owned(),
            };
            let Some(at) = self.graph().node.iter().position(makes) else {
                return Err(missing(output));
            };
            let mut ahead = Vec::new();
            for node in change.ahead {
                let mut node = node.clone();
                node.name = names.fresh(&node.name);
                node.inputs = node.inputs.iter().map(named).collect();
                node.outputs = node.outputs.iter().map(named).collect();
                ahead.push(node.to_proto());
            }
            let was = change.was.to_proto();
            let mut now = change.now.clone();
            now.inputs = now.inputs.iter().map(named).collect();
            let now = now.to_proto();
            let mut known = self.defined();
            known.extend(ahead.iter().flat_map(|n| &n.output).map(String::as_str));
            let read = ahead.iter().flat_map(|n| &n.input).chain(
                now.input
                    .iter()
                    .enumerate()
                    .filter(|(i, input)| was.input.get(*i) != Some(input))
                    .map(|(_, input)| input),
            );
            let mut read = read.filter(|value| !value.is_empty());
            if let Some(value) = read.find(|value| !known.contains(value.as_str())) {
                return Err(missing(value));
            }
            for node in &ahead {
                self.added.extend(node.output.iter().cloned());
                self.touch(Part::Node, node_key(node));
            }
            let node = &mut self.graph_mut().node[at];
            if was.op_type == now.op_type {
                for (place, input) in now.input.into_iter().enumerate() {
                    if was.input.get(place) != Some(&input) {
                        node.input
                            .resize(node.input.len().max(place + 1), String::new());
                        node.input[place] = input;
                    }
                }
                let stays =
                    |name: Option<&str>| now.attribute.iter().any(|a| a.name.as_deref() == name);
                node.attribute.retain(|a| {
                    let was_there = was.attribute.iter().any(|w| w.name == a.name);
                    !was_there || stays(a.name.as_deref())
                });
            } else {
                node.op_type = now.op_type;
                node.input = now.input;
                node.attribute = now.attribute;
            }
            let key = node_key(node);
            self.touch(Part::Node, key);
            self.graph_mut().node.splice(at..at, ahead);
        }
        Ok(())
    }

    /// Leaves the first dimension open of every input and output that declares it to be `size`. Where one does,
    /// the noted types of inner values go, which held for that size.
    pub fn open_batch(&mut self, size: usize) {
        let tensors: Vec<Option<String>> = {
            let graph = self.graph();
            graph.initializer.iter().map(|t| t.name.clone()).collect()
        };
        let graph = self.graph_mut();
        let mut opened = Vec::new();
        let inputs = graph
            .input
            .iter_mut()
            .filter(|i| !tensors.contains(&i.name));
        for (part, value) in inputs
            .map(|v| (Part::Input, v))
            .chain(graph.output.iter_mut().map(|v| (Part::Output, v)))
        {
            if open_first(value, size) {
                opened.push((part, value.name.clone().unwrap_or_default()));
            }
        }
        if opened.is_empty() {
            return;
        }
        self.touched.extend(opened);
        for noted in std::mem::take(&mut self.graph_mut().value_info) {
            self.touch(Part::ValueInfo, noted.name.unwrap_or_default());
        }
    }
}

fn open_first(value: &mut ValueInfoProto, size: usize) -> bool {
    let shape = match value.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        Some(TypeValue::Tensor(tensor)) => tensor.shape.as_mut(),
        _ => None,
    };
    match shape.and_then(|s| s.dim.first_mut()) {
        Some(dim) if dim.value == Some(DimensionValue::DimValue(size as i64)) => {
            dim.value = Some(DimensionValue::DimParam("N".to_owned()));
            true
        }
        _ => false,
    }
}
