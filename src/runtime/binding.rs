//! Buffers that a session reads and writes in place.

use std::sync::Arc;

use ort::session::IoBinding;

use super::buffer::Borrow;
use super::session::misfit;
use super::{Buffer, RuntimeError, SharedTensor};

/// Buffers attached to the inputs and outputs of one session; made by [`Session::bind`](super::Session::bind).
#[derive(Debug)]
pub struct Binding {
    pub(super) session: u64,
    pub(super) binding: IoBinding,
    pub(super) inputs: Vec<(String, Buffer)>,
    pub(super) outputs: Vec<(String, Buffer)>,
    /// The binding keeps the onnxruntime session alive, and that reads these.
    pub(super) _externals: Arc<[SharedTensor]>,
}

impl Binding {
    /// Runs borrow the buffers anew, so binding only needs each for a moment.
    pub(super) fn attach_inputs(&mut self, label: &str) -> Result<(), RuntimeError> {
        for (name, buffer) in &self.inputs {
            let mut borrow = buffer.borrow_input().map_err(|_| in_use(label, name))?;
            let bound = borrow.bind(&mut self.binding, name);
            bound.map_err(|error| misfit(label, name, error.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn attach_outputs(&mut self, label: &str) -> Result<(), RuntimeError> {
        for (name, buffer) in &self.outputs {
            let mut borrow = buffer.borrow_output().map_err(|_| in_use(label, name))?;
            let bound = borrow.bind(&mut self.binding, name);
            bound.map_err(|error| misfit(label, name, error.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn borrow_all(&self, label: &str) -> Result<Vec<Borrow<'_>>, RuntimeError> {
        let mut borrows = Vec::with_capacity(self.inputs.len() + self.outputs.len());
        for (name, buffer) in &self.inputs {
            borrows.push(buffer.borrow_input().map_err(|_| in_use(label, name))?);
        }
        for (name, buffer) in &self.outputs {
            borrows.push(buffer.borrow_output().map_err(|_| in_use(label, name))?);
        }
        Ok(borrows)
    }
}

fn in_use(label: &str, name: &str) -> RuntimeError {
    RuntimeError::BufferInUse(format!("{label}: the buffer of `{name}`"))
}
