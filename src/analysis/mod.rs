//! Layers, blocks, the backbone, and counts of parameters, work and memory.
//!
//! A *weighted layer* is a convolution, a dense product or a recurrent cell with a constant
//! weight, together with its bias, its scale per channel and its normalisation, however these are
//! written. *Parameters* are the elements of the [`weights`](crate::graph::weights) that the output
//! depends on; the running statistics of `BatchNormalization` are counted apart, as *buffers*. A constant
//! that several nodes read counts once. A weight that no layer owns (a class token, a position embedding)
//! belongs to its block.

mod backbone;
mod blocks;
mod count;
mod end;
mod error;
mod fill;
mod flow;
mod hide;
mod infer;
mod json;
mod kinds;
mod layers;
mod roles;
mod trust;

use std::collections::HashMap;

use crate::graph::{Graph, reaching};
use crate::onnx::Model;
use crate::onnx::messages::ValueInfoProto;

pub use backbone::{Backbone, ImageInput, image_input};
pub use blocks::{Block, Delimiter, Delimiters};
pub use error::{AnalysisError, BackboneError};
pub use infer::{BATCH, Inferred, ValueShape, infer_shapes};
pub use json::Report;
pub use layers::{Layer, WeightedLayer};
pub use roles::Role;

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
    /// Length of the window of strategy `windows`, as asked for.
    pub window: usize,
    /// What could not be found out, one line each.
    pub warnings: Vec<String>,
    /// Elements of each constant that is a parameter.
    elements: HashMap<String, usize>,
    /// What each of them does.
    roles: HashMap<String, Role>,
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
            outputs.find_map(|to| Some((to.name.as_str(), Flow::between(&index, from, &to.name)?)))
        });
        let (output, flow) = flow.unzip();
        let wish = options.features.as_deref();
        let backbone = backbone::find(&index, &shapes, output.zip(flow.as_ref()), wish);
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
        let features = backbone.as_ref().ok().map(|b| b.features.as_str());
        let reached = match (output, features) {
            (None, _) => reaching(
                graph,
                &graph
                    .outputs
                    .iter()
                    .map(|o| o.name.as_str())
                    .collect::<Vec<_>>(),
            ),
            (Some(output), Some(features)) => reaching(graph, &[output, features]),
            (Some(output), None) => reaching(graph, &[output]),
        };
        let (mut layers, mut weighted, loose) =
            layers::collect(&index, &shapes, &data, &in_backbone, &reached);
        let blocks = blocks::divide(
            &index,
            &kinds,
            &chain,
            &in_backbone,
            &mut layers,
            &mut weighted,
            &loose,
        );
        let mut warnings = shapes.warnings;
        warnings.extend(match &backbone {
            Ok(backbone) => backbone.doubt.clone(),
            Err(error) => Some(error.to_string()),
        });
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
            window: options.window,
            delimiters: kinds.into_iter().collect(),
            layers,
            weighted,
            blocks,
            elements: index
                .weights
                .iter()
                .map(|w| (w.name.to_owned(), w.elements()))
                .collect(),
            roles: roles::roles(graph, &index.weights),
            backbone,
            warnings,
        })
    }

    /// What a parameter does to the data that it meets; [`Role::Weight`] of what is none.
    pub fn role(&self, parameter: &str) -> Role {
        self.roles.get(parameter).copied().unwrap_or(Role::Weight)
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
        let trainable = |b: &&Block| !b.is_classifier && !b.layers.is_empty();
        self.blocks.iter().filter(trainable)
    }

    /// The trainable constants of a block: name, the layer that owns it or `None`, and its number of
    /// elements; one that several layers share with each of them. In the order of its layers, those of no
    /// layer last.
    pub fn tensors<'a>(
        &'a self,
        block: &'a Block,
    ) -> Vec<(&'a str, Option<&'a WeightedLayer>, usize)> {
        let layers = block.layers.iter().filter_map(|&w| self.weighted.get(w));
        let owned = layers.flat_map(|layer| layer.parameters.iter().map(move |p| (p, Some(layer))));
        let loose = block.tensors.iter().map(|name| (name, None));
        owned
            .chain(loose)
            .map(|(name, layer)| {
                let elements = self.elements.get(name).copied().unwrap_or(0);
                (name.as_str(), layer, elements)
            })
            .collect()
    }
}

/// The nodes of a graph that every path from the value `input` to the value `output` passes, by their indices and from input
/// to output: what is computed behind one of them follows from its outputs alone. None where no path is.
pub(crate) fn chain(graph: &Graph, input: &str, output: &str) -> Vec<usize> {
    let flow = Flow::between(&Index::new(graph), input, output);
    flow.map_or_else(Vec::new, |flow| flow.chain)
}

fn before_last_weighted(index: &Index, data: &[bool]) -> Vec<bool> {
    let last = (0..data.len())
        .rev()
        .find(|&i| data[i] && kinds::is_weighted(index, i))
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

#[cfg(test)]
pub(crate) mod nets;
#[cfg(test)]
mod tests;
