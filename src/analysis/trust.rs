//! Which nodes tract may be given.
//!
//! tract is written for models that are well formed: on others it may panic, take memory for a
//! constant of any size that the model claims, or read beyond a short list of dimensions. So every
//! node is first held against our own shape inference at one fixed size, and what does not pass is
//! hidden from tract.

use std::collections::{HashMap, HashSet};

use crate::graph::{Dim, Graph, Node, infer_what_fits, normalise};
use crate::onnx::Tensor;

use super::hide::{as_activation, keeps_shape};
use super::infer::is_nhwc;

/// Elements that a value may have which tract computes from constants.
const MAX_COMPUTED: usize = 1 << 16;
/// Stands for a height or width that the model leaves open.
const OPEN_SIZE: usize = 224;

/// Values whose nodes must be hidden from tract, and one readable line for each contradiction.
#[derive(Debug, Default)]
pub(super) struct Distrusted {
    pub values: HashSet<String>,
    pub warnings: Vec<String>,
}

/// Holds the nodes of `graph` against shape inference, or where what lies beside the class scores does not let it, those
/// that they depend on. Constants for which `is_large` holds are
/// given to tract by shape alone.
///
/// # Errors
/// When the graph cannot be held against anything; the text is for the user.
pub(super) fn distrusted(
    graph: &Graph,
    image_size: Option<(usize, usize)>,
    is_large: impl Fn(&Tensor) -> bool,
) -> Result<Distrusted, String> {
    let mut found = Distrusted::default();
    let work = match in_normal_form(graph.clone()) {
        Ok(work) => work,
        Err(reason) => {
            let mut scores = graph.clone();
            scores.only_scores(&[]);
            let led_to: HashSet<String> = outputs(&scores).map(str::to_owned).collect();
            let work = in_normal_form(scores).map_err(|_| reason.clone())?;
            let beside = outputs(graph).filter(|output| !led_to.contains(*output));
            found.values.extend(beside.map(str::to_owned));
            found
                .warnings
                .push(format!("some shapes are not known: {reason}"));
            work
        }
    };
    let inputs: HashMap<String, Vec<usize>> = work
        .inputs
        .iter()
        .filter_map(|i| {
            let dims = fixed(graph, &i.name, i.dims.as_ref()?, image_size);
            Some((i.name.clone(), dims))
        })
        .collect();
    let (shapes, left) = infer_what_fits(&work, &inputs).map_err(|e| e.to_string())?;
    for (index, reason) in left {
        let node = &work.nodes[index];
        let outputs = node.present_outputs().map(str::to_owned);
        found.values.extend(outputs);
        let told = reason.map(|r| format!("some shapes are not known: {r}"));
        found.warnings.extend(told);
    }
    // What follows from constants and shapes alone, tract computes.
    let mut computed: HashSet<&str> = graph
        .initializers
        .iter()
        .filter(|(_, t)| !is_large(t))
        .map(|(name, _)| name.as_str())
        .collect();
    for node in &graph.nodes {
        if !node.gives_sizes() && !node.present_inputs().all(|i| computed.contains(i)) {
            continue;
        }
        computed.extend(node.present_outputs());
        let is_small = |name: &str| {
            let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            let constant = node.is("Constant") || work.initializers.contains_key(name);
            constant
                || shapes
                    .dims(name)
                    .is_ok_and(|d| count(d).is_some_and(|n| n <= MAX_COMPUTED))
                || node.elements().is_copy()
        };
        if !node.present_outputs().all(is_small) {
            let outputs = node.present_outputs().map(str::to_owned);
            found.values.extend(outputs);
        }
    }
    Ok(found)
}

/// A graph in normal form, with what keeps the shape as activations.
fn in_normal_form(mut graph: Graph) -> Result<Graph, String> {
    graph.inputs.retain(|i| i.dims.is_some());
    for node in graph.nodes.iter_mut().filter(|n| keeps_shape(n)) {
        // Further outputs are those of training, which normalisation refuses if they are read.
        if node.outputs.len() == 1 {
            as_activation(node);
        }
    }
    normalise(&mut graph).map_err(|e| e.to_string())?;
    Ok(graph)
}

/// What the nodes of a graph make.
fn outputs(graph: &Graph) -> impl Iterator<Item = &str> {
    graph.nodes.iter().flat_map(Node::present_outputs)
}

/// Dimensions of an input for a batch of one, with the sizes it leaves open filled in.
fn fixed(
    graph: &Graph,
    name: &str,
    dims: &[Dim],
    image_size: Option<(usize, usize)>,
) -> Vec<usize> {
    let (height, width) = image_size.unwrap_or((OPEN_SIZE, OPEN_SIZE));
    let open = |axis: usize| match (dims.len(), is_nhwc(dims), axis) {
        (_, _, 0) => 1,
        (4, false, 1) => channels(graph, name).unwrap_or(3),
        (4, false, 2) | (4, true, 1) => height,
        (4, false, 3) | (4, true, 2) => width,
        _ => 1,
    };
    dims.iter()
        .enumerate()
        .map(|(axis, d)| match d {
            Dim::Known(d) => *d,
            Dim::Symbolic(_) => open(axis),
        })
        .collect()
}

/// The channels that the first convolution of an input asks for.
fn channels(graph: &Graph, input: &str) -> Option<usize> {
    let reads = |n: &&Node| n.is("Conv") && n.input(0) == Some(input);
    let node = graph.nodes.iter().find(reads)?;
    let weight = graph.initializers.get(node.input(1)?)?;
    let group = usize::try_from(node.int("group", 1).ok()?).ok()?;
    weight.dims.get(1)?.checked_mul(group)
}
