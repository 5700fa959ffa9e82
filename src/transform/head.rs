//! Another classifier, or none.

use crate::analysis::{Analysis, AnalyzeOptions};
use crate::classifier::{CLASSES, feature_map};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::surgery::{Edited, HeadKind, HeadSpec, graft};
use crate::task::Task;

use super::{Promise, Runtimes, TransformError, Transformed, extract};

/// A head that takes the place of a model's own.
#[derive(Clone, Debug)]
pub struct NewHead {
    /// Its layers.
    pub kind: HeadKind,
    /// How many classes it tells apart.
    pub classes: usize,
    /// What they are called, in the order of the outputs; goes into the metadata.
    pub names: Option<Vec<String>>,
    /// The value that it stands on, where that is not to be searched for.
    pub features: Option<String>,
    /// Height and width of images, where the model leaves them open.
    pub image_size: Option<(usize, usize)>,
    /// Whether it gives logits instead of probabilities.
    pub logits: bool,
    /// What it tells of a sample.
    pub task: Task,
    /// Seed of its first weights.
    pub seed: u64,
}

impl NewHead {
    /// A dense layer on the pooled feature map, for so many classes.
    pub fn new(classes: usize) -> Self {
        NewHead {
            kind: HeadKind::Linear,
            classes,
            names: None,
            features: None,
            image_size: None,
            logits: false,
            task: Task::SingleLabel,
            seed: 0,
        }
    }
}

/// The model with everything behind its last feature map replaced by a new head, whose weights are drawn: one to be tuned. The
/// feature map is promised to be what it was.
///
/// # Errors
/// When no feature map is found, its size is open, or the head does not fit.
pub fn replace_head<'m>(
    model: &'m Model,
    head: &NewHead,
) -> Result<Transformed<'m>, TransformError> {
    let options = AnalyzeOptions {
        features: head.features.clone(),
        image_size: head.image_size,
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(&model.outlined(), &options)?;
    let backbone = analysis.backbone()?;
    let Some(features) = feature_map(backbone) else {
        return Err(TransformError::Unfit(format!(
            "the size of the feature map `{}` is open; say the size of images",
            backbone.features
        )));
    };
    let spec = HeadSpec {
        task: head.task,
        logits: head.logits,
        ..HeadSpec::new(head.kind, head.classes, head.seed)
    };
    let grafted = graft(model, Some(&features), &spec)?;
    let mut editor = grafted.editor(model)?;
    match &head.names {
        Some(names) => {
            let names: Vec<serde_json::Value> = names.iter().map(|n| n.as_str().into()).collect();
            editor.set_metadata(CLASSES, &serde_json::Value::from(names).to_string());
        }
        // Names of other classes.
        None if model.metadata(CLASSES).is_some() => editor.remove_metadata(CLASSES),
        None => {}
    }
    let edited = editor.finish()?;
    let promise = up_to(&edited, &features.value);
    let mut made = Transformed::new(model, edited);
    made.promise = promise;
    made.notes.extend(analysis.warnings.iter().cloned());
    Ok(made)
}

/// The same value from the same inputs, as far as the new model has these.
fn up_to(edited: &Edited, value: &str) -> Promise {
    let same = |name: &str| (name.to_owned(), name.to_owned());
    let graph = edited.proto.graph.as_ref();
    let inputs = graph.iter().flat_map(|g| &g.input);
    let stored = |name: &str| {
        let mut tensors = graph.iter().flat_map(|g| &g.initializer);
        tensors.any(|t| t.name() == name)
    };
    Promise {
        fed: inputs
            .map(|v| v.name())
            .filter(|name| !stored(name))
            .map(same)
            .collect(),
        equal: vec![same(value)],
        ..Promise::default()
    }
}

/// The model without its classifier: it gives what the classifier's first layer reads, or `features` where that is named.
///
/// # Errors
/// When the model has no classifier, or as [`extract`].
pub fn remove_head<'m>(
    model: &'m Model,
    features: Option<&str>,
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'m>, TransformError> {
    let output = match features {
        Some(features) => features.to_owned(),
        None => before_classifier(model)?,
    };
    let mut transformed = extract(model, &[], std::slice::from_ref(&output), runtimes)?;
    transformed.notes.push(format!("the output is `{output}`"));
    Ok(transformed)
}

fn before_classifier(model: &Model) -> Result<String, TransformError> {
    let outline = model.outlined();
    let graph = Graph::from_model(&outline)?;
    let noted = &outline.graph().value_info;
    let analysis = Analysis::of_graph(&graph, noted, &AnalyzeOptions::default())?;
    let backbone = analysis.backbone()?;
    let mut layers = analysis.weighted.iter();
    let Some(first) = layers
        .find(|layer| layer.in_classifier)
        .filter(|_| !backbone.is_whole)
    else {
        return Err(TransformError::Unfit(format!(
            "the model has no classifier: behind its last feature map, `{}`, is no layer with weights",
            backbone.features
        )));
    };
    let node = &graph.nodes[first.node];
    let mut read = node
        .present_inputs()
        .filter(|name| !graph.initializers.contains_key(*name));
    let data = read.next().unwrap_or(&backbone.features);
    Ok(data.to_owned())
}
