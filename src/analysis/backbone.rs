//! The part of a network before its classifier: where it ends as [`end`] finds or the user says, and what it reads.

use crate::graph::operators::Data;
use crate::graph::{Attribute, Dim, Graph, Node, Value};
use crate::layout::{Layout, TO_NCHW, TO_NHWC};
use crate::onnx::DataType;

use super::BackboneError;
use super::end::{self, End};
use super::flow::Flow;
use super::infer::{Inferred, is_nhwc};
use super::kinds::Index;

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

impl ImageInput {
    /// Channels of the image, where they are declared.
    pub fn channels(&self) -> Option<usize> {
        let [axis, ..] = self.layout.axes();
        match self.dims.get(axis)? {
            Dim::Known(channels) => Some(*channels),
            Dim::Symbolic(_) => None,
        }
    }
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
    /// Whether the network has no classifier: behind the feature map is no layer with weights.
    pub is_whole: bool,
    /// Why it may have one all the same, if so, in a sentence.
    pub doubt: Option<String>,
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
    flow: Option<(&str, &Flow)>,
    wish: Option<&str>,
) -> Result<Backbone, BackboneError> {
    let missing = |reason: String| BackboneError::NoFeatures { reason };
    let input = image_input(index.graph)
        .ok_or_else(|| missing("the model has no input of rank 4".to_owned()))?;
    let (output, flow) =
        flow.ok_or_else(|| missing("no output depends on the image input".to_owned()))?;
    let End {
        features,
        is_whole,
        doubt,
    } = match wish {
        Some(value) => End::before(wished(index, shapes, flow, value)?),
        None => end::found(index, shapes, flow, output)?,
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
        (None, _) => return Err(fail(unknown(index))),
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
        is_whole,
        doubt,
    })
}

/// That a shape is not known, and which operator may be why: exporters write some that ONNX does not have.
fn unknown(index: &Index) -> String {
    let mut nodes = index.graph.nodes.iter();
    let strange = nodes.find(|node| node.operator().is_none());
    let because = strange.map(|node| {
        format!(", as it may depend on node {node}, an operator that is not known here")
    });
    format!("its shape is not known{}", because.unwrap_or_default())
}

fn wished<'g>(
    index: &Index<'g>,
    shapes: &Inferred,
    flow: &Flow,
    value: &str,
) -> Result<&'g str, BackboneError> {
    let fail = |reason: &str| BackboneError::BadFeatures {
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    let Some((&name, &producer)) = index.producers.get_key_value(value) else {
        return Err(fail("no node of the model defines it"));
    };
    let of_one = || {
        let both = end::side_by_side(index, shapes, flow);
        both.is_some_and(|both| both.iter().any(|(_, read)| *read == name))
    };
    if !flow.chain.contains(&producer) && !of_one() {
        return Err(fail(
            "a path from the image to the output passes it by, so the network cannot be cut there",
        ));
    }
    Ok(name)
}

pub(super) fn permutation(node: &Node) -> Option<&[i64; 4]> {
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
