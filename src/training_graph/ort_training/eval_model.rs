//! The graph of the loss alone, which is the file of the model with a loss behind it.
//!
//! It has the inputs of the training model in its order, as onnxruntime gives both the same. What
//! `export_model_for_inferencing` writes are the nodes of this graph that lead to the asked outputs, with the parameters'
//! values in place of their inputs: the nodes of the file.

use std::collections::HashSet;

use crate::autodiff::{Labels, binary_cross_entropy, cross_entropy, squared_error};
use crate::graph::messages::{all_graphs, defined, value_names};
use crate::graph::{Builder, Graph, Node, Value, value_to_proto};
use crate::onnx::messages::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue, ValueInfoProto,
};
use crate::onnx::{DataType, Model, Tensor};
use crate::surgery::Editor;
use crate::task::Task;
use crate::training::program::{Prepared, with_zero};
use crate::training::{FreedFile, Objective};

use super::super::TrainingGraphError;

/// The opsets that have all that is added, and that onnxruntime 1.19 reads.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;
/// The newest IR that it reads.
const IR: i64 = 10;

fn mismatch(what: String) -> TrainingGraphError {
    TrainingGraphError::Mismatch(what)
}

/// The file of `model` with all its tensors in it, freed from the batch size of its export where `prepared` is and an editor
/// can do that, and with its functions written out where a parameter or what the loss is taken of is inside of one.
///
/// # Errors
/// Where these are not in its main graph, or it is of an opset that onnxruntime 1.19 does not read.
pub(super) fn file(
    model: &Model,
    prepared: &Prepared,
    parameters: &[(&str, &Tensor)],
) -> Result<ModelProto, TrainingGraphError> {
    if !OPSETS.contains(&model.opset()) {
        return Err(mismatch(format!(
            "the model is of opset {}; onnxruntime's training API takes {} to {}: convert the file \
             (onnx.version_converter)",
            model.opset(),
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    let freed = match prepared.freed {
        Some(_) => FreedFile::of(model).ok().flatten(),
        None => None,
    };
    let made = edited(model, prepared, parameters, freed.as_ref());
    let mut proto = match (made, freed) {
        // What cannot be freed in the file takes the batch of its export.
        (Err(TrainingGraphError::Training(_)), Some(_)) => {
            edited(model, prepared, parameters, None)?
        }
        (made, _) => made?,
    };
    proto.ir_version = proto.ir_version.map(|version| version.min(IR));
    Ok(proto)
}

fn edited(
    model: &Model,
    prepared: &Prepared,
    parameters: &[(&str, &Tensor)],
    freed: Option<&FreedFile>,
) -> Result<ModelProto, TrainingGraphError> {
    let mut editor = Editor::new(model)?;
    let lacks = |editor: &Editor| {
        let known = defined(editor.graph());
        let needed = parameters.iter().map(|(name, _)| *name);
        let mut needed = needed.chain([scores_of(prepared, &known)]);
        needed.find(|name| !known.contains(name)).map(str::to_owned)
    };
    if lacks(&editor).is_some() {
        editor.inline()?;
    }
    if let Some(name) = lacks(&editor) {
        return Err(mismatch(format!(
            "`{name}` is not in the main graph of the file, where onnxruntime's training API takes it from"
        )));
    }
    if let Some(freed) = freed {
        freed.apply(&mut editor)?;
    }
    editor.sort();
    editor.take_in()?;
    Ok(editor.finish()?.proto)
}

/// The value of a file that has the elements of what the loss is taken of: normal form may have it in other dimensions.
fn scores_of<'p>(prepared: &'p Prepared, known: &HashSet<&str>) -> &'p str {
    let producers = prepared.graph.producers();
    let mut value = prepared.scores.as_str();
    while !known.contains(value) {
        let node = producers.get(value).map(|&at| &prepared.graph.nodes[at]);
        let node = node.filter(|node| node.is("Flatten") || node.is("Reshape"));
        match node.and_then(|node| node.input(0)) {
            Some(input) => value = input,
            None => break,
        }
    }
    value
}

/// What the evaluation is made of.
pub(super) struct Eval<'a> {
    pub prepared: &'a Prepared,
    /// The user's inputs of the training model.
    pub inputs: &'a [Value],
    /// The last of them, where the loss is held against it.
    pub labels: Option<&'a str>,
    pub parameters: &'a [(&'a str, &'a Tensor)],
    /// What the loss is called.
    pub loss: &'a str,
    /// The output of the file that stays one.
    pub scores: Option<&'a Value>,
}

impl Eval<'_> {
    /// The model, of its [file].
    ///
    /// # Errors
    /// Where a parameter or an input is not float32 there, as it is in the training model.
    pub fn model(&self, mut file: ModelProto) -> Result<ModelProto, TrainingGraphError> {
        let mut graph = file.graph.take().unwrap_or_default();
        for (name, tensor) in self.parameters {
            take_out(&mut graph, name, tensor)?;
        }
        let loss = self.appended(&graph)?;
        graph.initializer.extend(loss.initializer);
        graph.node.extend(loss.node);
        self.declare(&mut graph)?;
        file.graph = Some(graph);
        Ok(file)
    }

    /// The loss, as nodes and tensors whose names are free in `file`: that of a batch of one sample, which sums up, divided
    /// by the number of samples.
    fn appended(&self, file: &GraphProto) -> Result<GraphProto, TrainingGraphError> {
        let scores = scores_of(self.prepared, &defined(file));
        let Prepared {
            objective,
            classes,
            targets,
            ..
        } = self.prepared;
        let mut graph = Graph::new(*OPSETS.end());
        let mut taken: HashSet<String> = value_names(file);
        let nodes = all_graphs(file).into_iter().flat_map(|graph| &graph.node);
        taken.extend(nodes.filter_map(|node| node.name.clone()));
        taken.extend(self.labels.map(str::to_owned));
        taken.insert(self.loss.to_owned());
        // Inputs of any type: that their names are taken is all that counts.
        let taken = taken
            .iter()
            .map(|name| Value::fixed(name, DataType::Float, &[]));
        graph.inputs = taken.collect();
        let loss = match (objective, self.labels) {
            (Objective::Output, _) | (_, None) => {
                let mut builder = Builder::new(&mut graph);
                let scalar = builder.ints(&[]);
                Node::new(self.loss, "Reshape", &[scores, &scalar], &[self.loss])
            }
            (objective, Some(labels)) => {
                let logits = match objective {
                    Objective::Task(Task::Binary) => Some(with_zero(&mut graph, scores)),
                    _ => None,
                };
                let mut builder = Builder::new(&mut graph);
                let rows = vec![("axis", 1.into())];
                let logits = match (logits, objective) {
                    (Some(logits), _) => logits,
                    (None, Objective::Task(_)) => {
                        builder.op("loss/rows", "Flatten", &[scores], rows)
                    }
                    (None, _) => scores.to_owned(),
                };
                let dims = [1, *classes];
                let of = Labels::One(labels);
                let sum = match objective {
                    Objective::Task(Task::MultiLabel) => {
                        binary_cross_entropy(&mut builder, &logits, &dims, labels, targets)?
                    }
                    Objective::Task(_) => cross_entropy(&mut builder, &logits, &dims, of, targets)?,
                    _ => squared_error(&mut builder, &logits, &dims, labels),
                };
                let sizes = builder.op("loss/sizes", "Shape", &[labels], vec![]);
                let first = builder.constant(Tensor::scalar_i64(0));
                let count = builder.op("loss/count", "Gather", &[&sizes, &first], vec![]);
                let to = vec![("to", (DataType::Float as i64).into())];
                let count = builder.op("loss/count/float", "Cast", &[&count], to);
                Node::new(self.loss, "Div", &[&sum.loss, &count], &[self.loss])
            }
        };
        // The name is taken by an input that is none.
        graph.inputs.retain(|value| value.name != self.loss);
        graph.nodes.push(loss);
        graph
            .outputs
            .push(Value::fixed(self.loss, DataType::Float, &[]));
        graph.prune();
        Ok(graph.to_model(usize::MAX).0.graph.unwrap_or_default())
    }

    /// Declares inputs and outputs: those of the user, parameters, and initializers that are inputs as well; the loss and
    /// the scores.
    fn declare(&self, graph: &mut GraphProto) -> Result<(), TrainingGraphError> {
        let declared = std::mem::take(&mut graph.input);
        let of = |name: &str| declared.iter().find(|v| v.name.as_deref() == Some(name));
        let mut batch = None;
        for value in self.inputs {
            let mut info = value_to_proto(value);
            if Some(value.name.as_str()) == self.labels {
                if let (Some(batch), Some(dim)) = (batch.take(), first_dim(&mut info)) {
                    *dim = batch;
                }
            } else {
                let own = of(&value.name).cloned();
                let mut own = own.filter(|own| dtype(own) == dtype(&info)).ok_or_else(|| {
                    mismatch(format!(
                        "the model's input `{}` is not {:?} in its file, as it is where gradients are taken; \
                         onnxruntime's training API has both take the same",
                        value.name, value.dtype
                    ))
                })?;
                batch = batch.or_else(|| first_dim(&mut own).cloned());
                info = own;
            }
            graph.input.push(info);
        }
        let parameters = self.parameters.iter();
        let parameters = parameters.map(|(name, t)| Value::fixed(name, DataType::Float, &t.dims));
        graph
            .input
            .extend(parameters.map(|value| value_to_proto(&value)));
        // Of an old IR each initializer is declared as an input, too.
        let tensors: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let is_tensor = |v: &&ValueInfoProto| tensors.contains(v.name());
        graph
            .input
            .extend(declared.iter().filter(is_tensor).cloned());
        let outputs = std::mem::take(&mut graph.output);
        let loss = Value::fixed(self.loss, DataType::Float, &[]);
        graph.output.push(value_to_proto(&loss));
        if let Some(scores) = self.scores {
            let own = outputs.into_iter().find(|v| v.name() == scores.name);
            let own = own.unwrap_or_else(|| value_to_proto(scores));
            graph.output.push(own);
        }
        Ok(())
    }
}

/// Takes the tensor of a parameter out of a graph, an initializer or what a `Constant` holds.
///
/// # Errors
/// Where it is not as the training model has it.
fn take_out(graph: &mut GraphProto, name: &str, tensor: &Tensor) -> Result<(), TrainingGraphError> {
    let is_it = |held: &TensorProto| {
        let dims = held.dims.iter().map(|&d| usize::try_from(d).ok());
        held.data_type == Some(DataType::Float as i32)
            && dims.eq(tensor.dims.iter().map(|&d| Some(d)))
    };
    let makes = |node: &NodeProto| node.output.iter().any(|output| output == name);
    let holds = |node: &NodeProto| {
        let held = node.attribute.first();
        let is_float = held.is_some_and(|a| a.f.is_some() || a.floats.len() == tensor.len());
        node.op_type() == "Constant"
            && (is_float || held.and_then(|a| a.t.as_ref()).is_some_and(is_it))
    };
    let mut tensors = graph.initializer.iter().filter(|t| t.name() == name);
    let mut nodes = graph.node.iter().filter(|node| makes(node));
    if !tensors.any(is_it) && !nodes.any(holds) {
        return Err(mismatch(format!(
            "the parameter `{name}` is no float32 tensor of dimensions {:?} in the file; onnxruntime's training API takes \
             it as it is there",
            tensor.dims
        )));
    }
    graph.initializer.retain(|t| t.name() != name);
    graph.node.retain(|node| !makes(node));
    Ok(())
}

fn first_dim(value: &mut ValueInfoProto) -> Option<&mut Dimension> {
    match value.r#type.as_mut()?.value.as_mut()? {
        TypeValue::Tensor(tensor) => tensor.shape.as_mut()?.dim.first_mut(),
        _ => None,
    }
}

fn dtype(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => tensor.elem_type,
        _ => None,
    }
}
