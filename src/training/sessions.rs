//! Sessions with their buffers, sharing the weights that do not change.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::autodiff::Operators;
use crate::classifier::may_be_optimized;
use crate::data::Dataset;
use crate::graph::{Dim, Graph, Value};
use crate::onnx::{Tensor, encode};
use crate::runtime::{Binding, Buffer, Device, Runtime, Session, SessionOptions, SharedTensor};
use crate::surgery::rewrite::Noise;

use super::TrainingError;
use super::gradient::GradientBuffers;
use super::mixing::Mixing;
use super::prefix;
use super::program::{LABELS, OTHER_LABELS, Program, SHARE};

/// Initializers of this size and more are shared by all sessions of a lab instead of copied.
const SHARED_FROM: usize = 1 << 12;
/// Environment variable with the prefix of onnxruntime's profile files.
const PROFILE: &str = "FTSURGERY_PROFILE";

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
    shared: Mutex<HashMap<String, (Tensor, SharedTensor)>>,
}

/// A session with its buffers.
pub(super) struct Bound {
    pub session: Session,
    pub binding: Binding,
    pub features: Vec<Buffer>,
    pub masks: Vec<Buffer>,
    /// Noise, at rest until it is filled.
    pub noise: Vec<Buffer>,
    pub labels: Option<Buffer>,
    /// In their place, where samples may have several, or what the output is held against.
    pub targets: Option<Buffer>,
    /// Second labels of mixed samples, and the share of the first.
    pub mixed: Option<[Buffer; 2]>,
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
            shared: Mutex::default(),
        }
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
        let features = program
            .features
            .iter()
            .map(|p| zeros(&p.dims))
            .collect::<Result<Vec<_>, _>>()?;
        let batch = program.logits.dims[0];
        let masks = program
            .masks
            .iter()
            .map(|m| zeros(&[batch, m.width]))
            .collect::<Result<Vec<_>, _>>()?;
        let rest = |noise: &Noise| {
            let dims: Vec<usize> = std::iter::once(batch).chain(noise.dims.clone()).collect();
            Buffer::from_f32(&dims, &vec![noise.rest; dims.iter().product()])
        };
        let noise = program
            .noise
            .iter()
            .map(rest)
            .collect::<Result<Vec<_>, _>>()?;
        let logits = zeros(&program.logits.dims)?;
        let mut inputs: Vec<(&str, &Buffer)> = Vec::new();
        let feature_names = program.features.iter().map(|p| p.name.as_str());
        inputs.extend(feature_names.zip(&features));
        inputs.extend(
            program
                .parameters
                .iter()
                .map(|p| p.name.as_str())
                .zip(parameters),
        );
        inputs.extend(program.masks.iter().map(|m| m.name.as_str()).zip(&masks));
        inputs.extend(program.noise.iter().map(|n| n.name.as_str()).zip(&noise));
        let mut outputs = vec![(program.logits.name.as_str(), &logits)];
        let mut labels = None;
        let mut targets = None;
        let mut mixed = None;
        let mut loss = None;
        let mut gradients = Vec::new();
        if let Some((loss_name, given)) = &program.loss {
            match &program.targets {
                Some(port) => inputs.push((&port.name, targets.insert(zeros(&port.dims)?))),
                None => inputs.push((LABELS, labels.insert(Buffer::zeros_i64(&[batch])?))),
            }
            if program.is_mixed {
                let buffers = [Buffer::zeros_i64(&[batch])?, zeros(&[batch, 1])?];
                let names = [OTHER_LABELS, SHARE];
                inputs.extend(names.into_iter().zip(mixed.insert(buffers).iter()));
            }
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
            features,
            masks,
            noise,
            labels,
            targets,
            mixed,
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
    /// Writes the labels of `rows`.
    pub fn set_labels(&self, dataset: &Dataset, rows: &[usize]) -> Result<(), TrainingError> {
        if let Some(buffer) = &self.labels {
            let mut labels = buffer.as_i64_mut()?;
            for (label, &row) in labels.iter_mut().zip(rows) {
                *label = dataset.labels()[row];
            }
        }
        if let (Some(buffer), Some(sets)) = (&self.targets, dataset.sets()) {
            let mut targets = buffer.as_f32_mut()?;
            let width = self.program.logits.dims[1];
            for (target, &row) in targets.chunks_mut(width.max(1)).zip(rows) {
                sets.write(row, target);
            }
        }
        Ok(())
    }

    /// Writes the second labels of `rows` and what the first ones' share is; of samples that may have several, what
    /// both come to.
    pub fn set_mixed(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        mixing: &Mixing,
    ) -> Result<(), TrainingError> {
        if let Some([labels, shares]) = &self.mixed {
            let mut labels = labels.as_i64_mut()?;
            for (label, &partner) in labels.iter_mut().zip(&mixing.partners) {
                *label = rows.get(partner).map_or(0, |&row| dataset.labels()[row]);
            }
            shares.as_f32_mut()?.fill(mixing.share);
        }
        if let (Some(buffer), Some(sets)) = (&self.targets, dataset.sets()) {
            let mut targets = buffer.as_f32_mut()?;
            let width = self.program.logits.dims[1].max(1);
            let mut other = vec![0.0; width];
            let both = rows.iter().zip(&mixing.partners);
            for (target, (&row, &partner)) in targets.chunks_mut(width).zip(both) {
                sets.write(row, target);
                sets.write(rows.get(partner).map_or(row, |&row| row), &mut other);
                for (value, other) in target.iter_mut().zip(&other) {
                    *value = mixing.share * *value + (1.0 - mixing.share) * other;
                }
            }
        }
        Ok(())
    }

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
