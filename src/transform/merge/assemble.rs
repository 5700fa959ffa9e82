//! The messages of one model behind those of another.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::onnx::messages::{ModelProto, StringStringEntryProto, ValueInfoProto};
use crate::surgery::{Named, Part};

use super::State;
use super::shared::Shared;

/// Appends what of the next model is not there yet; by now its values have their new names.
pub(super) fn append(
    state: &mut State<'_>,
    next: ModelProto,
    joined: &HashMap<String, String>,
    shared: &Shared,
    names: &HashMap<String, String>,
    path: &Path,
) {
    header(state, &next, path);
    let State { proto, told, .. } = state;
    for function in next.functions {
        told.part(Part::Function, &function.key());
        proto.functions.push(function);
    }
    let graph = proto.graph.get_or_insert_default();
    let new = next.graph.unwrap_or_default();
    let there: HashSet<String> = joined.values().cloned().collect();
    // What is shared has the name that it had.
    let is_shared = |name: &str| shared.values.contains(name) || there.contains(name);
    for node in new.node {
        if !shared.nodes.contains(&node.key()) {
            told.part(Part::Node, &node.key());
            graph.node.push(node);
        }
    }
    for tensor in new.initializer {
        if !shared.tensors.contains(tensor.name()) {
            told.part(Part::Tensor, tensor.name());
            graph.initializer.push(tensor);
        }
    }
    for tensor in new.sparse_initializer {
        if !shared.tensors.contains(&tensor.key()) {
            told.part(Part::SparseTensor, &tensor.key());
            graph.sparse_initializer.push(tensor);
        }
    }
    let joints: HashSet<String> = joined
        .iter()
        .map(|(input, value)| names.get(input).unwrap_or(value).clone())
        .collect();
    for input in new.input {
        let name = input.name();
        let is_there = joints.contains(name) || is_shared(name);
        if !is_there {
            told.part(Part::Input, name);
            graph.input.push(input);
        } else if joints.contains(name) {
            // What is not noted of the value before.
            let is_known = |v: &ValueInfoProto| v.name() == name;
            let mut known = graph
                .input
                .iter()
                .chain(&graph.output)
                .chain(&graph.value_info);
            if !known.any(is_known) {
                told.part(Part::ValueInfo, name);
                graph.value_info.push(input);
            }
        }
    }
    state.connected.extend(joined.values().cloned());
    for output in new.output {
        let name = output.name().to_owned();
        // An output that hands an input on, or that both have.
        state.connected.retain(|value| *value != name);
        if !graph.output.iter().any(|o| o.name() == name) {
            told.part(Part::Output, &name);
            graph.output.push(output);
        }
    }
    for noted in new.value_info {
        let name = noted.name();
        let known = graph
            .value_info
            .iter()
            .chain(&graph.output)
            .chain(&graph.input);
        if !known.into_iter().any(|v| v.name() == name) {
            told.part(Part::ValueInfo, name);
            graph.value_info.push(noted);
        }
    }
    for note in new.quantization_annotation {
        let name = note.key();
        if !graph
            .quantization_annotation
            .iter()
            .any(|n| n.key() == name)
        {
            told.part(Part::Annotation, &name);
            graph.quantization_annotation.push(note);
        }
    }
}

/// What stands for itself: versions, texts, metadata.
fn header(state: &mut State<'_>, next: &ModelProto, path: &Path) {
    let State {
        proto, told, notes, ..
    } = state;
    if next.ir_version > proto.ir_version {
        proto.ir_version = next.ir_version;
        told.part(Part::Header, "ir_version");
    }
    let mut text = |what: &str, own: &mut Option<String>, other: &Option<String>| {
        let is_there = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.is_empty());
        if !is_there(other) || own == other {
            return;
        }
        match is_there(own) {
            true => notes.push(format!("the {what} is not that of {}", path.display())),
            false => {
                own.clone_from(other);
                told.part(
                    Part::Header,
                    match what {
                        "documentation" => "doc_string",
                        _ => "graph.doc_string",
                    },
                );
            }
        }
    };
    text("documentation", &mut proto.doc_string, &next.doc_string);
    let graph = proto.graph.get_or_insert_default();
    if let Some(other) = &next.graph {
        text(
            "graph's documentation",
            &mut graph.doc_string,
            &other.doc_string,
        );
    }
    let added = metadata(
        &mut proto.metadata_props,
        &next.metadata_props,
        "metadata",
        path,
        notes,
    );
    for key in added {
        told.part(Part::Metadata, &key);
    }
    let none = Vec::new();
    let other = next.graph.as_ref().map_or(&none, |g| &g.metadata_props);
    let own = &mut graph.metadata_props;
    let added = metadata(own, other, "graph's metadata", path, notes);
    if !added.is_empty() {
        told.inside("the graph's metadata");
    }
    if !next.configuration.is_empty() && proto.configuration != next.configuration {
        match proto.configuration.is_empty() {
            true => {
                proto.configuration.clone_from(&next.configuration);
                told.part(Part::Header, "configuration");
            }
            false => notes.push(format!("the devices are not those of {}", path.display())),
        }
    }
}

/// Adds properties whose keys are not there; their keys.
fn metadata(
    own: &mut Vec<StringStringEntryProto>,
    others: &[StringStringEntryProto],
    what: &str,
    path: &Path,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let mut added = Vec::new();
    for other in others {
        match own.iter().find(|p| p.key == other.key) {
            Some(known) if known.value == other.value => {}
            Some(_) => notes.push(format!(
                "`{}` of the {what} is not that of {}",
                other.key.as_deref().unwrap_or_default(),
                path.display()
            )),
            None => {
                added.push(Named::key(other));
                own.push(other.clone());
            }
        }
    }
    added
}

/// Declares the outputs; what is noted of an old one that is none any more is noted of it still.
pub(super) fn declare_outputs(
    state: &mut State<'_>,
    old: Vec<ValueInfoProto>,
    new: Vec<ValueInfoProto>,
) {
    let State { proto, told, .. } = state;
    let graph = proto.graph.get_or_insert_default();
    for value in old.iter().chain(&new) {
        told.part(Part::Output, value.name());
    }
    graph.value_info.retain(|noted| {
        let stays = !new.iter().any(|o| o.name() == noted.name());
        if !stays {
            told.part(Part::ValueInfo, noted.name());
        }
        stays
    });
    for value in old {
        let name = value.name();
        let known = graph.value_info.iter().chain(&graph.input).chain(&new);
        if !known.into_iter().any(|v| v.name() == name) {
            told.part(Part::ValueInfo, name);
            graph.value_info.push(value);
        }
    }
    graph.output = new;
}
