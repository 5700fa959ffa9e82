//! Where the backbone ends and the classifier begins.
//!
//! The classifier begins at the earliest *collapse* that every path from the image to the output
//! passes and after which no convolution larger than 1×1 follows: a pooling of the whole map, a
//! flattening, or a reshape to two dimensions. The pools of squeeze-and-excitation branches are
//! not on every path. Where nothing weighted follows the collapse (SqueezeNet), the convolution
//! before it is the classifier. A network without a map at the end, such as a vision transformer, ends
//! with the vector that its last dense layer reads.

use crate::graph::operators::{Class, Data, Elements};
use crate::graph::{Attribute, Dim, Graph, Node, Value};
use crate::layout::{Layout, TO_NCHW, TO_NHWC};
use crate::onnx::DataType;

use super::BackboneError;
use super::flow::Flow;
use super::infer::{Inferred, is_nhwc};
use super::kinds::{Index, is_weighted};

/// The image input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInput {
    /// Name of the input.
    pub name: String,
    /// Element type.
    pub dtype: DataType,
    /// Dimensions as declared, batch first.
    pub dims: Vec<Dim>,
    /// Order of the dimensions.
    pub layout: Layout,
}

/// The part of a network before its classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Backbone {
    /// Name of the last feature map, a value of rank 4, or of the vector in its place, [N, channels], whose
    /// height and width count as 1.
    pub features: String,
    /// Channels of the feature map.
    pub channels: usize,
    /// Height of the feature map; `None` while the image size is open.
    pub height: Option<usize>,
    /// Width of the feature map; `None` while the image size is open.
    pub width: Option<usize>,
    /// Order of the feature map's dimensions.
    pub layout: Layout,
    /// The image input.
    pub input: ImageInput,
}

/// The image input of a graph: the first of rank 4.
pub fn image_input(graph: &Graph) -> Option<ImageInput> {
    let of_rank_4 = |v: &&Value| v.dims.as_ref().is_some_and(|d| d.len() == 4);
    let input = graph.inputs.iter().find(of_rank_4)?;
    let dims = input.dims.clone()?;
    Some(ImageInput {
        name: input.name.clone(),
        dtype: input.dtype,
        layout: if is_nhwc(&dims) {
            Layout::Nhwc
        } else {
            Layout::Nchw
        },
        dims,
    })
}

/// Finds the backbone, or checks the feature map that the user names.
pub(super) fn find(
    index: &Index,
    shapes: &Inferred,
    flow: Option<&Flow>,
    wish: Option<&str>,
) -> Result<Backbone, BackboneError> {
    let missing = |reason: String| BackboneError::NoFeatures { reason };
    let input = image_input(index.graph)
        .ok_or_else(|| missing("the model has no input of rank 4".to_owned()))?;
    let flow = flow.ok_or_else(|| missing("no output depends on the image input".to_owned()))?;
    let features = match wish {
        Some(value) => wished(index, flow, value)?,
        None => match search(index, shapes, flow) {
            Ok(map) if matches!(shapes.rank(map), Some(2 | 4) | None) => map,
            found => vector(index, shapes, flow).map_or(found, Ok)?,
        },
    };
    let fail = |reason: String| match wish {
        Some(value) => BackboneError::BadFeatures {
            value: value.to_owned(),
            reason,
        },
        None => missing(format!("`{features}`: {reason}")),
    };
    if index.producer(features).is_none() {
        return Err(fail("it is no node's output".to_owned()));
    }
    let layout = layout_of(index, features, input.layout);
    let one = Dim::Known(1);
    let [c, h, w] = match (shapes.get(features).map(|s| s.dims.as_slice()), layout) {
        (Some([_, c]), _) => [c, &one, &one],
        (Some([_, c, h, w]), Layout::Nchw) | (Some([_, h, w, c]), Layout::Nhwc) => [c, h, w],
        (Some(dims), _) => return Err(fail(format!("its rank is {}, not 4 or 2", dims.len()))),
        (None, _) => return Err(fail("its shape is not known".to_owned())),
    };
    let known = |d: &Dim| match d {
        Dim::Known(v) => Some(*v),
        Dim::Symbolic(_) => None,
    };
    Ok(Backbone {
        channels: known(c).ok_or_else(|| fail("its number of channels is not known".to_owned()))?,
        height: known(h),
        width: known(w),
        layout,
        input,
        features: features.to_owned(),
    })
}

fn wished<'g>(index: &Index<'g>, flow: &Flow, value: &str) -> Result<&'g str, BackboneError> {
    let fail = |reason: &str| BackboneError::BadFeatures {
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    let Some((&name, &producer)) = index.producers.get_key_value(value) else {
        return Err(fail("no node of the model defines it"));
    };
    if !flow.chain.contains(&producer) {
        return Err(fail(
            "a path from the image to the output passes it by, so the network cannot be cut there",
        ));
    }
    Ok(name)
}

fn search<'g>(index: &Index<'g>, shapes: &Inferred, flow: &Flow) -> Result<&'g str, BackboneError> {
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
    let collapse = collapse.ok_or_else(none)?;
    let mut features = index.node(collapse).input(0).ok_or_else(none)?;
    if last_weighted.is_none_or(|weighted| weighted < collapse)
        && let Some(before) = convolution_classifier(index, flow, features)
    {
        features = before;
    }
    features = index.before(features, copies);
    // The same map in the layout that the convolutions have.
    while let Some(node) = index.producer(features).map(|i| index.node(i))
        && node.is("Transpose")
        && permutation(node) == Some(&TO_NHWC)
        && let Some(input) = node.input(0)
    {
        features = index.before(input, copies);
    }
    Ok(features)
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

/// The input of the convolution that gives the class scores whose map is `scores`, if there is
/// one: behind it nothing but ReLU, dropout and its bias.
fn convolution_classifier<'g>(index: &Index<'g>, flow: &Flow, scores: &'g str) -> Option<&'g str> {
    let scores = index.before(scores, |node| {
        node.is("Relu") || copies(node) || node.elements() == Elements::Permuted
    });
    let mut at = index.producer(scores)?;
    if index.node(at).is("Add") {
        let mut inputs = index.node(at).present_inputs();
        at = index.producer(inputs.find(|v| index.constant(v).is_none())?)?;
    }
    let node = index.node(at);
    let is_classifier = node.is("Conv") && is_weighted(index, at) && flow.chain.contains(&at);
    node.input(0).filter(|_| is_classifier)
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
            || (node.is("AveragePool") && flattening_follows(index, shapes, output));
    }
    is_flattening(shapes, node)
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

fn permutation(node: &Node) -> Option<&[i64; 4]> {
    match node.attributes.get("perm") {
        Some(Attribute::Ints(perm)) => perm.as_slice().try_into().ok(),
        _ => None,
    }
}

/// The layout of a value of rank 4, from the operators that made it.
fn layout_of(index: &Index, value: &str, of_input: Layout) -> Layout {
    let mut value = value;
    while let Some(node) = index.producer(value).map(|i| index.node(i)) {
        if node.operator().is_some_and(|o| o.data != Data::Any) {
            return Layout::Nchw;
        }
        if node.is("Transpose") {
            match permutation(node) {
                Some(&TO_NHWC) => return Layout::Nhwc,
                Some(&TO_NCHW) => return Layout::Nchw,
                _ => {}
            }
        }
        let mut inputs = node.present_inputs();
        match inputs.find(|v| index.constant(v).is_none()) {
            Some(input) => value = input,
            None => break,
        }
    }
    of_input
}
