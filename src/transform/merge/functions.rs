//! The models' own functions.

use std::collections::HashSet;

use crate::graph::messages::all_graphs;
use crate::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto};

use super::super::TransformError;
use super::{Parts, State};

/// Domain, name and overload.
type Callee = (String, String, String);

fn callee(node: &NodeProto) -> Callee {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        text(&node.domain),
        node.op_type().to_owned(),
        text(&node.overload),
    )
}

fn key(function: &crate::onnx::messages::FunctionProto) -> Callee {
    (
        function.domain().to_owned(),
        function.name().to_owned(),
        function.overload.clone().unwrap_or_default(),
    )
}

/// Takes functions from the next model that those before have alike, and gives those of a name that is taken another.
///
/// # Errors
/// When a function has the name of an operator that the other uses.
pub(super) fn bring_together(
    parts: &Parts,
    at: usize,
    state: &mut State<'_>,
    next: &mut ModelProto,
) -> Result<(), TransformError> {
    if state.proto.functions.is_empty() && next.functions.is_empty() {
        return Ok(());
    }
    let keys =
        |model: &ModelProto| -> HashSet<Callee> { model.functions.iter().map(key).collect() };
    let (so_far, own) = (keys(&state.proto), keys(next));
    let pairs = [(&so_far, &own, &*next), (&own, &so_far, &state.proto)];
    for (functions, others, model) in pairs {
        let mut called: Vec<Callee> = calls(model).into_iter().collect();
        called.sort();
        let clash = called
            .iter()
            .find(|c| functions.contains(*c) && !others.contains(*c));
        if let Some((domain, name, _)) = clash {
            return Err(TransformError::Unfit(format!(
                "`{domain}:{name}` is a function of one model, and an operator of another"
            )));
        }
    }
    let mut renamed: Vec<(Callee, String)> = Vec::new();
    let mut kept = Vec::new();
    let is_taken = |callee: &Callee| so_far.contains(callee) || own.contains(callee);
    for function in std::mem::take(&mut next.functions) {
        let callee = key(&function);
        let alike = state.proto.functions.iter().find(|f| key(f) == callee);
        match alike {
            None => kept.push(function),
            Some(other) if *other == function => {}
            Some(_) => {
                let (domain, name, overload) = callee.clone();
                let numbered = (2..).map(|n| format!("{name}_{n}"));
                let mut free = numbered
                    .filter(|new| !is_taken(&(domain.clone(), new.clone(), overload.clone())));
                let new = free.next().unwrap_or_default();
                state.notes.push(format!(
                    "the function `{domain}:{name}` of {} is named `{new}`, as there is another",
                    parts.path(at).display()
                ));
                renamed.push((callee, new.clone()));
                let mut function = function;
                function.name = Some(new);
                kept.push(function);
            }
        }
    }
    if !renamed.is_empty() {
        for function in &mut kept {
            function.node.iter_mut().for_each(|n| rename(n, &renamed));
        }
        if let Some(graph) = &mut next.graph {
            of_graph(graph, &renamed);
        }
    }
    next.functions = kept;
    Ok(())
}

/// What the nodes of a model call, wherever they are.
fn calls(model: &ModelProto) -> HashSet<Callee> {
    let mut called = HashSet::new();
    let mut open: Vec<&NodeProto> = model.functions.iter().flat_map(|f| &f.node).collect();
    open.extend(model.graph.iter().flat_map(|g| &g.node));
    for node in open {
        called.insert(callee(node));
        let inner = node.attribute.iter().flat_map(AttributeProto::subgraphs);
        let nodes = inner.flat_map(all_graphs).flat_map(|g| &g.node);
        called.extend(nodes.map(callee));
    }
    called
}

fn of_graph(graph: &mut GraphProto, renamed: &[(Callee, String)]) {
    graph.node.iter_mut().for_each(|n| rename(n, renamed));
}

fn rename(node: &mut NodeProto, renamed: &[(Callee, String)]) {
    let own = callee(node);
    if let Some((_, new)) = renamed.iter().find(|(callee, _)| *callee == own) {
        node.op_type = Some(new.clone());
    }
    let attributes = node.attribute.iter_mut();
    for inner in attributes.flat_map(AttributeProto::subgraphs_mut) {
        of_graph(inner, renamed);
    }
}
