//! Nodes that hand on what they read.

use std::collections::{HashMap, HashSet};

use crate::onnx::Tensor;
use crate::onnx::messages::{GraphProto, NodeProto};
use crate::surgery::{Named, Part, reads};

use super::{Constants, Pass, Place};

/// Takes away Identity, and Dropout that does not train; whether there was one. What an output is a copy of gets the
/// output's name, where a node makes it that nothing else keeps to its own.
pub(super) fn remove(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    around: &Constants,
) -> bool {
    let is_copy = |node: &NodeProto| is_identity(pass, node) || pass.is(node, "Dropout");
    if !graph.node.iter().any(is_copy) {
        return false;
    }
    let own = pass.constants(graph, place).unwrap_or_default();
    let constant = |name: &str| own.get(name).or_else(|| around.get(name));
    let mut copies = Copies::of(graph);
    let read: HashSet<&str> = graph.node.iter().flat_map(reads).collect();
    for (at, node) in graph.node.iter().enumerate() {
        let is_copy = is_identity(pass, node)
            || is_idle(
                pass,
                node,
                |mask| copies.given.contains(mask) || read.contains(mask),
                constant,
            );
        if is_copy {
            copies.take(at, node);
        }
    }
    let Copies {
        instead,
        gone,
        moved,
        ..
    } = copies;
    if gone.is_empty() {
        return false;
    }
    apply(pass, graph, place, &instead, &gone, moved);
    true
}

fn is_identity(pass: &Pass<'_>, node: &NodeProto) -> bool {
    pass.is(node, "Identity") && node.input.len() == 1 && node.output.len() == 1
}

/// Whether a node is a Dropout that drops nothing, and nothing reads its mask. Before opset 7 an attribute said so; since
/// opset 12 it drops where its third input is true.
/// Source: <https://onnx.ai/onnx/operators/onnx__Dropout.html>.
fn is_idle<'t>(
    pass: &Pass<'_>,
    node: &NodeProto,
    is_read: impl Fn(&str) -> bool,
    constant: impl Fn(&str) -> Option<&'t crate::onnx::messages::TensorProto>,
) -> bool {
    if !pass.is(node, "Dropout")
        || pass.opset < 7
        || node.input.is_empty()
        || node.output.is_empty()
        || node.output.get(1).is_some_and(|mask| is_read(mask))
    {
        return false;
    }
    match node.input.get(2).filter(|mode| !mode.is_empty()) {
        None => true,
        Some(mode) => {
            let value = constant(mode).and_then(|t| pass.tensor(t));
            value.as_ref().and_then(Tensor::to_i64).as_deref() == Some(&[0])
        }
    }
}

/// What is to go, and what is read in place of it.
struct Copies {
    /// By value, what takes its place.
    instead: HashMap<String, String>,
    /// Nodes, by their places.
    gone: HashSet<usize>,
    /// The first and the last node between which, by the names of their outputs, some move.
    moved: Option<(usize, usize)>,
    /// Outputs of the graph.
    given: HashSet<String>,
    /// Values of whose numbers something is noted.
    annotated: HashSet<String>,
    /// Initializers and inputs.
    stored: HashSet<String>,
    /// By value, the first node that makes it.
    makers: HashMap<String, usize>,
}

impl Copies {
    fn of(graph: &GraphProto) -> Self {
        let mut makers = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                makers.entry(output.clone()).or_insert(at);
            }
        }
        let notes = graph.quantization_annotation.iter();
        let tensors = graph.initializer.iter().map(Named::key);
        let sparse = graph.sparse_initializer.iter().map(Named::key);
        let inputs = graph.input.iter().map(Named::key);
        Copies {
            instead: HashMap::new(),
            gone: HashSet::new(),
            moved: None,
            given: graph.output.iter().map(|o| o.name().to_owned()).collect(),
            annotated: notes.filter_map(|note| note.tensor_name.clone()).collect(),
            stored: tensors.chain(sparse).chain(inputs).collect(),
            makers,
        }
    }

    /// Takes a node away, if its readers can do without.
    fn take(&mut self, at: usize, node: &NodeProto) {
        let (from, to) = (last(&self.instead, &node.input[0]), node.output[0].as_str());
        let is_open = !from.is_empty() && !to.is_empty() && from != to;
        if !is_open || self.annotated.contains(to) || self.instead.contains_key(to) {
            return;
        }
        let (old, new) = if self.given.contains(to) {
            let Some(&maker) = self.makers.get(from).filter(|&&maker| maker < at) else {
                return;
            };
            let stays = self.given.contains(from)
                || self.annotated.contains(from)
                || self.stored.contains(from);
            if stays {
                return;
            }
            // By its output, the maker now stands before what is between.
            let (first, end) = self.moved.unwrap_or((maker, at));
            self.moved = Some((first.min(maker), end.max(at)));
            (from, to)
        } else {
            (to, from)
        };
        let (old, new) = (old.to_owned(), new.to_owned());
        self.instead.insert(old, new);
        self.gone.insert(at);
    }
}

/// Follows what is read in place of a value. No way leads back to where it came from: what takes a place has none that
/// takes its own at that time, and is another value.
fn last<'v>(instead: &'v HashMap<String, String>, mut value: &'v str) -> &'v str {
    while let Some(next) = instead.get(value) {
        value = next;
    }
    value
}

/// Takes the nodes away, and has their readers read what is there instead.
fn apply(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    instead: &HashMap<String, String>,
    gone: &HashSet<usize>,
    moved: Option<(usize, usize)>,
) {
    let names: HashMap<&str, &str> = instead
        .keys()
        .map(|old| (old.as_str(), last(instead, old)))
        .collect();
    let mut at = 0;
    let mut masks: HashSet<String> = HashSet::new();
    graph.node.retain(|node| {
        let goes = gone.contains(&at);
        if goes || moved.is_some_and(|(first, end)| (first..end).contains(&at)) {
            pass.touch_node(place, node);
        }
        if goes {
            match node.op_type() {
                "Identity" => pass.counts.identities += 1,
                _ => pass.counts.dropouts += 1,
            }
            masks.extend(node.output.iter().skip(1).cloned());
        }
        at += 1;
        !goes
    });
    for node in &mut graph.node {
        let key = node.key();
        let made = node
            .output
            .iter_mut()
            .filter(|o| names.contains_key(o.as_str()));
        for output in made {
            names[output.as_str()].clone_into(output);
            pass.touch(place, Part::Node, &key);
        }
        if node.key() != key {
            pass.touch_node(place, node);
        }
    }
    pass.redirect(graph, place, &names);
    let mut forgotten = Vec::new();
    graph.value_info.retain(|value| {
        let stays = !names.contains_key(value.name()) && !masks.contains(value.name());
        if !stays {
            forgotten.push(value.name().to_owned());
        }
        stays
    });
    for value in forgotten {
        pass.touch(place, Part::ValueInfo, &value);
    }
}
