//! Replacing what follows the feature map by a new head.

use crate::graph::{Dim, Graph, Value};
use crate::onnx::messages::{GraphProto, TypeValue, ValueInfoProto};
use crate::onnx::{DataType, Model, OUTPUT};

use super::edit::{Edited, Editor, Manifest};
use super::head::{self, HeadKind, HeadSpec};
use super::{SurgeryError, keep};
use crate::task::Task;

/// The backbone's last feature map, of which a head makes its decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Features {
    /// Name of the value in the model: [N, channels, height, width], or [N, height, width,
    /// channels], or with one pixel also [N, channels].
    pub value: String,
    /// Number of channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Whether the channels come last.
    pub nhwc: bool,
}

/// Where training applies dropout. The emitted model has no node for that of a new head.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The value of the grafted graph to apply it to, [N, width].
    pub value: String,
    /// Share of the values that is dropped, in (0, 1).
    pub ratio: f32,
    /// Width of the value.
    pub width: usize,
}

/// A model with its head in place.
#[derive(Debug)]
pub struct Grafted {
    /// The model; what training does not change in it is what will be emitted.
    pub model: Model,
    /// In what it differs from the model that it was made from.
    pub manifest: Manifest,
    /// Initializers (or constants, by their output) of the head that are to be trained, in the
    /// order of its layers.
    pub head_parameters: Vec<String>,
    /// Where training applies dropout.
    pub dropout: Vec<Dropout>,
    /// The output with one value per class, [N, classes], or of a binary task [N, 1].
    pub output: String,
    /// What it tells of a sample.
    pub task: Task,
}

impl Grafted {
    /// An editor that goes on where grafting ended; `original` is the model that it was made from.
    ///
    /// # Errors
    /// When `original` is another model, or has fields that would be lost on writing.
    pub fn editor<'m>(&self, original: &'m Model) -> Result<Editor<'m>, SurgeryError> {
        Editor::resume(original, &self.model, &self.manifest)
    }
}

/// Replaces everything after the feature map by a new head, or with [`HeadKind::Keep`] names the
/// parameters of the head that is there.
///
/// Nodes, initializers, graph inputs of initializers (IR 3) and value infos that no longer serve
/// the output are removed; all others stay as they are, in the same order, and the head's nodes
/// and initializers come last. The grafted model has one output: `probabilities` (or `logits`), [N, classes] (of a
/// binary task [N, 1]), in the element type of the features. Weights of the head are [inputs, outputs], drawn Glorot-uniform
/// from a stream of the seed; biases are zero.
///
/// # Errors
/// When the model has fields that would be lost on writing, or the feature map, head or number of
/// classes does not fit it.
pub fn graft(
    model: &Model,
    features: Option<&Features>,
    spec: &HeadSpec,
) -> Result<Grafted, SurgeryError> {
    model.ensure_fully_known()?;
    spec.check()?;
    if spec.kind == HeadKind::Keep {
        return keep::keep(model, features, spec);
    }
    let Some(features) = features else {
        return Err(SurgeryError::Spec(format!(
            "a new head (`{}`) needs a feature map, and none was found",
            spec.kind
        )));
    };
    takes_new_head(model)?;

    // Only names, types and shapes are looked at.
    let graph = Graph::from_model(&model.outlined())?;
    let dtype = float_type(&graph, model.graph(), features)?;
    let mut editor = Editor::new(model)?;
    if !editor.makes(&features.value) {
        editor.inline()?;
    }
    editor.keep(&[&features.value]).map_err(|e| match e {
        SurgeryError::NoValue { value } => SurgeryError::NoFeatures { value },
        e => e,
    })?;
    let head = head::build(features, spec, dtype, editor.names())?;
    for (name, tensor) in &head.parameters {
        editor.add_tensor(name, tensor)?;
    }
    for node in &head.nodes {
        editor.add_node(node.to_proto())?;
    }
    editor.set_outputs(&[Value {
        name: head.output.clone(),
        dtype,
        dims: Some(vec![batch(&graph.inputs), Dim::Known(spec.outputs())]),
    }])?;
    if model.metadata(OUTPUT).is_some() {
        editor.set_metadata(OUTPUT, &head.output);
    }
    let Edited { proto, manifest } = editor.finish()?;
    Ok(Grafted {
        model: model.with_proto(proto).with_scores(None),
        manifest,
        head_parameters: head.parameters.into_iter().map(|(n, _)| n).collect(),
        dropout: head.dropout,
        output: head.output,
        task: spec.task,
    })
}

/// That a model is of an opset in which a new head can be written.
///
/// # Errors
/// [`SurgeryError::Opset`] where it is not.
pub(crate) fn takes_new_head(model: &Model) -> Result<(), SurgeryError> {
    match model.opset() {
        ..7 => Err(SurgeryError::Opset(model.opset())),
        _ => Ok(()),
    }
}

/// The first dimension of the first input of four dimensions, or else of the first input.
fn batch(inputs: &[Value]) -> Dim {
    let dims = |v: &Value| v.dims.clone().unwrap_or_default();
    inputs
        .iter()
        .map(dims)
        .find(|d| d.len() == 4)
        .or_else(|| inputs.first().map(dims))
        .and_then(|d| d.into_iter().next())
        .unwrap_or(Dim::Symbolic(String::new()))
}

/// The element type of the features: as declared, or else as that of the weights before them.
fn float_type(
    graph: &Graph,
    declared: &GraphProto,
    features: &Features,
) -> Result<DataType, SurgeryError> {
    let producers = graph.producers();
    let mut value = features.value.as_str();
    let mut found = DataType::Float;
    // Every step goes to an earlier node.
    for _ in 0..=graph.nodes.len() {
        if let Some(dtype) = declared_type(declared, value) {
            found = dtype;
            break;
        }
        let Some(node) = producers.get(value).map(|&i| &graph.nodes[i]) else {
            break;
        };
        if node.is("Cast") {
            let number = i32::try_from(node.int("to", 1)?).unwrap_or(0);
            found = DataType::from_number(number).unwrap_or(found);
            break;
        }
        let weight = node
            .present_inputs()
            .filter_map(|i| graph.initializers.get(i))
            .find(|t| t.dtype.is_float());
        if let Some(tensor) = weight {
            found = tensor.dtype;
            break;
        }
        match node.present_inputs().next() {
            Some(input) => value = input,
            None => break,
        }
    }
    if !found.is_float() {
        return Err(SurgeryError::FeatureType {
            value: features.value.clone(),
            dtype: found,
        });
    }
    Ok(found)
}

fn declared_type(graph: &GraphProto, value: &str) -> Option<DataType> {
    let is_it = |v: &&ValueInfoProto| v.name.as_deref() == Some(value);
    let info = graph
        .value_info
        .iter()
        .chain(&graph.input)
        .chain(&graph.output)
        .find(is_it)?;
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(t) => DataType::from_number(t.elem_type?),
        _ => None,
    }
}
