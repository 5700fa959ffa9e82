//! Holding an emitted model against the one it came from.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{Model, is_external};

use super::export::is_constant;
use super::{HEAD_PREFIX, METADATA_PREFIX};

/// Checks that `emitted` is `original` with nothing changed but the values of the tensors named in
/// `tuned`, the metadata under `ftsurgery.*`, and, where it has one, its new head.
///
/// Messages are compared as encoded bytes; a tensor that was external in the original, by its
/// declaration and values. With a new head (nodes or initializers named `ftsurgery/head/…` that the
/// original does not have) parts of the original may be missing, but what is there has its old
/// content and order.
///
/// # Errors
/// A sentence that names the first difference.
pub fn untouched_is_identical(
    original: &Model,
    emitted: &Model,
    tuned: &[String],
) -> Result<(), String> {
    if header(original) != header(emitted) {
        return Err(
            "the model's header, operator sets, functions or metadata differ from the original's"
                .to_owned(),
        );
    }
    let check = Check {
        original,
        emitted,
        tuned: tuned.iter().map(String::as_str).collect(),
    };
    let (before, after) = (original.graph(), emitted.graph());
    let grafted = check.nodes()? | check.initializers()?;
    check.tuned_are_there()?;

    let weights: HashSet<&str> = before.initializer.iter().map(tensor_name).collect();
    let name = |v: &Option<String>| v.clone().unwrap_or_default();
    let (mut inputs, kept_inputs) = (encoded(&before.input), encoded(&after.input));
    if grafted {
        // Inputs that stand for initializers come and go with them (IR 3).
        let fed: Vec<_> = before
            .input
            .iter()
            .filter(|v| !weights.contains(name(&v.name).as_str()))
            .cloned()
            .collect();
        subsequence("graph input", &encoded(&fed), &kept_inputs)?;
        let mut kept = after.input.clone();
        kept.retain(|v| !is_head(&v.name));
        subsequence("graph input", &encoded(&kept), &inputs)?;
        subsequence(
            "value info",
            &encoded(&after.value_info),
            &encoded(&before.value_info),
        )?;
        subsequence(
            "quantisation annotation",
            &encoded(&after.quantization_annotation),
            &encoded(&before.quantization_annotation),
        )
    } else {
        inputs.extend(encoded(&before.output));
        inputs.extend(encoded(&before.value_info));
        inputs.extend(encoded(&before.quantization_annotation));
        let mut now = kept_inputs;
        now.extend(encoded(&after.output));
        now.extend(encoded(&after.value_info));
        now.extend(encoded(&after.quantization_annotation));
        if inputs != now || before.node.len() != after.node.len() {
            return Err("nodes or declared inputs, outputs or values differ".to_owned());
        }
        if before.initializer.len() != after.initializer.len() {
            return Err("initializers are missing or new".to_owned());
        }
        Ok(())
    }
}

struct Check<'a> {
    original: &'a Model,
    emitted: &'a Model,
    tuned: HashSet<&'a str>,
}

impl Check<'_> {
    /// Whether there are new nodes, all of them a head's.
    fn nodes(&self) -> Result<bool, String> {
        let before = &self.original.graph().node;
        let place: HashMap<&str, usize> = before
            .iter()
            .enumerate()
            .map(|(i, n)| (first_output(n), i))
            .collect();
        let mut new = false;
        let mut last = None;
        for node in &self.emitted.graph().node {
            let found = place.get(first_output(node)).copied();
            if let Some(i) = found
                && self.same_node(&before[i], node)?
            {
                if last.is_some_and(|l| l >= i) {
                    return Err(format!("the node of `{}` moved", first_output(node)));
                }
                last = Some(i);
            } else if is_head(&node.name) {
                new = true;
            } else {
                return Err(format!(
                    "the node of `{}` is not as in the original",
                    first_output(node)
                ));
            }
        }
        Ok(new)
    }

    /// Whether there are new initializers, all of them a head's.
    fn initializers(&self) -> Result<bool, String> {
        let before = &self.original.graph().initializer;
        let place: HashMap<&str, usize> = before
            .iter()
            .enumerate()
            .map(|(i, t)| (tensor_name(t), i))
            .collect();
        let mut new = false;
        let mut last = None;
        for tensor in &self.emitted.graph().initializer {
            let name = tensor_name(tensor);
            let found = place.get(name).copied();
            let same = match found {
                Some(i) => self.same_tensor(name, &before[i], tensor)?,
                None => false,
            };
            if same {
                if last.is_some_and(|l| l >= found) {
                    return Err(format!("the initializer `{name}` moved"));
                }
                last = Some(found);
            } else if is_head(&tensor.name) && self.tuned.contains(name) {
                new = true;
            } else {
                return Err(format!(
                    "the initializer `{name}` is not as in the original"
                ));
            }
        }
        Ok(new)
    }

    fn tuned_are_there(&self) -> Result<(), String> {
        let graph = self.emitted.graph();
        let mut there: HashSet<&str> = graph.initializer.iter().map(tensor_name).collect();
        there.extend(
            graph
                .node
                .iter()
                .filter(|n| is_constant(n))
                .map(first_output),
        );
        match self.tuned.iter().find(|t| !there.contains(**t)) {
            None => Ok(()),
            Some(name) => Err(format!("the tuned tensor `{name}` is missing")),
        }
    }

    /// Whether a tensor is as it was; of a tuned one, all but its values.
    fn same_tensor(
        &self,
        name: &str,
        old: &TensorProto,
        new: &TensorProto,
    ) -> Result<bool, String> {
        if self.tuned.contains(name) || is_external(old) && !is_external(new) {
            if declared(old) != declared(new) {
                return Ok(false);
            }
            let read = |model: &Model, t| model.tensor(t).map_err(|e| e.to_string());
            let (old, new) = (read(self.original, old)?, read(self.emitted, new)?);
            return Ok(self.tuned.contains(name) || old.data == new.data);
        }
        // The raw data is compared on its own, not to copy large weights.
        let without = |t: &TensorProto| TensorProto {
            raw_data: t.raw_data.as_ref().map(|_| bytes::Bytes::new()),
            ..t.clone()
        };
        Ok(old.raw_data == new.raw_data
            && without(old).encode_to_vec() == without(new).encode_to_vec())
    }

    fn same_node(&self, old: &NodeProto, new: &NodeProto) -> Result<bool, String> {
        if old.encode_to_vec() == new.encode_to_vec() {
            return Ok(true);
        }
        if !is_constant(old) || old.attribute.len() != new.attribute.len() {
            return Ok(false);
        }
        let name = first_output(old);
        for (a, b) in old.attribute.iter().zip(&new.attribute) {
            if let (Some(a), Some(b)) = (&a.t, &b.t)
                && !self.same_tensor(name, a, b)?
            {
                return Ok(false);
            }
        }
        let tuned = self.tuned.contains(name);
        let bare = |node: &NodeProto| {
            let mut node = node.clone();
            for AttributeProto { t, f, floats, .. } in &mut node.attribute {
                *t = None;
                if tuned {
                    *f = None;
                    floats.clear();
                }
            }
            node.encode_to_vec()
        };
        Ok(bare(old) == bare(new))
    }
}

/// What stands around the graph's parts, encoded, without ftsurgery's metadata.
fn header(model: &Model) -> Vec<u8> {
    let proto = &model.proto;
    let graph = model.graph();
    let ours = |key: &Option<String>| {
        key.as_deref()
            .is_some_and(|k| k.starts_with(METADATA_PREFIX))
    };
    let metadata = proto.metadata_props.iter().filter(|p| !ours(&p.key));
    ModelProto {
        ir_version: proto.ir_version,
        opset_import: proto.opset_import.clone(),
        producer_name: proto.producer_name.clone(),
        producer_version: proto.producer_version.clone(),
        domain: proto.domain.clone(),
        model_version: proto.model_version,
        doc_string: proto.doc_string.clone(),
        graph: Some(GraphProto {
            name: graph.name.clone(),
            doc_string: graph.doc_string.clone(),
            metadata_props: graph.metadata_props.clone(),
            sparse_initializer: graph.sparse_initializer.clone(),
            ..GraphProto::default()
        }),
        metadata_props: metadata.cloned().collect(),
        training_info: proto.training_info.clone(),
        functions: proto.functions.clone(),
        configuration: proto.configuration.clone(),
    }
    .encode_to_vec()
}

/// A tensor's message without its values and without where they lie.
fn declared(tensor: &TensorProto) -> Vec<u8> {
    TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        name: tensor.name.clone(),
        doc_string: tensor.doc_string.clone(),
        metadata_props: tensor.metadata_props.clone(),
        ..TensorProto::default()
    }
    .encode_to_vec()
}

fn encoded<M: Message>(messages: &[M]) -> Vec<Vec<u8>> {
    messages.iter().map(Message::encode_to_vec).collect()
}

/// Whether all of `part` stands in `whole`, in the same order.
fn subsequence(what: &str, part: &[Vec<u8>], whole: &[Vec<u8>]) -> Result<(), String> {
    let mut rest = whole.iter();
    match part.iter().find(|p| !rest.any(|w| w == *p)) {
        None => Ok(()),
        Some(_) => Err(format!("a {what} is not as in the original")),
    }
}

fn first_output(node: &NodeProto) -> &str {
    let present = node.output.iter().find(|o| !o.is_empty());
    present.map_or("", String::as_str)
}

fn tensor_name(tensor: &TensorProto) -> &str {
    tensor.name.as_deref().unwrap_or("")
}

fn is_head(name: &Option<String>) -> bool {
    name.as_deref().is_some_and(|n| n.starts_with(HEAD_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn every_kind_of_change_is_noticed() {
        let original = model(&classifier());
        let changed = |change: fn(&mut ModelProto, &mut GraphProto)| {
            let mut proto = original.proto.clone();
            let mut graph = proto.graph.take().unwrap();
            change(&mut proto, &mut graph);
            proto.graph = Some(graph);
            untouched_is_identical(&original, &decode(&proto), &[])
        };
        assert_eq!(changed(|_, _| ()), Ok(()));
        let changes: [fn(&mut ModelProto, &mut GraphProto); 11] = [
            |p, _| p.ir_version = Some(9),
            |p, _| p.opset_import[0].version = Some(18),
            |p, _| crate::onnx::set_metadata(p, "classes", "3"),
            |_, g| g.input[0].doc_string = Some("x".to_owned()),
            |_, g| drop(g.output.pop()),
            |_, g| g.node[0].name = Some("other".to_owned()),
            |_, g| drop(g.node.pop()),
            |_, g| g.node.swap(3, 4),
            |_, g| drop(g.initializer.pop()),
            |_, g| g.initializer.swap(0, 1),
            |_, g| {
                let mut raw = g.initializer[0].raw_data.take().unwrap().to_vec();
                raw[0] ^= 1;
                g.initializer[0].raw_data = Some(raw.into());
            },
        ];
        for (i, change) in changes.into_iter().enumerate() {
            assert!(changed(change).is_err(), "change {i}");
        }
        assert_eq!(
            changed(|p, _| crate::onnx::set_metadata(p, "ftsurgery.strategy", "head")),
            Ok(())
        );
    }
}
