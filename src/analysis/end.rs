//! Where the backbone ends and the classifier begins.
//!
//! The classifier begins at the earliest *collapse* that every path from the image to the output
//! passes and after which no convolution larger than 1×1 follows: a pooling of the whole map, a
//! flattening, or a reshape to two dimensions. The pools of squeeze-and-excitation branches are
//! not on every path. A network without a map at the end, such as a vision transformer, ends
//! with the vector that its last dense layer reads, or where that layer is of each token, with its output.
//!
//! Where nothing weighted follows the collapse, the convolution before it is the classifier if it looks like
//! one (SqueezeNet): a softmax follows, or it is of 1×1, behind a dropout or with a number of channels that
//! is no width of a layer. Else, and where a network ends with a map, it has no classifier: all of it is
//! the backbone.

use crate::graph::operators::{Class, Elements};
use crate::graph::{Dim, Node};
use crate::layout::TO_NHWC;

use super::BackboneError;
use super::backbone::permutation;
use super::flow::Flow;
use super::infer::Inferred;
use super::kinds::{Index, is_weighted};

/// Where a backbone ends.
pub(super) struct End<'g> {
    pub features: &'g str,
    pub is_whole: bool,
    pub doubt: Option<String>,
}

impl<'g> End<'g> {
    /// Before a classifier.
    pub fn before(features: &'g str) -> Self {
        End {
            features,
            is_whole: false,
            doubt: None,
        }
    }
}

/// The end of a network, as far as its nodes tell.
pub(super) fn found<'g>(
    index: &Index<'g>,
    shapes: &Inferred,
    flow: &Flow,
    output: &str,
) -> Result<End<'g>, BackboneError> {
    match search(index, shapes, flow, output) {
        Ok(end) if matches!(shapes.rank(end.features), Some(2 | 4) | None) => Ok(end),
        found => vector(index, shapes, flow)
            .map(End::before)
            .or_else(|| tokens(index, shapes, flow, output))
            .or_else(|| one_of_two(index, shapes, flow))
            .map_or(found, Ok),
    }
}

fn search<'g>(
    index: &Index<'g>,
    shapes: &Inferred,
    flow: &Flow,
    output: &str,
) -> Result<End<'g>, BackboneError> {
    let on_path = || (0..flow.on_path.len()).filter(|&i| flow.on_path[i]);
    let last_wide = on_path()
        .filter(|&i| is_wide_convolution(index, index.node(i)))
        .max();
    let last_weighted = on_path().filter(|&i| is_weighted(index, i)).max();
    let collapse = flow
        .chain
        .iter()
        .copied()
        .filter(|&i| last_wide.is_none_or(|wide| i > wide))
        .find(|&i| is_collapse(index, shapes, index.node(i)));
    let none = || BackboneError::NoFeatures {
        reason: "nothing pools or flattens the whole map on the way to the output".to_owned(),
    };
    let end = match collapse {
        Some(collapse) => {
            let map = index.node(collapse).input(0).ok_or_else(none)?;
            match last_weighted.is_none_or(|weighted| weighted < collapse) {
                true => unweighted(index, flow, map),
                false => End::before(map),
            }
        }
        None => map(index, shapes, flow, output).ok_or_else(none)?,
    };
    let features = plain(index, index.before(end.features, copies));
    Ok(End { features, ..end })
}

/// The end of a network whose last weights make the map that it pools.
fn unweighted<'g>(index: &Index<'g>, flow: &Flow, map: &'g str) -> End<'g> {
    let whole = |doubt| End {
        features: map,
        is_whole: true,
        doubt,
    };
    let Some((at, before)) = last_convolution(index, flow, map) else {
        return whole(None);
    };
    let node = index.node(at);
    let is_point = kernel(index, node).is_some_and(|k| k.iter().all(|&k| k == 1));
    let weight = node.input(1).and_then(|w| index.float_constant(w));
    let channels = weight
        .and_then(|(_, w)| w.dims.first().copied())
        .unwrap_or(0);
    let dropped = index
        .producer(before)
        .is_some_and(|i| index.node(i).is("Dropout"));
    if shares_follow(index, flow, at) || (is_point && (dropped || !is_width(channels))) {
        return End::before(before);
    }
    whole(is_point.then(|| {
        format!(
            "the network ends in the mean of what the 1×1 convolution {node} gives, which is taken for its \
             last layer, as its {channels} channels look like a width; where they are class scores, take \
             what it reads for the features: --features '{before}'"
        )
    }))
}

/// Whether a softmax follows node `at` on every path.
fn shares_follow(index: &Index, flow: &Flow, at: usize) -> bool {
    flow.chain.iter().any(|&i| {
        let node = index.node(i);
        i > at && (node.is("Softmax") || node.is("LogSoftmax"))
    })
}

/// Whether a layer rather has so many channels than a classifier classes: widths are multiples of 8; of classes, ImageNet
/// has a number that is one by chance.
fn is_width(channels: usize) -> bool {
    const IMAGENET_CLASSES: usize = 1000;
    channels.is_multiple_of(8) && channels != IMAGENET_CLASSES
}

/// The end of a network whose output is a map: that of a convolution to one pixel is its classifier's.
fn map<'g>(index: &Index<'g>, shapes: &Inferred, flow: &Flow, output: &str) -> Option<End<'g>> {
    let (&output, _) = index.producers.get_key_value(output)?;
    let map = index.before(output, copies);
    if shapes.rank(map) != Some(4) {
        return None;
    }
    if matches!(shapes.single(map), Some([_, _, 1, 1])) {
        return last_convolution(index, flow, map).map(|(_, before)| End::before(before));
    }
    Some(End {
        features: map,
        is_whole: true,
        doubt: None,
    })
}

/// The same map in the layout that the convolutions have.
fn plain<'g>(index: &Index<'g>, mut features: &'g str) -> &'g str {
    while let Some(node) = index.producer(features).map(|i| index.node(i))
        && node.is("Transpose")
        && permutation(node) == Some(&TO_NHWC)
        && let Some(input) = node.input(0)
    {
        features = index.before(input, copies);
    }
    features
}

/// Whether a node is a copy of its input, but for training.
fn copies(node: &Node) -> bool {
    node.elements().is_copy()
}

/// What the last dense layer on every path reads, if that is a vector per image.
fn vector<'g>(index: &Index<'g>, shapes: &Inferred, flow: &Flow) -> Option<&'g str> {
    let dense = |&i: &usize| {
        let node = index.node(i);
        (node.is("Gemm") || node.is("MatMul")) && is_weighted(index, i)
    };
    let last = flow.chain.iter().copied().filter(dense).max()?;
    let value = index.before(index.node(last).input(0)?, copies);
    (shapes.rank(value) == Some(2)).then_some(value)
}

/// The end of a network whose last layer is of each token, and no classifier of each: its output, a vector per image.
fn tokens<'g>(index: &Index<'g>, shapes: &Inferred, flow: &Flow, output: &str) -> Option<End<'g>> {
    let weighted = (0..flow.on_path.len()).filter(|&i| flow.on_path[i] && is_weighted(index, i));
    let last = weighted.max()?;
    let (&output, _) = index.producers.get_key_value(output)?;
    let features = index.before(output, copies);
    let ranks = [index.node(last).output(0)?, features].map(|v| shapes.rank(v));
    let has_width = match shapes.get(features)?.dims.as_slice() {
        [_, Dim::Known(channels)] => is_width(*channels),
        _ => false,
    };
    let is_whole = has_width && ranks == [Some(3), Some(2)] && !shares_follow(index, flow, last);
    is_whole.then_some(End {
        features,
        is_whole,
        doubt: None,
    })
}

/// The end of a network whose class scores several classifiers make, each of a vector of its own, as those of a distilled
/// transformer do of two tokens: with what the first reads.
fn one_of_two<'g>(index: &Index<'g>, shapes: &Inferred, flow: &Flow) -> Option<End<'g>> {
    let [(one, features), (other, left)] = side_by_side(index, shapes, flow)?;
    let doubt = format!(
        "the class scores are made by two classifiers side by side, {one} and {other}: a new head takes the place of both \
         and reads what the first does; --features '{left}' has it read what the other does, --head keep trains both"
    );
    Some(End {
        doubt: Some(doubt),
        ..End::before(features)
    })
}

/// The two classifiers of which no value leads to both, if they make the class scores: each reads a vector per image.
pub(super) fn side_by_side<'g>(
    index: &Index<'g>,
    shapes: &Inferred,
    flow: &Flow,
) -> Option<[(&'g Node, &'g str); 2]> {
    let weighted = (0..flow.on_path.len()).filter(|&i| flow.on_path[i] && is_weighted(index, i));
    let last = Vec::from_iter(weighted);
    let [.., one, other] = last.as_slice() else {
        return None;
    };
    let read = |&i: &usize| {
        let value = index.before(index.node(i).input(0)?, copies);
        let is_one = !flow.chain.contains(&i) && shapes.rank(value) == Some(2);
        is_one.then_some((index.node(i), value))
    };
    Some([read(one)?, read(other)?])
}

/// The convolution that gives a map, and what it reads, if there is one on every path: behind it nothing but
/// ReLU, dropout and its bias.
fn last_convolution<'g>(
    index: &Index<'g>,
    flow: &Flow,
    scores: &'g str,
) -> Option<(usize, &'g str)> {
    let scores = index.before(scores, |node| {
        node.is("Relu") || copies(node) || node.elements() == Elements::Permuted
    });
    let mut at = index.producer(scores)?;
    if index.node(at).is("Add") {
        let mut inputs = index.node(at).present_inputs();
        at = index.producer(inputs.find(|v| index.constant(v).is_none())?)?;
    }
    let node = index.node(at);
    let is_layer = node.is("Conv") && is_weighted(index, at) && flow.chain.contains(&at);
    Some((at, node.input(0).filter(|_| is_layer)?))
}

/// Size of the kernel of a convolution, one number per spatial dimension.
pub(super) fn kernel<'a>(index: &Index<'a>, node: &'a Node) -> Option<Vec<usize>> {
    if let Ok(Some(kernel)) = node.ints("kernel_shape") {
        return Some(kernel.iter().map(|&k| k.max(0) as usize).collect());
    }
    let (_, weight) = index.float_constant(node.input(1)?)?;
    weight.dims.get(2..).map(<[usize]>::to_vec)
}

fn is_wide_convolution(index: &Index, node: &Node) -> bool {
    (node.is("Conv") || node.is("ConvTranspose"))
        && kernel(index, node).is_some_and(|k| k.iter().any(|&k| k > 1))
}

fn is_collapse(index: &Index, shapes: &Inferred, node: &Node) -> bool {
    let Some(input) = node.input(0) else {
        return false;
    };
    if node.is_a(Class::GlobalPool) {
        return true;
    }
    if node.is("ReduceMean") || node.is("ReduceMax") {
        return matches!(
            reduced_axes(index, shapes, node).as_deref(),
            Some([1, 2] | [2, 3])
        );
    }
    if node.is("AveragePool") || node.is("MaxPool") {
        let is_point = |value: &str| matches!(shapes.single(value), Some([_, _, 1, 1]));
        let output = node.output(0).unwrap_or("");
        return (is_point(output) && !is_point(input))
            || covers(index, shapes, node)
            || (node.is("AveragePool") && flattening_follows(index, shapes, output));
    }
    is_flattening(shapes, node)
}

/// Whether a pool that rounds up has a window larger than its map: of it there is one.
fn covers(index: &Index, shapes: &Inferred, node: &Node) -> bool {
    let map = node.input(0).and_then(|v| shapes.single(v));
    let (Some([_, _, map @ ..]), Some(kernel)) = (map, kernel(index, node)) else {
        return false;
    };
    let rounds_up = node.int("ceil_mode", 0).is_ok_and(|ceil| ceil != 0);
    rounds_up && kernel.iter().zip(map).all(|(k, m)| k > m)
}

fn is_flattening(shapes: &Inferred, node: &Node) -> bool {
    if node.is("Flatten") {
        return true;
    }
    if !node.is("Reshape") && !node.is("Squeeze") {
        return false;
    }
    match shapes.rank(node.output(0).unwrap_or("")) {
        Some(rank) => rank <= 2,
        // As many dimensions as its target has elements.
        None => {
            let target = node.input(1).and_then(|v| shapes.single(v));
            node.is("Reshape") && matches!(target, Some([0..=2]))
        }
    }
}

fn flattening_follows(index: &Index, shapes: &Inferred, value: &str) -> bool {
    let mut value = value;
    while let Some([reader]) = index.consumers.get(value).map(Vec::as_slice) {
        let node = index.node(*reader);
        if !copies(node) && node.elements() != Elements::Permuted {
            return is_flattening(shapes, node);
        }
        match node.output(0) {
            Some(output) => value = output,
            None => return false,
        }
    }
    false
}

/// Sorted axes of a reduction of a rank-4 value.
fn reduced_axes(index: &Index, shapes: &Inferred, node: &Node) -> Option<Vec<i64>> {
    let axes = match node.ints("axes") {
        Ok(Some(axes)) => axes.to_vec(),
        _ => index.constant(node.input(1)?)?.1.to_i64()?,
    };
    let rank = shapes.rank(node.input(0)?).unwrap_or(4) as i64;
    let mut axes: Vec<i64> = axes
        .iter()
        .map(|&a| if a < 0 { a + rank } else { a })
        .collect();
    axes.sort_unstable();
    (rank == 4).then_some(axes)
}
