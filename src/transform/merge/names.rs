//! Other names for what clashes.

use std::collections::{HashMap, HashSet};

use crate::graph::Names;
use crate::graph::messages::{defined, value_names};
use crate::onnx::messages::ModelProto;
use crate::surgery::{Named, rename_values};

use super::shared::Shared;
use super::{Parts, State};

/// Renames that are told one by one.
const TOLD: usize = 8;

/// Gives values and nodes of the next model other names where theirs are taken, in graphs inside of nodes, too, and what
/// is connected the name of the value that goes there. Gives the new names of values by the old.
pub(super) fn clashes(
    parts: &Parts,
    at: usize,
    state: &mut State<'_>,
    next: &mut ModelProto,
    joints: &[(String, String)],
    shared: &Shared,
) -> HashMap<String, String> {
    let graph = next.graph.get_or_insert_default();
    let taken = value_names(state.graph());
    let own = value_names(graph);
    let mut all: Names = taken.iter().chain(&own).cloned().collect();
    let mut names: HashMap<String, String> = joints
        .iter()
        .filter(|(input, value)| input != value)
        .cloned()
        .collect();
    let stays = |name: &String| {
        shared.values.contains(name) || joints.iter().any(|(input, _)| input == name)
    };
    let outer: HashSet<String> = defined(graph).into_iter().map(str::to_owned).collect();
    let mut clashing: Vec<&String> = own
        .iter()
        .filter(|name| !name.is_empty() && taken.contains(*name) && !stays(name))
        .collect();
    clashing.sort();
    let mut told = Vec::new();
    for name in clashing {
        let new = all.fresh(name);
        if outer.contains(name) {
            told.push((name.clone(), new.clone()));
        }
        names.insert(name.clone(), new);
    }
    let pairs = names.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    rename_values(graph, &pairs.collect());
    let so_far = state.graph();
    let nodes = so_far.node.iter().map(|n| n.name());
    let taken: HashSet<&str> = nodes.filter(|name| !name.is_empty()).collect();
    let both = so_far.node.iter().chain(&graph.node);
    let mut all: Names = both.map(|n| n.name().to_owned()).collect();
    let mut nodes = 0;
    for node in &mut graph.node {
        if taken.contains(node.name()) && !shared.nodes.contains(&node.key()) {
            node.name = Some(all.fresh(node.name()));
            nodes += 1;
        }
    }
    let path = parts.path(at).display();
    for (old, new) in told.iter().take(TOLD) {
        state.notes.push(format!(
            "`{old}` of {path} is named `{new}`, as the name is taken"
        ));
    }
    if told.len() > TOLD {
        state.notes.push(format!(
            "{} more values of {path} have a number behind their names, which are taken",
            told.len() - TOLD
        ));
    }
    if nodes > 0 {
        state.notes.push(format!(
            "{nodes} node{} of {path} {} a number behind {}, taken as well",
            if nodes == 1 { "" } else { "s" },
            if nodes == 1 { "has" } else { "have" },
            if nodes == 1 {
                "its name"
            } else {
                "their names"
            },
        ));
    }
    names
}
