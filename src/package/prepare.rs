//! The model with what it says of itself, under the keys that other tools read as well.

use crate::classifier::{ModelCard, names_literal};
use crate::graph::{Graph, Value};
use crate::onnx::Model;
use crate::surgery::{Edited, Editor};
use crate::task::Task;

use super::PackageError;
use super::facts::Facts;

/// The model of these facts, with its class scores as an output and in its metadata
///
/// - what ftsurgery reads: classes, preprocessing, image size, task, thresholds;
/// - `names` and `imgsz`, as Ultralytics writes them and others read.
///
/// # Errors
/// When its file has fields beyond the schema, which the new one would lose, or inputs that nobody needs.
pub fn prepared(model: &Model, graph: &Graph, facts: &Facts) -> Result<Edited, PackageError> {
    let mut editor = Editor::new(model)?;
    let file = model.graph();
    let is_weight = |name: &str| file.initializer.iter().any(|t| t.name() == name);
    let inputs = file.input.iter().filter_map(|input| input.name.as_deref());
    let others: Vec<&str> = inputs
        .filter(|name| *name != facts.input.name && !is_weight(name))
        .collect();
    if let Some(other) = others.first() {
        return Err(PackageError::Unfit(format!(
            "the model has the input `{other}` besides its pictures; a package is of one input"
        )));
    }
    let declared = file.output.iter().filter_map(|o| o.name.as_deref());
    if !declared.into_iter().any(|name| name == facts.output.name)
        && let Some(scores) = graph.outputs.first()
    {
        editor.set_outputs(&[Value::clone(scores)])?;
    }
    describe(&mut editor, facts)?;
    Ok(editor.finish()?)
}

/// Writes the metadata of a model.
pub(super) fn describe(editor: &mut Editor<'_>, facts: &Facts) -> Result<(), PackageError> {
    let card = ModelCard {
        classes: Some(facts.classes.clone()).filter(|_| facts.is_named),
        preprocess: Some(facts.preprocess.clone()),
        image_size: Some((facts.height, facts.width)),
        task: Some(facts.task).filter(|task| *task != Task::SingleLabel),
        thresholds: facts.thresholds.clone(),
        ..ModelCard::default()
    };
    for (key, value) in card.entries()? {
        editor.set_metadata(key, &value);
    }
    if facts.is_named {
        editor.set_metadata("names", &names_literal(&facts.classes));
    }
    editor.set_metadata("imgsz", &format!("[{}, {}]", facts.height, facts.width));
    Ok(())
}
