//! Buffers that a session reads and writes in place.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions};

use super::buffer::Borrow;
use super::denormals::FlushToZero;
use super::refusal::refused;
use super::session::misfit;
use super::{Buffer, Device, RuntimeError, Session, SharedTensor, capture};

/// The option of a run with the number of the CUDA graph that it is recorded as (`kOrtRunOptionsConfigCudaGraphAnnotation`).
const GRAPH_NUMBER: &str = "gpu_graph_id";

/// Buffers attached to the inputs and outputs of one session; made by [`Session::bind`].
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

impl Session {
    /// A buffer of zeros in the memory in which the session computes; `[]` is a scalar.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn buffer_f32(&self, dims: &[usize]) -> Result<Buffer, RuntimeError> {
        let zeros = Buffer::zeros_f32(dims)?;
        let Some(allocator) = self.device_allocator()? else {
            return Ok(zeros);
        };
        let buffer = zeros.on_device(&allocator)?;
        buffer.copy_from(&zeros)?;
        Ok(buffer)
    }

    /// What gives memory of the device; `None` on the processor.
    fn device_allocator(&self) -> Result<Option<Allocator>, RuntimeError> {
        let Device::Cuda(number) = self.device else {
            return Ok(None);
        };
        let cuda = AllocationDevice::CUDA;
        let place = MemoryInfo::new(cuda, number, AllocatorType::Device, MemoryType::Default);
        let allocator = place.and_then(|place| Allocator::new(&self.session, place));
        let failed = |error| refused(&self.label, "find the memory of the device", &error);
        allocator.map(Some).map_err(failed)
    }

    /// Attaches buffers to all inputs and to the outputs that are wanted.
    ///
    /// Every [`Session::run_bound`] reads the input buffers as they are then and overwrites the
    /// output buffers, whose dimensions must be exactly those the model produces. An output buffer
    /// may not be attached a second time within one binding, since the model would read or write
    /// what it has half written.
    ///
    /// # Errors
    /// When a name is unknown or missing, a type or a known dimension does not fit, or a buffer is
    /// in use or attached twice.
    pub fn bind(
        &self,
        inputs: &[(&str, &Buffer)],
        outputs: &[(&str, &Buffer)],
    ) -> Result<Binding, RuntimeError> {
        if let Some(missing) = self
            .inputs
            .iter()
            .find(|port| !inputs.iter().any(|(name, _)| *name == port.name))
        {
            return Err(self.misfit(&missing.name, "no buffer is bound to this input".to_owned()));
        }
        for (ports, buffers) in [(&self.inputs, inputs), (&self.outputs, outputs)] {
            for (name, buffer) in buffers {
                self.check(ports, name, buffer.dtype(), buffer.dims())?;
            }
        }
        for (at, (name, buffer)) in outputs.iter().enumerate() {
            let mut others = inputs.iter().chain(&outputs[..at]);
            if let Some((other, _)) = others.find(|(_, other)| other.shares_memory_with(buffer)) {
                return Err(self.misfit(name, format!("its buffer is bound to `{other}` too")));
            }
        }
        let allocator = match &self.replay {
            Some(_) => self.device_allocator()?,
            None => None,
        };
        let attached = |(name, buffer): &(&str, &Buffer)| {
            let twin = match (&self.replay, &allocator) {
                (Some(_), Some(allocator)) if buffer.is_host() => {
                    Some(buffer.on_device(allocator)?)
                }
                // Nothing is recorded, and where it would be stays the same.
                (Some(_), None) => Some(buffer.like()?),
                _ => None,
            };
            Ok(Attached {
                name: (*name).to_owned(),
                buffer: (*buffer).clone(),
                twin,
                writes: None,
            })
        };
        let all = |buffers: &[(&str, &Buffer)]| {
            let all = buffers.iter().map(attached);
            all.collect::<Result<Vec<_>, RuntimeError>>()
        };
        let failed = |error: ort::Error| self.misfit("", error.to_string());
        let replay = self.replay.as_ref().map(|bindings| {
            let mut options = RunOptions::new()?;
            let number = bindings.fetch_add(1, Ordering::Relaxed) + 1;
            options.set(GRAPH_NUMBER, number.to_string())?;
            Ok(Replay {
                options,
                is_recorded: false,
            })
        });
        let mut binding = Binding {
            session: self.id,
            binding: self.session.create_binding().map_err(failed)?,
            inputs: all(inputs)?,
            outputs: all(outputs)?,
            replay: replay.transpose().map_err(failed)?,
            _externals: Arc::clone(&self.externals),
        };
        binding.attach(&self.label)?;
        Ok(binding)
    }

    /// Runs on the buffers of a binding, which it borrows until it returns.
    ///
    /// # Errors
    /// When the binding is of another session, a buffer is in use, or onnxruntime fails; output
    /// buffers then hold anything. Not a number among the results is no error.
    pub fn run_bound(&mut self, binding: &mut Binding) -> Result<(), RuntimeError> {
        if binding.session != self.id {
            return Err(RuntimeError::Session {
                label: self.label.clone(),
                action: "run".to_owned(),
                message: "the binding was made by another session".to_owned(),
                of_model: false,
            });
        }
        let is_first = binding.replay.as_ref().is_some_and(|r| !r.is_recorded);
        let is_elsewhere = self.device != Device::Cpu;
        let _recording = (is_elsewhere && is_first).then(capture::recording);
        let _running = (is_elsewhere && !is_first).then(capture::running);
        if is_elsewhere || binding.replay.is_some() {
            // Inputs were copied when they were bound.
            binding.refresh(&self.label)?;
        }
        let borrows = binding.borrow_all(&self.label)?;
        let _flush = FlushToZero::new();
        let (label, session) = (&self.label, &mut self.session);
        let ran = match &binding.replay {
            None => session.run_binding(&binding.binding).map(drop),
            Some(Replay { options, .. }) => {
                let ran = session.run_binding_with_options(&binding.binding, options);
                ran.map(drop)
            }
        };
        let action = match is_elsewhere && is_first {
            true => "record a run as a CUDA graph (FTSURGERY_CUDA_GRAPHS=off does without)",
            false => "run",
        };
        ran.map_err(|error| refused(label, action, &error))?;
        drop(borrows);
        if let Some(replay) = &mut binding.replay {
            replay.is_recorded = true;
            binding.fetch()?;
        }
        Ok(())
    }
}

fn in_use(label: &str, name: &str) -> RuntimeError {
    RuntimeError::BufferInUse(format!("{label}: the buffer of `{name}`"))
}
