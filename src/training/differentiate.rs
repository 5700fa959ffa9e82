//! Forward pass, loss and gradients as a model of its own, for whoever runs it elsewhere.

use std::collections::{HashMap, HashSet};

use crate::autodiff::{AutodiffError, Operators};
use crate::graph::{Graph, Names, Value};
use crate::onnx::messages::ModelProto;
use crate::onnx::{DataType, Model};
use crate::task::Task;

use super::program::{LABELS, Port, Prepared, whole_program};
use super::{GradientOutput, TrainingError};

/// A differentiated model and the names of what goes in and comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Differentiated {
    /// The model: standard operators of opset 21, of fixed dimensions, float32.
    pub model: ModelProto,
    /// Input: the data, under the model's own name.
    pub data: Port,
    /// Input: the labels, `labels`: int64 `[batch]`, or where samples may have several float `[batch, classes]`, 1 for
    /// each class that a sample is of and 0 for the others.
    pub labels: Port,
    /// Inputs: the trained parameters, under the names of their initializers. The model holds their
    /// values as defaults.
    pub parameters: Vec<Port>,
    /// Output: the mean loss over the batch, a scalar: `loss`.
    pub loss: String,
    /// Output: the logits, under the model's own name.
    pub logits: Port,
    /// The batch size of the export, where the model had to be freed from it; see
    /// [`samples_stay_apart`](super::samples_stay_apart).
    pub freed: Option<usize>,
    /// Outputs: a gradient per parameter, in their order: `grad/NAME`.
    pub gradients: Vec<String>,
}

/// Differentiates the loss of `model` with respect to the parameters `trainable`, for `batch` samples of dimensions
/// `sample`.
///
/// What the model tells of a sample, `task`, decides which loss that is: the mean over the batch of the cross-entropy of
/// the softmax; where each class is told by itself the mean of the binary cross-entropy of the sigmoids over samples
/// and classes; of one output the mean of its binary cross-entropy, with labels 0 and 1.
///
/// The names `labels`, `loss` and `grad/NAME` get a number where the model's input, its logits or a
/// parameter has that name already; inner values of those names give way. Dropout does not run, and
/// BatchNormalization uses its stored statistics.
///
/// # Errors
/// When the model cannot be brought to normal form at these dimensions, its output does not tell what the task says,
/// a parameter is unknown, or there is no gradient for it.
pub fn differentiate(
    model: &Model,
    trainable: &[String],
    batch: usize,
    sample: &[usize],
    task: Task,
) -> Result<Differentiated, TrainingError> {
    let prepared = Prepared::of(model, batch, sample, task)?;
    let mut program = whole_program(&prepared, trainable, Operators::Standard)?;
    // The two logits of a binary task are ours; the model has one.
    let logits = Port {
        dims: prepared.shapes.dims(&prepared.scores)?.to_vec(),
        name: prepared.scores.clone(),
    };
    let outputs = program.graph.outputs.iter_mut();
    for output in outputs.filter(|o| o.name == prepared.logits) {
        *output = Value::fixed(&logits.name, DataType::Float, &logits.dims);
    }
    let Some((loss, gradients)) = program.loss else {
        return Err(TrainingError::Mismatch(
            "the program has no loss".to_owned(),
        ));
    };
    let data = Port {
        dims: prepared.shapes.dims(&prepared.input)?.to_vec(),
        name: prepared.input,
    };
    let kept = [data.name.clone(), logits.name.clone()];
    let parameters = program.parameters.iter().map(|p| p.name.clone());
    let mut names: Names = parameters.chain(kept).collect();
    let mut public = HashMap::new();
    let mut claim = |value: &str, wanted: &str| {
        let name = names.fresh(wanted);
        public.insert(value.to_owned(), name.clone());
        name
    };
    let ours = program.targets.unwrap_or_else(|| Port {
        name: LABELS.to_owned(),
        dims: vec![batch],
    });
    let labels = Port {
        name: claim(&ours.name, "labels"),
        dims: ours.dims,
    };
    let loss = claim(&loss, "loss");
    // Of standard operators, so that each is one value.
    let gradients: Vec<String> = gradients
        .iter()
        .flat_map(GradientOutput::ports)
        .zip(&program.parameters)
        .map(|(value, parameter)| claim(&value.name, &format!("grad/{}", parameter.name)))
        .collect();

    let mut graph = program.graph;
    rename(&mut graph, public);
    let order: HashMap<&str, usize> = [&loss, &logits.name]
        .into_iter()
        .chain(&gradients)
        .enumerate()
        .map(|(i, name)| (name.as_str(), i))
        .collect();
    graph.outputs.sort_by_key(|o| order.get(o.name.as_str()));
    graph.sort()?;
    let (mut proto, _) = graph.to_model(usize::MAX);
    if let Some(written) = proto.graph.as_mut() {
        // Since IR 4 an input with an initializer is one with a default.
        for Port { name, .. } in &program.parameters {
            let tensor = prepared.graph.initializers.get(name);
            let tensor = tensor.ok_or_else(|| AutodiffError::NotAParameter(name.clone()))?;
            written.initializer.push(tensor.to_proto(name));
        }
    }
    Ok(Differentiated {
        model: proto,
        data,
        labels,
        parameters: program.parameters,
        loss,
        logits,
        freed: prepared.freed,
        gradients,
    })
}

/// Gives values their names in `public`; others that have one of these give way.
pub(crate) fn rename(graph: &mut Graph, public: HashMap<String, String>) {
    let targets: HashSet<String> = public.values().cloned().collect();
    let names: HashSet<String> = graph
        .nodes
        .iter()
        .flat_map(|n| n.present_outputs())
        .chain(graph.inputs.iter().map(|v| v.name.as_str()))
        .chain(graph.initializers.keys().map(String::as_str))
        .map(str::to_owned)
        .collect();
    let mut map = public;
    let in_the_way: Vec<String> = names
        .iter()
        .filter(|n| targets.contains(*n) && !map.contains_key(*n))
        .cloned()
        .collect();
    let mut taken: Names = names.into_iter().chain(targets).collect();
    for name in in_the_way {
        let other = taken.fresh(&format!("{name}/inner"));
        map.insert(name, other);
    }
    let change = |name: &mut String| {
        if let Some(new) = map.get(name) {
            name.clone_from(new);
        }
    };
    for node in &mut graph.nodes {
        node.inputs
            .iter_mut()
            .chain(&mut node.outputs)
            .for_each(change);
    }
    graph
        .inputs
        .iter_mut()
        .chain(&mut graph.outputs)
        .for_each(|v| change(&mut v.name));
    graph.initializers = std::mem::take(&mut graph.initializers)
        .into_iter()
        .map(|(mut name, tensor)| {
            change(&mut name);
            (name, tensor)
        })
        .collect();
}
