//! Sessions with their buffers, sharing the weights that do not change.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::autodiff::Operators;
use crate::classifier::may_be_optimized;
use crate::graph::{Dim, Graph, Value};
use crate::onnx::{Tensor, encode};
use crate::runtime::{Binding, Buffer, Device, Runtime, Session, SessionOptions, SharedTensor};

use super::TrainingError;
use super::gradient::GradientBuffers;
use super::inputs::Inputs;
use super::prefix;
use super::program::Program;

/// Initializers of this size and more are shared by all sessions of a lab instead of copied.
const SHARED_FROM: usize = 1 << 12;
/// Environment variable with the prefix of onnxruntime's profile files.
const PROFILE: &str = "FTSURGERY_PROFILE";
/// Environment variable that is `off` where steps are not to be recorded as CUDA graphs.
const CUDA_GRAPHS: &str = "FTSURGERY_CUDA_GRAPHS";

/// Of `operators` those that `device` has: the kernels run on the processor alone.
pub(super) fn usable(operators: Operators, device: Device) -> Operators {
    match device {
        Device::Cpu => operators,
        Device::Cuda(_) => Operators::Standard,
    }
}

/// Makes sessions for one device. It may be shared between threads; a session it made stays with the
/// thread that runs it.
pub(super) struct SessionMaker<'a> {
    runtime: &'a Runtime,
    device: Device,
    operators: Operators,
    tf32: bool,
    shared: Mutex<HashMap<String, (Tensor, SharedTensor)>>,
}

/// A session with its buffers.
pub(super) struct Bound {
    pub session: Session,
    pub binding: Binding,
    pub inputs: Inputs,
    pub loss: Option<Buffer>,
    pub penalty: Option<Buffer>,
    pub gradients: Vec<GradientBuffers>,
    /// Of each BatchNormalization of a step, the batch's mean and variance.
    pub statistics: Vec<Buffer>,
    pub logits: Buffer,
    pub program: Program,
}

impl<'a> SessionMaker<'a> {
    /// A maker of sessions; frozen layers may be made of `operators`.
    pub fn new(runtime: &'a Runtime, device: Device, operators: Operators) -> Self {
        SessionMaker {
            runtime,
            device,
            operators: usable(operators, device),
            tf32: false,
            shared: Mutex::default(),
        }
    }

    /// This one, whose sessions may multiply in [TF32](SessionOptions::tf32).
    pub fn tf32(self, tf32: bool) -> Self {
        SessionMaker { tf32, ..self }
    }

    /// A session of `threads` threads (0 for all cores) for `program`, bound to as many of `parameters` as it has and to buffers of its own
    /// for the rest.
    ///
    /// # Errors
    /// When the runtime refuses the graph.
    pub fn bind(
        &self,
        program: Program,
        label: &str,
        parameters: &[Buffer],
        threads: usize,
    ) -> Result<Bound, TrainingError> {
        let session = self.session(&program.graph, label, threads)?;
        let zeros = |dims: &[usize]| Buffer::zeros_f32(dims);
        let own = Inputs::of(&program)?;
        let logits = zeros(&program.logits.dims)?;
        let mut inputs = own.bound(&program);
        let names = program.parameters.iter().map(|p| p.name.as_str());
        inputs.extend(names.zip(parameters));
        let mut outputs = vec![(program.logits.name.as_str(), &logits)];
        let mut loss = None;
        let mut gradients = Vec::new();
        if let Some((loss_name, given)) = &program.loss {
            outputs.push((loss_name, loss.insert(zeros(&[])?)));
            for output in given {
                gradients.push(output.buffers()?);
            }
            outputs.extend(given.iter().zip(&gradients).flat_map(|(g, b)| g.bound(b)));
        }
        let mut penalty = None;
        if let Some(name) = &program.penalty {
            outputs.push((name, penalty.insert(zeros(&[])?)));
        }
        let mut statistics = Vec::new();
        for norm in &program.norms {
            for _ in &norm.statistics {
                statistics.push(zeros(&[norm.channels])?);
            }
        }
        let names = program.norms.iter().flat_map(|n| &n.statistics);
        outputs.extend(names.map(String::as_str).zip(&statistics));
        let binding = session.bind(&inputs, &outputs)?;
        Ok(Bound {
            session,
            binding,
            inputs: own,
            loss,
            penalty,
            gradients,
            statistics,
            logits,
            program,
        })
    }

    /// A session of `threads` threads (0 for all cores) for the frozen prefix `graph`, which reads
    /// `input`.
    ///
    /// # Errors
    /// When the runtime refuses the graph.
    pub fn bind_prefix(
        &self,
        graph: &Graph,
        input: &str,
        threads: usize,
    ) -> Result<PrefixRun, TrainingError> {
        let session = self.frozen(graph, threads)?;
        let fixed = |value: &Value| -> Result<Buffer, TrainingError> {
            let dims = value.dims.iter().flatten().map(|d| match d {
                Dim::Known(d) => Some(*d),
                Dim::Symbolic(_) => None,
            });
            let dims: Option<Vec<usize>> = dims.collect();
            let dims = dims.filter(|_| value.dims.is_some()).ok_or_else(|| {
                TrainingError::Mismatch(format!("the size of `{}` is not known", value.name))
            })?;
            Ok(Buffer::zeros_f32(&dims)?)
        };
        let mut dims = vec![0; 0];
        if let Some(value) = graph.inputs.iter().find(|v| v.name == input) {
            dims = fixed(value)?.dims().to_vec();
        }
        let buffer = Buffer::zeros_f32(&dims)?;
        let outputs = graph
            .outputs
            .iter()
            .map(fixed)
            .collect::<Result<Vec<_>, _>>()?;
        let names = graph.outputs.iter().map(|v| v.name.as_str());
        let bound: Vec<(&str, &Buffer)> = names.zip(&outputs).collect();
        let binding = session.bind(&[(input, &buffer)], &bound)?;
        Ok(PrefixRun {
            session,
            binding,
            input: buffer,
            outputs,
        })
    }

    /// A session for the frozen layers `graph` with `threads` threads; 0 for all cores.
    ///
    /// # Errors
    /// When the runtime refuses the graph.
    pub fn frozen(&self, graph: &Graph, threads: usize) -> Result<Session, TrainingError> {
        let rewritten = match self.operators {
            Operators::Kernels => prefix::of_kernels(graph)?,
            Operators::Standard | Operators::AnyBatch => None,
        };
        self.session(
            rewritten.as_ref().unwrap_or(graph),
            "frozen prefix",
            threads,
        )
    }

    /// A session for a step whose update is in the `graph`.
    ///
    /// # Errors
    /// When the runtime refuses the graph.
    pub fn updated_step(&self, graph: &Graph, threads: usize) -> Result<Session, TrainingError> {
        let label = "training step";
        let is_off = std::env::var_os(CUDA_GRAPHS).is_some_and(|value| value == "off");
        if self.device != Device::Cpu && !is_off {
            match self.session_that(graph, (label, threads), true) {
                Ok(session) => return Ok(session),
                // Where a node runs on the processor, say.
                Err(error) => tracing::info!("without CUDA graphs: {error}"),
            }
        }
        self.session(graph, label, threads)
    }

    /// A session for `graph` with `threads` threads; 0 for all cores.
    ///
    /// # Errors
    /// When the runtime refuses the graph.
    pub fn session(
        &self,
        graph: &Graph,
        label: &str,
        threads: usize,
    ) -> Result<Session, TrainingError> {
        self.session_that(graph, (label, threads), false)
    }

    /// A session of this label and so many threads, whose runs are [replayed](SessionOptions::replay) or not.
    fn session_that(
        &self,
        graph: &Graph,
        (label, threads): (&str, usize),
        replay: bool,
    ) -> Result<Session, TrainingError> {
        let (model, external) = graph.to_model(SHARED_FROM);
        let externals = external
            .into_iter()
            .map(|(name, tensor)| Ok((name.clone(), self.share(&name, tensor)?)))
            .collect::<Result<Vec<_>, TrainingError>>()?;
        let options = SessionOptions {
            label: label.to_owned(),
            device: self.device,
            threads,
            optimize: may_be_optimized(graph),
            kernels: graph.has_kernels(),
            tf32: self.tf32,
            replay,
            // For whoever looks for lost time: onnxruntime's profile of every operator.
            profile: std::env::var_os(PROFILE).map(|prefix| {
                let mut path = prefix;
                path.push(format!("-{}", label.replace(' ', "-")));
                path.into()
            }),
            ..SessionOptions::default()
        };
        Ok(Session::new(
            self.runtime,
            &encode(&model)?,
            &externals,
            &options,
        )?)
    }

    /// The tensor in the memory that all sessions share.
    fn share(&self, name: &str, tensor: Tensor) -> Result<SharedTensor, TrainingError> {
        let mut shared = self.shared.lock().unwrap_or_else(|e| e.into_inner());
        // Constants made for one batch size may have the name of another's.
        if let Some((known, entry)) = shared.get(name)
            && *known == tensor
        {
            return Ok(entry.clone());
        }
        let data = tensor.data.clone();
        let entry = SharedTensor::new(name, tensor.dtype as i32, &tensor.dims, data)?;
        shared.insert(name.to_owned(), (tensor, entry.clone()));
        Ok(entry)
    }
}

/// A session of the frozen prefix with its buffers.
pub(super) struct PrefixRun {
    pub session: Session,
    pub binding: Binding,
    pub input: Buffer,
    pub outputs: Vec<Buffer>,
}

/// Sessions by batch size, made when first needed.
pub(super) struct Sessions<T>(HashMap<usize, T>);

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Sessions(HashMap::new())
    }
}

impl<T> Sessions<T> {
    /// Whether that for so many samples is made.
    pub fn has(&self, batch: usize) -> bool {
        self.0.contains_key(&batch)
    }

    pub fn get(
        &mut self,
        batch: usize,
        make: impl FnOnce() -> Result<T, TrainingError>,
    ) -> Result<&mut T, TrainingError> {
        use std::collections::hash_map::Entry;
        match self.0.entry(batch) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(make()?)),
        }
    }
}

impl Bound {
    /// The loss of the last run, without penalties.
    pub fn loss(&self) -> Result<f32, TrainingError> {
        let Some(buffer) = &self.loss else {
            return Ok(f32::NAN);
        };
        Ok(buffer.as_f32()?.first().copied().unwrap_or(f32::NAN))
    }

    /// What the last run adds to the loss; `None` where the network has no penalty.
    pub fn penalty(&self) -> Result<Option<f32>, TrainingError> {
        let Some(buffer) = &self.penalty else {
            return Ok(None);
        };
        Ok(buffer.as_f32()?.first().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Node;
    use crate::onnx::DataType;
    use crate::runtime::testing::runtime;

    #[test]
    fn a_prefix_whose_sizes_are_not_known_gets_no_buffer_of_another_size() {
        let Some(runtime) = runtime() else { return };
        let maker = SessionMaker::new(&runtime, Device::Cpu, Operators::Standard);
        let graph = |rows: Option<Dim>| {
            let value = |name: &str, dims: Option<Vec<Dim>>| Value {
                name: name.to_owned(),
                dtype: DataType::Float,
                dims,
            };
            Graph {
                nodes: vec![Node::new("relu", "Relu", &["x"], &["y"])],
                inputs: vec![value("x", Some(vec![Dim::Known(2), Dim::Known(3)]))],
                outputs: vec![value("y", rows.map(|d| vec![d, Dim::Known(3)]))],
                ..Graph::new(21)
            }
        };
        assert!(
            maker
                .bind_prefix(&graph(Some(Dim::Known(2))), "x", 1)
                .is_ok()
        );
        for rows in [None, Some(Dim::Symbolic("N".to_owned()))] {
            let refused = maker.bind_prefix(&graph(rows), "x", 1).err();
            let text = refused.map(|e| e.to_string()).unwrap_or_default();
            assert!(text.contains("the size of `y` is not known"), "{text}");
        }
    }
}
