//! Batches of any size, or of one.

use crate::onnx::Model;
use crate::surgery::Editor;
use crate::training::FreedFile;

use super::{TransformError, Transformed, types};

/// Frees a model that was exported for one batch size from it: its inputs and outputs are declared open, and nodes that carry
/// the size compute it. Nodes keep their names, values theirs.
///
/// # Errors
/// When it takes any batch already, would mix the samples of a batch, or hides the size where it cannot be freed.
pub fn free_batch(model: &Model) -> Result<Transformed<'_>, TransformError> {
    let Some(freed) = FreedFile::of(model)? else {
        return Err(TransformError::Unfit(
            "no input of the model is of a fixed batch size".to_owned(),
        ));
    };
    let mut editor = Editor::new(model)?;
    freed.apply(&mut editor)?;
    let mut transformed = Transformed::new(model, editor.finish()?);
    transformed
        .notes
        .push(format!("exported for batches of {}", freed.exported()));
    Ok(transformed)
}

/// Fixes the first dimension of every input that leaves it open to `size`, and with it every other dimension of that name.
///
/// # Errors
/// When no input leaves it open, or the size is 0.
pub fn fix_batch(model: &Model, size: usize) -> Result<Transformed<'_>, TransformError> {
    if size == 0 {
        return Err(TransformError::Unfit(
            "a batch has 1 sample or more".to_owned(),
        ));
    }
    let mut editor = Editor::new(model)?;
    if editor.fix_batch(size) == 0 {
        return Err(TransformError::Unfit(format!(
            "every input of the model has a first dimension of a fixed size already{}",
            first(model)
        )));
    }
    let mut transformed = Transformed::new(model, editor.finish()?);
    transformed.promise.batch = Some(size);
    Ok(transformed)
}

fn first(model: &Model) -> String {
    let mut inputs = model.graph().input.iter();
    let declared = inputs.find_map(|input| types::declared(model.graph(), input.name()));
    match declared.as_ref().and_then(types::first_size) {
        Some(size) => format!(" ({size}); `batch --free` opens it"),
        None => String::new(),
    }
}
