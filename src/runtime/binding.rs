//! Buffers that a session reads and writes in place.

use std::fmt;
use std::sync::Arc;

use ort::session::{IoBinding, RunOptions};

use super::buffer::Borrow;
use super::session::misfit;
use super::{Buffer, RuntimeError, SharedTensor};

/// Buffers attached to the inputs and outputs of one session; made by [`Session::bind`](super::Session::bind).
#[derive(Debug)]
pub struct Binding {
    pub(super) session: u64,
    pub(super) binding: IoBinding,
    pub(super) inputs: Vec<Attached>,
    pub(super) outputs: Vec<Attached>,
    /// Of a session that [replays](super::SessionOptions::replay): by which number it knows the work on these buffers.
    pub(super) replay: Option<Replay>,
    /// The binding keeps the onnxruntime session alive, and that reads these.
    pub(super) _externals: Arc<[SharedTensor]>,
}

/// A buffer of a binding.
#[derive(Debug)]
pub(super) struct Attached {
    pub name: String,
    pub buffer: Buffer,
    /// What stands for it on the device, always at the same place.
    pub twin: Option<Buffer>,
    /// Which of its [`Buffer::writes`] the session has; `None` before it is attached.
    pub writes: Option<u64>,
}

/// The work of a run as the device has recorded it.
pub(super) struct Replay {
    pub options: RunOptions,
    /// Whether it is recorded already.
    pub is_recorded: bool,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("is_recorded", &self.is_recorded)
            .finish_non_exhaustive()
    }
}

impl Attached {
    /// What the session has of it.
    fn own(&self) -> &Buffer {
        self.twin.as_ref().unwrap_or(&self.buffer)
    }
}

impl Binding {
    /// Runs borrow the buffers anew, so binding only needs each for a moment.
    pub(super) fn attach(&mut self, label: &str) -> Result<(), RuntimeError> {
        for input in &mut self.inputs {
            let name = &input.name;
            let mut borrow = input
                .own()
                .borrow_input()
                .map_err(|_| in_use(label, name))?;
            let bound = borrow.bind(&mut self.binding, name);
            bound.map_err(|error| misfit(label, name, error.to_string()))?;
            drop(borrow);
            if input.twin.is_none() {
                input.writes = Some(input.buffer.writes());
            }
        }
        for output in &self.outputs {
            let name = &output.name;
            let mut borrow = output
                .own()
                .borrow_output()
                .map_err(|_| in_use(label, name))?;
            let bound = borrow.bind(&mut self.binding, name);
            bound.map_err(|error| misfit(label, name, error.to_string()))?;
        }
        Ok(())
    }

    /// Gives the device what has been written to input buffers since it last had them.
    pub(super) fn refresh(&mut self, label: &str) -> Result<(), RuntimeError> {
        for input in &mut self.inputs {
            let writes = Some(input.buffer.writes());
            if input.writes == writes {
                continue;
            }
            match &input.twin {
                Some(twin) => twin.take_over(&input.buffer)?,
                None => {
                    let name = &input.name;
                    let mut borrow = input
                        .buffer
                        .borrow_input()
                        .map_err(|_| in_use(label, name))?;
                    let bound = borrow.bind(&mut self.binding, name);
                    bound.map_err(|error| misfit(label, name, error.to_string()))?;
                }
            }
            input.writes = writes;
        }
        Ok(())
    }

    /// Gives output buffers what the device has of them behind a run.
    pub(super) fn fetch(&self) -> Result<(), RuntimeError> {
        for output in &self.outputs {
            if let Some(twin) = &output.twin {
                output.buffer.take_over(twin)?;
            }
        }
        Ok(())
    }

    pub(super) fn borrow_all(&self, label: &str) -> Result<Vec<Borrow<'_>>, RuntimeError> {
        let mut borrows = Vec::with_capacity(self.inputs.len() + self.outputs.len());
        for input in &self.inputs {
            let borrow = input.own().borrow_input();
            borrows.push(borrow.map_err(|_| in_use(label, &input.name))?);
        }
        for output in &self.outputs {
            let borrow = output.own().borrow_output();
            borrows.push(borrow.map_err(|_| in_use(label, &output.name))?);
        }
        Ok(borrows)
    }
}

fn in_use(label: &str, name: &str) -> RuntimeError {
    RuntimeError::BufferInUse(format!("{label}: the buffer of `{name}`"))
}
