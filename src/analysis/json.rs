//! The JSON form of an analysis: a contract with its readers.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::graph::Dim;
use crate::layout::Layout;

use super::{Analysis, Delimiter, Totals};

/// The JSON form: `layers`, `blocks`, `totals`, `candidates`, `delimiters`, `backbone`, `warnings`.
/// Unknown numbers and shapes are null; a dimension is a number or, if open, a string. `C`: the numbers of
/// candidates that strategies would try, see [`Report::with_candidates`].
#[derive(Serialize)]
pub struct Report<'a, C = ()> {
    backbone: Option<BackboneReport<'a>>,
    delimiters: &'a [Delimiter],
    layers: Vec<LayerReport<'a>>,
    blocks: Vec<BlockReport<'a>>,
    totals: &'a Totals,
    candidates: C,
    warnings: &'a [String],
}

fn upper_case<S: Serializer>(layout: &Layout, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match layout {
        Layout::Nchw => "NCHW",
        Layout::Nhwc => "NHWC",
    })
}

#[derive(Serialize)]
struct BackboneReport<'a> {
    features: &'a str,
    channels: usize,
    height: Option<usize>,
    width: Option<usize>,
    #[serde(serialize_with = "upper_case")]
    layout: Layout,
    input: InputReport<'a>,
}

#[derive(Serialize)]
struct InputReport<'a> {
    name: &'a str,
    shape: Shape<'a>,
    #[serde(serialize_with = "upper_case")]
    layout: Layout,
}

#[derive(Serialize)]
struct LayerReport<'a> {
    name: &'a str,
    op_type: &'a str,
    output_shape: Option<Shape<'a>>,
    parameters: usize,
    buffers: usize,
    macs: Option<u64>,
    activation_bytes: Option<u64>,
    block: &'a str,
    /// Whether this is the operator of a weighted layer.
    weighted: bool,
}

#[derive(Serialize)]
struct BlockReport<'a> {
    name: &'a str,
    layers: Vec<&'a str>,
    /// Its trainable constants.
    tensors: Vec<TensorReport<'a>>,
    parameters: usize,
    share: f64,
    is_classifier: bool,
}

#[derive(Serialize)]
struct TensorReport<'a> {
    name: &'a str,
    elements: usize,
    /// The layer that owns it; null if it belongs to the block alone.
    layer: Option<&'a str>,
}

struct Shape<'a>(&'a [Dim]);

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for dim in self.0 {
            match dim {
                Dim::Known(size) => list.serialize_element(size)?,
                Dim::Symbolic(name) => list.serialize_element(name)?,
            }
        }
        list.end()
    }
}

impl<'a> Report<'a> {
    /// The JSON form of `analysis`, with null for the candidates.
    pub fn new(analysis: &'a Analysis) -> Self {
        Report {
            backbone: analysis.backbone.as_ref().ok().map(|b| BackboneReport {
                features: &b.features,
                channels: b.channels,
                height: b.height,
                width: b.width,
                layout: b.layout,
                input: InputReport {
                    name: &b.input.name,
                    shape: Shape(&b.input.dims),
                    layout: b.input.layout,
                },
            }),
            delimiters: &analysis.delimiters,
            layers: analysis
                .layers
                .iter()
                .map(|l| LayerReport {
                    name: &l.name,
                    op_type: &l.op_type,
                    output_shape: l.output_shape.as_deref().map(Shape),
                    parameters: l.parameters,
                    buffers: l.buffers,
                    macs: l.macs,
                    activation_bytes: l.activation_bytes,
                    block: analysis.block_name(l),
                    weighted: analysis.is_operator(l),
                })
                .collect(),
            blocks: analysis
                .blocks
                .iter()
                .map(|b| BlockReport {
                    name: &b.name,
                    layers: analysis.layer_names(b),
                    tensors: analysis
                        .tensors(b)
                        .into_iter()
                        .map(|(name, layer, elements)| TensorReport {
                            name,
                            elements,
                            layer: layer.map(|l| l.name.as_str()),
                        })
                        .collect(),
                    parameters: b.parameters,
                    share: b.share,
                    is_classifier: b.is_classifier,
                })
                .collect(),
            totals: &analysis.totals,
            candidates: (),
            warnings: &analysis.warnings,
        }
    }
    /// The same with these numbers of candidates.
    pub fn with_candidates<C: Serialize>(self, candidates: C) -> Report<'a, C> {
        Report {
            backbone: self.backbone,
            delimiters: self.delimiters,
            layers: self.layers,
            blocks: self.blocks,
            totals: self.totals,
            candidates,
            warnings: self.warnings,
        }
    }
}
