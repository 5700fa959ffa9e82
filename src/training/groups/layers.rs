//! The layers whose filters are put into groups.

use std::collections::HashSet;

use crate::graph::operators::Class;
use crate::graph::{Graph, Node};
use crate::training::TrainingError;
use crate::training::program::Prepared;

/// A convolution or dense layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    /// Number of its filters, which are its output channels.
    pub channels: usize,
    /// The names of its tensors, the weight first, and how many elements of one channel lie together in each: its own, and
    /// those per channel of what alone reads its output.
    pub tensors: Vec<(String, usize)>,
    /// The value of its activations: its output, behind normalisation, bias and activation function as far as each alone
    /// reads what is before it.
    pub activations: String,
    /// The axis of that value along which its channels lie.
    pub axis: usize,
}

impl Layer {
    /// The name of its weight.
    pub fn weight(&self) -> &str {
        self.tensors.first().map_or("", |(name, _)| name)
    }
}

/// The convolutions and dense layers of the backbone, in the order of the graph: those that read their weight as it stands,
/// where nothing else does. Layers of the head, of which these are parameters, and of the logits are none.
///
/// # Errors
/// When a shape is unknown, or an attribute has the wrong type.
pub(super) fn layers(prepared: &Prepared, head: &[String]) -> Result<Vec<Layer>, TrainingError> {
    let Prepared { graph, shapes, .. } = prepared;
    let consumers = graph.consumers();
    let mut taken: HashSet<String> = head.iter().cloned().collect();
    let mut found = Vec::new();
    for node in &graph.nodes {
        let Some((weight, channels, inner, is_map)) = weight_of(graph, node)? else {
            continue;
        };
        let is_own = consumers
            .get(weight)
            .is_some_and(|readers| readers.len() == 1);
        let Some(mut value) = node.output(0).filter(|_| is_own && !taken.contains(weight)) else {
            continue;
        };
        let rank = shapes.dims(value)?.len();
        let axis = if is_map { 1 } else { rank - 1 };
        let mut tensors = vec![(weight.to_owned(), inner)];
        let own_bias = node
            .input(2)
            .filter(|bias| is_per_channel(graph, bias, channels, 1));
        tensors.extend(own_bias.map(|bias| (bias.to_owned(), 1)));
        let mut is_active = false;
        while !is_active && let Some(&[reader]) = consumers.get(value).map(Vec::as_slice) {
            let next = &graph.nodes[reader];
            let Some((output, own)) = follows(graph, next, value, (channels, axis, rank)) else {
                break;
            };
            is_active = next.is_a(Class::Activation);
            tensors.extend(own.into_iter().map(|name| (name.to_owned(), 1)));
            value = output;
        }
        if [&prepared.logits, &prepared.scores]
            .iter()
            .any(|name| *name == value)
        {
            continue;
        }
        // What two layers share goes with the first.
        tensors.retain(|(name, _)| taken.insert(name.clone()));
        found.push(Layer {
            channels,
            tensors,
            activations: value.to_owned(),
            axis,
        });
    }
    Ok(found)
}

/// The weight of a convolution or dense layer, its output channels, how many elements of one lie together in it, and whether
/// they are those of a map.
fn weight_of<'g>(
    graph: &'g Graph,
    node: &'g Node,
) -> Result<Option<(&'g str, usize, usize, bool)>, TrainingError> {
    let Some(weight) = node.input(1) else {
        return Ok(None);
    };
    let dims = graph
        .initializers
        .get(weight)
        .map(|tensor| tensor.dims.as_slice());
    let is_dense = node.is("Gemm") || node.is("MatMul");
    let of_data = !node
        .input(0)
        .is_some_and(|x| graph.initializers.contains_key(x));
    let first_axis = node.is("Gemm") && node.int("transB", 0)? != 0;
    Ok(match dims {
        Some(&[channels, ref rest @ ..]) if node.is("Conv") && !rest.is_empty() => {
            Some((weight, channels, rest.iter().product(), true))
        }
        Some(&[channels, width]) if is_dense && of_data && first_axis => {
            Some((weight, channels, width, false))
        }
        Some(&[_, channels]) if is_dense && of_data => Some((weight, channels, 1, false)),
        _ => None,
    })
    .map(|found| found.filter(|(_, _, inner, _)| *inner > 0))
}

/// The output of a node that does to each channel of `value` something of its own, and its tensors of an element per
/// channel.
fn follows<'g>(
    graph: &'g Graph,
    node: &'g Node,
    value: &str,
    (channels, axis, rank): (usize, usize, usize),
) -> Option<(&'g str, Vec<&'g str>)> {
    let output = node.output(0)?;
    // How many axes lie behind that of channels.
    let behind = rank - 1 - axis;
    let own = |name: &&str| is_per_channel(graph, name, channels, behind + 1);
    let others = || node.present_inputs().filter(|name| *name != value);
    if node.input(0) == Some(value) && node.is("BatchNormalization") {
        let scale_and_shift = [node.input(1), node.input(2)].into_iter().flatten();
        let vector = |name: &&str| is_per_channel(graph, name, channels, 1);
        return (axis == 1).then(|| (output, scale_and_shift.filter(vector).collect()));
    }
    if node.is_a(Class::Activation) {
        return Some((output, others().filter(own).collect()));
    }
    let others: Vec<&str> = others().collect();
    let is_affine = node.is_a(Class::Affine) && others.len() == 1 && others.iter().all(own);
    is_affine.then_some((output, others))
}

/// Whether an initializer has an element for each of `channels` along its axis `from_end` from its end, from 1, and one
/// along all others.
fn is_per_channel(graph: &Graph, name: &str, channels: usize, from_end: usize) -> bool {
    graph.initializers.get(name).is_some_and(|tensor| {
        let at = tensor.dims.len().checked_sub(from_end);
        let along = at.and_then(|at| tensor.dims.get(at)) == Some(&channels);
        along && tensor.dims.iter().product::<usize>() == channels
    })
}
