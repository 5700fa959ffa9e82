//! What serves no output goes.

use crate::onnx::Model;
use crate::surgery::Editor;

use super::{TransformError, Transformed};

/// Takes away nodes, initializers, noted types and annotations that no output needs, of the graph, of graphs inside of nodes
/// and of functions, and functions that nothing calls. What graphs inside of nodes read is needed with the node. Declared
/// inputs stay, and so does all that a graph inside of a node or a function declares.
///
/// # Errors
/// When the model has fields that would be lost on writing, or declares an output that nothing makes.
pub fn prune(model: &Model) -> Result<Transformed<'_>, TransformError> {
    let mut editor = Editor::new(model)?;
    editor.keep_inside();
    let outputs = model.graph().output.iter().map(|o| o.name());
    editor.keep(&Vec::from_iter(outputs))?;
    editor.drop_uncalled_functions();
    Ok(Transformed::new(model, editor.finish()?))
}
