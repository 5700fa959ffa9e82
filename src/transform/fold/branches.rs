//! An If whose condition is a constant gives way to the nodes of its branch.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};

use crate::graph::messages::{defined, inner_graphs, value_names};
use crate::onnx::messages::{GraphProto, NodeProto};
use crate::surgery::{Part, rename_values};

use super::put::put;
use super::{Constants, Pass, Place, TransformError, is_annotated};

/// Puts branches in the place of their nodes; whether there was one. What a branch makes keeps its names, with a number where
/// one is taken.
pub(super) fn take(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    around: &Constants,
) -> Result<bool, TransformError> {
    if !graph.node.iter().any(|node| pass.is(node, "If")) {
        return Ok(false);
    }
    let own = pass.constants(graph, place)?;
    let mut open = VecDeque::from(std::mem::take(&mut graph.node));
    let mut names = InUse::of(graph, &open);
    let mut changed = false;
    while let Some(node) = open.pop_front() {
        let condition = node.input.first().filter(|_| pass.is(&node, "If"));
        let condition = condition.and_then(|name| own.get(name).or_else(|| around.get(name)));
        let holds = condition
            .and_then(|tensor| pass.tensor(tensor))
            .and_then(|tensor| Some(*tensor.data.first()? != 0));
        let branch = holds.and_then(|holds| branch(&node, holds)).cloned();
        match branch {
            Some(branch) if fits(graph, &node, &branch) => {
                let nodes = written_out(pass, graph, place, &node, branch, &mut names);
                for node in nodes.into_iter().rev() {
                    open.push_front(node);
                }
                pass.counts.branches += 1;
                changed = true;
            }
            _ => graph.node.push(node),
        }
    }
    Ok(changed)
}

/// The names that a graph uses, how often each.
struct InUse {
    values: Counted,
    nodes: Counted,
    /// Values whose types are noted.
    noted: HashSet<String>,
}

impl InUse {
    fn of<'n>(graph: &GraphProto, nodes: impl IntoIterator<Item = &'n NodeProto>) -> Self {
        let noted = graph.value_info.iter().chain(&graph.output);
        let mut names = InUse {
            values: Counted::default(),
            nodes: Counted::default(),
            noted: noted.map(|v| v.name().to_owned()).collect(),
        };
        names.values.add(value_names(graph));
        for node in nodes {
            names.add(node);
        }
        names
    }

    fn add(&mut self, node: &NodeProto) {
        self.values.add(values_of(node));
        self.nodes.add([node.name().to_owned()]);
    }

    fn remove(&mut self, node: &NodeProto) {
        self.values.remove(values_of(node));
        self.nodes.remove([node.name()]);
        // What makes these comes in its place.
        self.values.add(node.output.iter().cloned());
    }
}

/// All values that a node and the graphs inside of it name.
fn values_of(node: &NodeProto) -> HashSet<String> {
    let mut names: HashSet<String> = inner_graphs(node).flat_map(value_names).collect();
    names.extend(node.input.iter().chain(&node.output).cloned());
    let devices = node.device_configurations.iter();
    let sharded = devices.flat_map(|d| &d.sharding_spec);
    names.extend(sharded.filter_map(|s| s.tensor_name.clone()));
    names
}

/// Names and how often each is there.
#[derive(Default)]
struct Counted {
    counts: HashMap<String, usize>,
    /// How many were made from a hint that was taken.
    made: HashMap<String, usize>,
}

impl Counted {
    fn add(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            *self.counts.entry(name).or_default() += 1;
        }
    }

    fn remove<S: AsRef<str>>(&mut self, names: impl IntoIterator<Item = S>) {
        for name in names {
            if let Some(count) = self.counts.get_mut(name.as_ref()) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn is_free(&self, name: &str) -> bool {
        self.counts.get(name).is_none_or(|count| *count == 0)
    }

    /// `hint`, with a number behind it where that is taken. It is taken when its node is.
    fn fresh(&mut self, hint: &str) -> String {
        if self.is_free(hint) {
            return hint.to_owned();
        }
        let mut count = self.made.get(hint).copied().unwrap_or(1);
        loop {
            count += 1;
            let name = format!("{hint}_{count}");
            if self.is_free(&name) {
                self.made.insert(hint.to_owned(), count);
                return name;
            }
        }
    }
}

fn branch(node: &NodeProto, holds: bool) -> Option<&GraphProto> {
    let name = if holds { "then_branch" } else { "else_branch" };
    let mut attributes = node.attribute.iter();
    attributes
        .find(|a| a.name.as_deref() == Some(name))?
        .g
        .as_deref()
}

fn fits(graph: &GraphProto, node: &NodeProto, branch: &GraphProto) -> bool {
    branch.output.len() >= node.output.len()
        && branch.input.is_empty()
        && branch.sparse_initializer.is_empty()
        && !node.output.iter().any(|o| is_annotated(graph, o))
}

/// The nodes of a branch, as they stand in the place of its node.
fn written_out(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    node: &NodeProto,
    mut branch: GraphProto,
    names: &mut InUse,
) -> Vec<NodeProto> {
    pass.touch_node(place, node);
    names.remove(node);
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut copies = Vec::new();
    let made: HashSet<String> = branch
        .node
        .iter()
        .flat_map(|n| &n.output)
        .cloned()
        .collect();
    for (output, wanted) in branch.output.iter().zip(&node.output) {
        let name = output.name().to_owned();
        match made.contains(&name) && !renamed.contains_key(&name) {
            _ if wanted.is_empty() => {}
            true => drop(renamed.insert(name, wanted.clone())),
            false => copies.push((name, wanted.clone())),
        }
    }
    let mut own: Vec<String> = defined(&branch).into_iter().map(str::to_owned).collect();
    own.sort();
    for name in own {
        if let Entry::Vacant(place) = renamed.entry(name) {
            let fresh = names.values.fresh(place.key());
            names.values.add([fresh.clone()]);
            if fresh != *place.key() {
                place.insert(fresh);
            }
        }
    }
    let pairs = renamed.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    rename_values(&mut branch, &pairs.collect());
    let mut nodes = Vec::new();
    for tensor in branch.initializer {
        let as_node = place.is_none() && pass.ir < 4;
        put(pass, graph, place, tensor, as_node);
    }
    for mut inner in branch.node {
        if let Some(name) = inner.name.as_mut().filter(|name| !name.is_empty()) {
            *name = names.nodes.fresh(name);
            names.nodes.add([name.clone()]);
        }
        nodes.push(inner);
    }
    for (name, wanted) in copies {
        let from = renamed.get(&name).unwrap_or(&name).clone();
        nodes.push(NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec![from],
            output: vec![wanted],
            ..NodeProto::default()
        });
    }
    for node in &nodes {
        pass.touch_node(place, node);
        names.values.add(values_of(node));
    }
    for noted in branch.value_info {
        if names.noted.insert(noted.name().to_owned()) {
            pass.touch(place, Part::ValueInfo, noted.name());
            graph.value_info.push(noted);
        }
    }
    for note in branch.quantization_annotation {
        pass.touch(
            place,
            Part::Annotation,
            note.tensor_name.as_deref().unwrap_or_default(),
        );
        graph.quantization_annotation.push(note);
    }
    nodes
}
