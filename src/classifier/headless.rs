//! Models whose output is a feature, not class scores.

use crate::analysis::{Analysis, AnalyzeOptions};
use crate::graph::Graph;
use crate::graph::operators::{Class, Elements};
use crate::onnx::Model;

/// That a model has no classifier, if it looks so: what it gives is the map of its last layer, or the mean of
/// one.
pub(super) fn headless(model: &Model, graph: &Graph, size: (usize, usize)) -> Option<String> {
    if !may_be(graph) {
        return None;
    }
    let options = AnalyzeOptions {
        image_size: Some(size),
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(model, &options).ok()?;
    let backbone = analysis.backbone().ok()?;
    let is_sure = backbone.is_whole && backbone.doubt.is_none();
    is_sure.then(|| {
        format!(
            "the model looks like one without a classifier: what it gives are features, those of `{}`, and no \
             class scores",
            backbone.features
        )
    })
}

/// Whether the class scores are a pooled map, a map or a token, as far as the last nodes tell.
fn may_be(graph: &Graph) -> bool {
    let producers = graph.producers();
    let mut value = graph.outputs.first().map(|o| o.name.as_str());
    while let Some(node) = value
        .and_then(|v| producers.get(v))
        .map(|&i| &graph.nodes[i])
    {
        let elements = node.elements();
        let passes = elements.is_copy() || elements == Elements::Reshaped;
        if !passes {
            let pools = node.is_a(Class::GlobalPool) || node.is("ReduceMean");
            // Of the tokens of a transformer one is picked.
            let picks = node.is("Gather") || node.is("Slice") || node.is("LayerNormalization");
            return pools || picks || node.is_a(Class::Activation);
        }
        value = node.input(0);
    }
    false
}
