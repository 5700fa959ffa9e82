//! External data moves inside.

use crate::onnx::messages::ModelProto;
use crate::onnx::{Model, each_tensor, is_external};

use super::super::SurgeryError;
use super::Editor;
use super::tensors::store;

impl Editor<'_> {
    /// Takes all external data into the model, which then stands alone: of initializers, sparse ones
    /// and attributes, in graphs inside of nodes, in functions and in training graphs.
    ///
    /// # Errors
    /// When it cannot be read, does not fit its declaration or leaves the model's folder.
    pub fn take_in(&mut self) -> Result<(), SurgeryError> {
        self.taken_in = true;
        of_model(self.original, &mut self.proto)
    }
}

/// A model with all its external data inside; in memory it may be of any size.
///
/// # Errors
/// As [`Editor::take_in`].
pub fn taken_in(model: &Model) -> Result<Model, SurgeryError> {
    let mut proto = model.proto.clone();
    of_model(model, &mut proto)?;
    Ok(model.with_proto(proto))
}

fn of_model(files: &Model, model: &mut ModelProto) -> Result<(), SurgeryError> {
    each_tensor(model, |tensor| {
        if is_external(tensor) {
            let values = files.tensor(tensor)?;
            store(tensor, &values);
        }
        Ok(())
    })
}
