//! An If whose condition is a constant gives way to the nodes of its branch.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use crate::graph::Names;
use crate::graph::messages::{defined, value_names};
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
    let mut changed = false;
    let mut at = 0;
    while at < graph.node.len() {
        let node = &graph.node[at];
        let condition = node.input.first().filter(|_| pass.is(node, "If"));
        let condition = condition.and_then(|name| own.get(name).or_else(|| around.get(name)));
        let holds = condition
            .and_then(|tensor| pass.tensor(tensor))
            .and_then(|tensor| Some(*tensor.data.first()? != 0));
        let branch = holds.and_then(|holds| branch(node, holds)).cloned();
        match branch {
            Some(branch) if fits(graph, node, &branch) => {
                write_out(pass, graph, place, at, branch);
                pass.counts.branches += 1;
                changed = true;
            }
            _ => at += 1,
        }
    }
    Ok(changed)
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

fn write_out(
    pass: &mut Pass<'_>,
    graph: &mut GraphProto,
    place: Place<'_>,
    at: usize,
    mut branch: GraphProto,
) {
    let rest = graph.node.split_off(at + 1);
    let Some(node) = graph.node.pop() else {
        graph.node = rest;
        return;
    };
    pass.touch_node(place, &node);
    // The names of all else.
    let others = || graph.node.iter().chain(&rest);
    let all = GraphProto {
        node: others().cloned().collect(),
        ..graph.clone()
    };
    let mut taken: Names = value_names(&all)
        .into_iter()
        .chain(node.output.clone())
        .collect();
    let mut node_names: Names = others().map(|n| n.name().to_owned()).collect();
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
            let fresh = taken.fresh(place.key());
            if fresh != *place.key() {
                place.insert(fresh);
            }
        }
    }
    let pairs = renamed.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    rename_values(&mut branch, &pairs.collect());
    for tensor in branch.initializer {
        let as_node = place.is_none() && pass.ir < 4;
        put(pass, graph, place, tensor, as_node);
    }
    for mut inner in branch.node {
        if let Some(name) = inner.name.as_mut().filter(|name| !name.is_empty()) {
            *name = node_names.fresh(name);
        }
        pass.touch_node(place, &inner);
        graph.node.push(inner);
    }
    for (name, wanted) in copies {
        let from = renamed.get(&name).unwrap_or(&name).clone();
        let copy = NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec![from],
            output: vec![wanted],
            ..NodeProto::default()
        };
        pass.touch_node(place, &copy);
        graph.node.push(copy);
    }
    for noted in branch.value_info {
        let known = |v: &crate::onnx::messages::ValueInfoProto| v.name() == noted.name();
        if !graph.value_info.iter().chain(&graph.output).any(known) {
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
    graph.node.extend(rest);
}
