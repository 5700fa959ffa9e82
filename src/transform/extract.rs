//! The part of a model between any values.

use std::collections::HashSet;

use crate::onnx::Model;
use crate::onnx::messages::ValueInfoProto;
use crate::surgery::Editor;

use super::{Promise, Runtimes, TransformError, Transformed, has_value, types};

/// The part of `model` that computes `outputs` from `inputs`: any values of its graph, also of a function's body once that is
/// written out (`call/value`), and as inputs also initializers. Without inputs (outputs), from (to) the model's own.
///
/// Nodes, tensors, noted types and annotations that do not serve the outputs go; what graphs inside of nodes read serves
/// them. All else is as it was: names, metadata, functions, operator sets, in the same order. Of inputs that are not named
/// only those stay that are read. Types of new inputs and outputs are those that the file notes, or that onnxruntime
/// infers.
///
/// # Errors
/// When the model has no such value, an output needs what follows from no input, or a type is not known.
pub fn extract<'m>(
    model: &'m Model,
    inputs: &[String],
    outputs: &[String],
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'m>, TransformError> {
    let own = |values: &[ValueInfoProto]| values.iter().map(|v| v.name().to_owned()).collect();
    let given = model.graph();
    let all: Vec<String> = inputs.iter().chain(outputs).cloned().collect();
    let mut editor = Editor::new(model)?;
    if all.iter().any(|name| !has_value(given, name)) {
        editor.inline()?;
    }
    let whole = model.with_proto(editor.proto().clone());
    let stored: HashSet<&str> = given.initializer.iter().map(|t| t.name()).collect();
    let fed: Vec<String> = match inputs {
        [] => {
            let all: Vec<String> = own(&given.input);
            all.into_iter()
                .filter(|name| !stored.contains(name.as_str()))
                .collect()
        }
        inputs => inputs.to_vec(),
    };
    let wanted: Vec<String> = match outputs {
        [] => own(&given.output),
        outputs => outputs.to_vec(),
    };
    if let Some(name) = fed
        .iter()
        .chain(&wanted)
        .find(|name| !has_value(whole.graph(), name))
    {
        return Err(crate::surgery::SurgeryError::NoValue {
            value: name.clone(),
        }
        .into());
    }
    let names: Vec<String> = fed.iter().chain(&wanted).cloned().collect();
    let declared = types::declarations(&whole, &names, runtimes)?;
    let (new_inputs, new_outputs) = declared.split_at(fed.len());
    editor.set_inputs(new_inputs)?;
    editor.declare_outputs(new_outputs)?;
    let kept: Vec<&str> = wanted.iter().map(String::as_str).collect();
    editor.keep(&kept)?;
    editor.drop_unread_inputs(&inputs.iter().map(String::as_str).collect());
    editor.ensure_reachable()?;
    let mut notes = Vec::new();
    for name in inputs {
        if !editor.reads(name) {
            notes.push(format!(
                "the input `{name}` is read by nothing that the outputs need"
            ));
        }
    }
    let same = |name: &str| (name.to_owned(), name.to_owned());
    let edited = editor.finish()?;
    let graph = edited.proto.graph.as_ref();
    let promise = Promise {
        fed: fed
            .iter()
            .filter(|name| graph.is_some_and(|g| g.input.iter().any(|i| i.name() == *name)))
            .map(|name| same(name))
            .collect(),
        equal: wanted.iter().map(|name| same(name)).collect(),
        ..Promise::default()
    };
    let mut made = Transformed::new(model, edited);
    made.promise = promise;
    made.notes.extend(notes);
    Ok(made)
}
