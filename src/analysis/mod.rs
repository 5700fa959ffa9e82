//! Layers, blocks, the backbone, and counts of parameters, work and memory.
//!
//! A *weighted layer* is a convolution, a dense product or a recurrent cell with a constant
//! weight, together with its bias and its normalisation. *Parameters* are trainable elements:
//! weights, biases, and the scales and shifts of normalisations; the running statistics of
//! `BatchNormalization` are counted apart, as *buffers*. A constant that several nodes read counts
//! once. Constants that merely scale or shift (`Mul`, `Sub`, … by an initializer) are no
//! parameters, except the pair of `Mul` and `Add` behind a layer that a normalisation was written
//! out as.

mod backbone;
mod blocks;
mod count;
mod error;
mod fill;
mod flow;
mod infer;
mod json;
mod kinds;
mod layers;
mod trust;

use crate::graph::Graph;
use crate::onnx::Model;
use crate::onnx::messages::ValueInfoProto;

pub use backbone::{Backbone, ImageInput, Layout, image_input};
pub use blocks::{Block, Delimiter, Delimiters};
pub use error::{AnalysisError, BackboneError};
pub use infer::{BATCH, Inferred, ValueShape, infer_shapes};
pub use json::Report;
pub use layers::{Layer, WeightedLayer};

use flow::Flow;
use kinds::Index;

/// What to look for, and how.
#[derive(Clone, Debug)]
pub struct AnalyzeOptions {
    /// What ends a block.
    pub delimiters: Delimiters,
    /// Length of the sliding window of strategy `windows`.
    pub window: usize,
    /// Name of the value to take as the last feature map, instead of searching for it.
    pub features: Option<String>,
    /// Height and width for image inputs that leave them open.
    pub image_size: Option<(usize, usize)>,
}

impl Default for AnalyzeOptions {
    fn default() -> Self {
        AnalyzeOptions {
            delimiters: Delimiters::Auto,
            window: 3,
            features: None,
            image_size: None,
        }
    }
}

/// Height and width from `224` or `HEIGHTxWIDTH`.
///
/// # Errors
/// When the text is neither, or a size is 0.
pub fn parse_image_size(text: &str) -> Result<(usize, usize), AnalysisError> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.trim().parse(), width.trim().parse()) {
        (Ok(height), Ok(width)) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err(AnalysisError::Setting {
            flag: "image-size",
            value: text.to_owned(),
            reason: "give a size such as `224`, or `HEIGHTxWIDTH`".to_owned(),
        }),
    }
}

/// Sums over all layers, for a batch of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Trainable elements.
    pub parameters: usize,
    /// Elements of running statistics.
    pub buffers: usize,
    /// Multiply-accumulate operations; `None` if those of some layer are not known.
    pub macs: Option<u64>,
    /// Bytes of all layers' outputs; `None` if those of some layer are not known.
    pub activation_bytes: Option<u64>,
    /// Weighted layers, the classifier's included.
    pub weighted_layers: usize,
}

/// How many candidates each strategy would try.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct Candidates {
    pub head: usize,
    pub full: usize,
    pub layers: usize,
    pub top3: usize,
    pub top5: usize,
    pub blocks: usize,
    pub windows: usize,
    pub random3: usize,
}

/// What is known of a model.
#[derive(Debug)]
pub struct Analysis {
    /// The nodes of the dataflow, from input to output.
    pub layers: Vec<Layer>,
    /// The weighted layers, from input to output; those of the classifier included.
    pub weighted: Vec<WeightedLayer>,
    /// Blocks from input to output; the last is the classifier, if the model has one.
    pub blocks: Vec<Block>,
    /// The part before the classifier, or why there is none. Without it the last weighted layer
    /// is taken as the classifier.
    pub backbone: Result<Backbone, BackboneError>,
    /// Sums.
    pub totals: Totals,
    /// The delimiters that were taken.
    pub delimiters: Vec<Delimiter>,
    /// Candidates per strategy.
    pub candidates: Candidates,
    /// What could not be found out, one line each.
    pub warnings: Vec<String>,
}

impl Analysis {
    /// Analyses a model. Weight data is not read.
    ///
    /// # Errors
    /// When the graph is malformed, or `options.features` names no usable value. That no feature
    /// map was found, or that some shapes are not known, is no error: see
    /// [`Analysis::backbone`] and [`Analysis::warnings`].
    pub fn of(model: &Model, options: &AnalyzeOptions) -> Result<Self, AnalysisError> {
        let graph = Graph::from_model(model)?;
        Self::of_graph(&graph, &model.graph().value_info, options)
    }

    /// Analyses a graph; node indices in the result are its own. `declared`: what the model
    /// itself notes on its values, may be empty.
    ///
    /// # Errors
    /// As [`Analysis::of`].
    pub fn of_graph(
        graph: &Graph,
        declared: &[ValueInfoProto],
        options: &AnalyzeOptions,
    ) -> Result<Self, AnalysisError> {
        let index = Index::new(graph);
        let mut shapes = infer_shapes(graph, declared, options.image_size);
        fill::fill(graph, options.image_size, &mut shapes);
        let sources: Vec<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
        let data = flow::data_nodes(&index, &sources);
        let input = image_input(graph).map(|i| i.name);
        let start = input.as_deref().or(sources.first().copied());
        let flow = start.and_then(|from| {
            let mut outputs = graph.outputs.iter();
            outputs.find_map(|to| Flow::between(&index, from, &to.name))
        });
        let wish = options.features.as_deref();
        let backbone = backbone::find(&index, &shapes, flow.as_ref(), wish);
        if let (Err(e @ BackboneError::BadFeatures { .. }), _) | (Err(e), Some(_)) =
            (&backbone, wish)
        {
            return Err(e.clone().into());
        }
        let in_backbone = match &backbone {
            Ok(b) => flow::ancestors(&index, &data, &b.features),
            Err(_) => before_last_weighted(&index, &data),
        };
        let chain = flow.map(|f| f.chain).unwrap_or_default();
        let kinds = blocks::choose(&index, &options.delimiters, &chain, &in_backbone);
        let (mut layers, mut weighted) = layers::collect(&index, &shapes, &data, &in_backbone);
        let blocks = blocks::divide(
            &index,
            &kinds,
            &chain,
            &in_backbone,
            &mut layers,
            &mut weighted,
        );
        let mut warnings = shapes.warnings;
        warnings.extend(backbone.as_ref().err().map(ToString::to_string));
        if layers
            .iter()
            .any(|l| l.macs.is_none() || l.activation_bytes.is_none())
        {
            warnings.push(
                "some sizes are not known; for an open image size, give --image-size".to_owned(),
            );
        }
        Ok(Analysis {
            totals: totals(&layers, weighted.len()),
            candidates: candidates(&weighted, &blocks, options.window),
            delimiters: kinds.into_iter().collect(),
            layers,
            weighted,
            blocks,
            backbone,
            warnings,
        })
    }

    /// The part before the classifier.
    ///
    /// # Errors
    /// When no feature map was found.
    pub fn backbone(&self) -> Result<&Backbone, BackboneError> {
        self.backbone.as_ref().map_err(Clone::clone)
    }

    /// Indices of the weighted layers before the classifier, from input to output.
    pub fn backbone_layers(&self) -> Vec<usize> {
        (0..self.weighted.len())
            .filter(|&w| !self.weighted[w].in_classifier)
            .collect()
    }

    /// The name of the block that a layer lies in.
    pub fn block_name(&self, layer: &Layer) -> &str {
        self.blocks.get(layer.block).map_or("", |b| &b.name)
    }

    /// Whether a layer is the operator of a weighted layer.
    pub fn is_operator(&self, layer: &Layer) -> bool {
        layer
            .weighted
            .and_then(|w| self.weighted.get(w))
            .is_some_and(|w| w.node == layer.node)
    }

    /// Names of a block's weighted layers.
    pub fn layer_names(&self, block: &Block) -> Vec<&str> {
        let layers = block.layers.iter();
        layers
            .filter_map(|&w| Some(self.weighted.get(w)?.name.as_str()))
            .collect()
    }

    /// The blocks before the classifier that have weighted layers, from input to output.
    pub fn backbone_blocks(&self) -> impl Iterator<Item = &Block> {
        trainable(&self.blocks)
    }
}

fn trainable(blocks: &[Block]) -> impl Iterator<Item = &Block> {
    blocks
        .iter()
        .filter(|b| !b.is_classifier && !b.layers.is_empty())
}

fn before_last_weighted(index: &Index, data: &[bool]) -> Vec<bool> {
    let last = (0..data.len())
        .rev()
        .find(|&i| data[i] && kinds::is_weighted(index, index.node(i)))
        .unwrap_or(data.len());
    (0..data.len()).map(|i| data[i] && i < last).collect()
}

fn totals(layers: &[Layer], weighted_layers: usize) -> Totals {
    Totals {
        parameters: layers.iter().map(|l| l.parameters).sum(),
        buffers: layers.iter().map(|l| l.buffers).sum(),
        macs: sum(layers.iter().map(|l| l.macs)),
        activation_bytes: sum(layers.iter().map(|l| l.activation_bytes)),
        weighted_layers,
    }
}

/// The sum; `None` if a term is not known, or the sum of a model's mere claims does not fit.
fn sum(mut terms: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    terms.try_fold(0u64, |sum, term| sum.checked_add(term?))
}

fn candidates(weighted: &[WeightedLayer], blocks: &[Block], window: usize) -> Candidates {
    let layers = weighted.iter().filter(|w| !w.in_classifier).count();
    Candidates {
        head: 1,
        full: 1,
        layers,
        top3: 1,
        top5: 1,
        blocks: trainable(blocks).count(),
        windows: (layers + 1).saturating_sub(window),
        random3: 1,
    }
}

#[cfg(test)]
pub(crate) mod nets;
#[cfg(test)]
mod tests;
