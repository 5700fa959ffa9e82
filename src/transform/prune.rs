//! What serves no output goes.

use crate::onnx::Model;
use crate::surgery::Editor;

use super::{TransformError, Transformed};

/// Takes away nodes of the graph, initializers, noted types and annotations that no output needs, and functions that nothing
/// calls. What graphs inside of nodes read is needed with the node. Declared inputs stay.
///
/// # Errors
/// When the model has fields that would be lost on writing, or declares an output that nothing makes.
pub fn prune(model: &Model) -> Result<Transformed<'_>, TransformError> {
    let mut editor = Editor::new(model)?;
    let outputs = model.graph().output.iter().map(|o| o.name());
    editor.keep(&Vec::from_iter(outputs))?;
    editor.drop_uncalled_functions();
    Ok(Transformed::new(model, editor.finish()?))
}
