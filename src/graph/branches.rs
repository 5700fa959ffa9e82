//! An `If` whose condition is known before the graph runs, because it is a constant or follows from shapes,
//! gives way to the nodes of its branch.
//!
//! PyTorch's older exporter writes `squeeze` so, where it does not know whether the dimension is 1.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::{DataType, Model, Tensor};

use super::messages::defined;
use super::{Attribute, Dim, Graph, GraphError, Names, Node, Value, infer_what_fits, normalise};

/// Batch sizes at which a condition must come to the same, where the batch is open.
const BATCHES: [usize; 3] = [1, 2, 7];
/// Sizes of the other dimensions that are open, likewise.
const SIDES: [usize; 2] = [224, 320];

/// Replaces what can be; `given`: the dimensions of the first input, where they are known. An `If` stays
/// whose condition is not known, or differs at several sizes of what is open, and one whose branch holds
/// weights, as these could not be written back.
pub(super) fn fold(
    graph: &mut Graph,
    model: &Model,
    given: Option<&[usize]>,
) -> Result<(), GraphError> {
    let mut left: HashSet<Option<String>> = HashSet::new();
    let mut changed = false;
    let key = |node: &Node| node.output(0).map(str::to_owned);
    let is_open = |node: &Node, left: &HashSet<_>| node.is("If") && !left.contains(&key(node));
    while let Some(at) = graph.nodes.iter().position(|n| is_open(n, &left)) {
        let node = &graph.nodes[at];
        let branch = condition(graph, node, given).and_then(|holds| branch(node, holds));
        match branch.filter(|b| !holds_weights(b)).cloned() {
            Some(branch) => {
                let node = graph.nodes.remove(at);
                let nodes = written_out(graph, model, &node, branch)?;
                graph.nodes.splice(at..at, nodes);
                changed = true;
            }
            None => drop(left.insert(key(node))),
        }
    }
    if changed {
        graph.sort()?;
    }
    Ok(())
}

/// What the condition of an `If` comes to.
fn condition(graph: &Graph, node: &Node, given: Option<&[usize]>) -> Option<bool> {
    let name = node.input(0)?;
    let mut part = graph.clone();
    part.outputs = vec![Value {
        name: name.to_owned(),
        dtype: DataType::Bool,
        dims: None,
    }];
    part.prune();
    normalise(&mut part).ok()?;
    let truth = |tensor: &Tensor| tensor.data.first().map(|&byte| byte != 0);
    let at = |inputs: HashMap<String, Vec<usize>>| {
        let (shapes, _) = infer_what_fits(&part, &inputs).ok()?;
        truth(shapes.constant(name)?)
    };
    let mut all = sizes(graph, given)?.into_iter().map(at);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// The dimensions of all inputs, in each way that is tried.
fn sizes(graph: &Graph, given: Option<&[usize]>) -> Option<Vec<HashMap<String, Vec<usize>>>> {
    let at = |batch: usize, side: usize| {
        let of = |(number, input): (usize, &Value)| {
            let given = given.filter(|_| number == 0);
            let dims = input.dims.as_ref()?.iter().enumerate();
            let size = |(axis, dim): (usize, &Dim)| match dim {
                Dim::Known(size) => *size,
                // What depends on the batch is not the same for each sample.
                Dim::Symbolic(_) if axis == 0 => batch,
                Dim::Symbolic(_) => given.and_then(|g| g.get(axis)).copied().unwrap_or(side),
            };
            Some((input.name.clone(), dims.map(size).collect()))
        };
        graph.inputs.iter().enumerate().map(of).collect()
    };
    let pairs = BATCHES.iter().flat_map(|&b| SIDES.map(|s| (b, s)));
    let all: Option<Vec<HashMap<String, Vec<usize>>>> = pairs.map(|(b, s)| at(b, s)).collect();
    let mut all = all?;
    all.dedup();
    Some(all)
}

fn branch(node: &Node, holds: bool) -> Option<&GraphProto> {
    let name = if holds { "then_branch" } else { "else_branch" };
    match node.attributes.get(name)? {
        Attribute::Other(proto) => proto.g.as_deref(),
        _ => None,
    }
}

/// Whether a graph has floats of its own, but for single numbers.
fn holds_weights(graph: &GraphProto) -> bool {
    let values = graph.node.iter().flat_map(|n| &n.attribute);
    let tensors = graph
        .initializer
        .iter()
        .chain(values.filter_map(|a| a.t.as_ref()));
    let mut floats = tensors.filter(|t| {
        let dtype = t.data_type.and_then(DataType::from_number);
        dtype.is_some_and(DataType::is_float) && t.dims.iter().any(|&d| d != 1)
    });
    floats.next().is_some() || !graph.sparse_initializer.is_empty()
}

/// The nodes of a branch, with the outputs of its `If` and otherwise names that are not taken.
fn written_out(
    graph: &mut Graph,
    model: &Model,
    node: &Node,
    branch: GraphProto,
) -> Result<Vec<Node>, GraphError> {
    let values = graph.inputs.iter().map(|v| v.name.clone());
    let made = graph
        .nodes
        .iter()
        .flat_map(|n| n.outputs.iter().chain([&n.name]));
    let mut names: Names = graph
        .initializers
        .keys()
        .chain(made)
        .chain(&node.outputs)
        .cloned()
        .chain(values)
        .collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    for tensor in &branch.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let new = names.fresh(&format!("{}/{name}", node.name));
        graph
            .initializers
            .insert(new.clone(), model.tensor(tensor)?);
        renamed.insert(name, new);
    }
    let mut copies = Vec::new();
    let own: HashSet<&String> = branch.node.iter().flat_map(|n| &n.output).collect();
    for (output, wanted) in branch.output.iter().zip(&node.outputs) {
        let name = output.name.clone().unwrap_or_default();
        match own.contains(&name) && !renamed.contains_key(&name) {
            _ if wanted.is_empty() => {}
            true => drop(renamed.insert(name, wanted.clone())),
            false => copies.push((name, wanted)),
        }
    }
    for name in own.into_iter().filter(|name| !name.is_empty()) {
        if !renamed.contains_key(name) {
            let new = names.fresh(&format!("{}/{name}", node.name));
            renamed.insert(name.clone(), new);
        }
    }
    let mut nodes = Vec::with_capacity(branch.node.len() + copies.len());
    for (index, mut proto) in branch.node.into_iter().enumerate() {
        rename(&mut proto, &renamed);
        let mut inner = Node::from_proto(&proto, index)?;
        inner.name = match proto.name.as_deref().unwrap_or_default() {
            // That of an output, which has the node's before it, as far as it is not the node's own.
            "" => names.fresh(&inner.name),
            name => names.fresh(&format!("{}/{name}", node.name)),
        };
        nodes.push(inner);
    }
    for (name, wanted) in copies {
        let from = renamed.get(&name).unwrap_or(&name);
        let copy = names.fresh(&format!("{}/copy", node.name));
        nodes.push(Node::new(&copy, "Identity", &[from], &[wanted]));
    }
    Ok(nodes)
}

/// Gives the values that a node names their new names, in the graphs inside of it, too.
fn rename(node: &mut NodeProto, names: &HashMap<String, String>) {
    let replace = |value: &mut String| {
        if let Some(new) = names.get(value) {
            value.clone_from(new);
        }
    };
    node.input
        .iter_mut()
        .chain(&mut node.output)
        .for_each(replace);
    for graph in node
        .attribute
        .iter_mut()
        .flat_map(AttributeProto::subgraphs_mut)
    {
        let own: HashSet<String> = defined(graph).into_iter().map(str::to_owned).collect();
        let outer = |(from, _): &(&String, &String)| !own.contains(*from);
        let outer = names.iter().filter(outer);
        let outer: HashMap<String, String> = outer.map(|(f, t)| (f.clone(), t.clone())).collect();
        for output in graph.output.iter_mut().filter_map(|o| o.name.as_mut()) {
            if let Some(new) = outer.get(output) {
                output.clone_from(new);
            }
        }
        graph.node.iter_mut().for_each(|n| rename(n, &outer));
    }
}
