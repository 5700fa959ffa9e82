//! Where trials run: a network, data, a device.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use crate::data::{Dataset, Layout, Preprocess, epoch_order};
use crate::graph::Graph;
use crate::onnx::{Tensor, encode};
use crate::runtime::denormals::FlushToZero;
use crate::runtime::{Buffer, Device, Runtime, Session, SessionOptions, SharedTensor};
use crate::surgery::Grafted;

use super::dropout::fill_mask;
use super::features::Features;
use super::program::{
    LABELS, Prepared, Program, boundary, evaluation_program, prefix_graph, step_program,
};
use super::{
    EpochMetrics, Moments, Observer, PlateauState, Predictions, Score, TrainingError, TrialOutcome,
    TrialSpec,
};

/// Initializers of this size and more are shared by all sessions of a lab instead of copied.
const SHARED_FROM: usize = 1 << 12;
/// Samples per run of the frozen prefix and of evaluation.
const EVALUATION_BATCH: usize = 16;

/// How samples become the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Pixel scaling; unused for arrays.
    pub preprocess: Preprocess,
    /// Axis order of the model's input.
    pub layout: Layout,
}

impl InputSpec {
    /// Dimensions of one sample of shape [channels, height, width] at the model's input.
    pub fn sample_dims(&self, [c, h, w]: [usize; 3]) -> Vec<usize> {
        match self.layout {
            Layout::Nchw => vec![c, h, w],
            Layout::Nhwc => vec![h, w, c],
        }
    }
}

/// Where and within which limits trials run.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The device.
    pub device: Device,
    /// Threads per session; 0 for all cores.
    pub threads: usize,
    /// Bytes of frozen features that may be held in memory; beyond it they are held in a file.
    pub memory_budget: u64,
    /// Folder for that file.
    pub spill_dir: PathBuf,
}

/// A grafted network with its data, on which trials are run.
pub struct Lab<'a> {
    runtime: &'a Runtime,
    network: &'a Grafted,
    dataset: &'a Dataset,
    input: InputSpec,
    options: LabOptions,
    sample_dims: Vec<usize>,
    shared: Mutex<HashMap<String, SharedTensor>>,
}

/// A session with its buffers.
struct Bound {
    session: Session,
    binding: crate::runtime::Binding,
    features: Vec<Buffer>,
    masks: Vec<Buffer>,
    labels: Option<Buffer>,
    loss: Option<Buffer>,
    gradients: Vec<Buffer>,
    logits: Buffer,
    program: Program,
}

impl<'a> Lab<'a> {
    /// A lab for `network` and `dataset`, whose samples must fit the network's input.
    ///
    /// # Errors
    /// When labels do not fit the model's classes, or the model cannot be brought to normal form.
    pub fn new(
        runtime: &'a Runtime,
        network: &'a Grafted,
        dataset: &'a Dataset,
        input: InputSpec,
        options: LabOptions,
    ) -> Result<Self, TrainingError> {
        let sample_dims = input.sample_dims(dataset.sample_shape());
        let lab = Lab {
            runtime,
            network,
            dataset,
            input,
            options,
            sample_dims,
            shared: Mutex::default(),
        };
        let classes = lab.prepare(1)?.classes;
        let wrong =
            |&(_, &label): &(usize, &i64)| usize::try_from(label).is_ok_and(|l| l >= classes);
        if let Some((i, &label)) = dataset.labels().iter().enumerate().find(wrong) {
            let name = dataset.name(i);
            return Err(TrainingError::Label {
                name,
                label,
                classes,
            });
        }
        Ok(lab)
    }

    fn prepare(&self, batch: usize) -> Result<Prepared, TrainingError> {
        Prepared::new(&self.network.model, batch, &self.sample_dims)
    }

    /// Runs a trial on the samples `train`, watched on the samples `validation`.
    ///
    /// # Errors
    /// When there is nothing to train on, a gradient is missing, the loss diverges, the observer
    /// asks to stop, or the runtime fails.
    pub fn run(
        &self,
        spec: &TrialSpec,
        train: &[usize],
        validation: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<TrialOutcome, TrainingError> {
        if train.is_empty() || spec.batch_size == 0 {
            return Err(TrainingError::NoSamples);
        }
        let start = Instant::now();
        let used: Vec<usize> = train.iter().chain(validation).copied().collect();
        let features = self.features(&spec.trainable, &used, observer)?;
        let parameters = self.initial_parameters(&spec.trainable)?;
        let mut moments = vec![Moments::default(); parameters.len()];
        let batch = spec.batch_size.min(train.len());
        let mut steps = Sessions::default();
        let mut evaluations = Sessions::default();
        let per_epoch = train.len().div_ceil(batch);
        let total = per_epoch * spec.epochs;
        let mut rate = spec.optimizer.learning_rate;
        let mut plateau = PlateauState::default();
        let mut outcome = TrialOutcome {
            parameters: Vec::new(),
            best_epoch: 0,
            epochs: Vec::new(),
            trained_parameters: parameters
                .iter()
                .map(|p| p.dims().iter().product::<usize>())
                .sum(),
            seconds: 0.0,
        };
        let mut best: Option<Score> = None;
        let mut step = 0usize;
        for epoch in 1..=spec.epochs {
            let order = epoch_order(train, spec.seed, epoch as u64, spec.shuffle);
            let mut loss_sum = 0f64;
            for rows in order.chunks(batch) {
                step += 1;
                let bound =
                    steps.get(rows.len(), || self.bind_step(spec, rows.len(), &parameters))?;
                features.gather(self, rows, &bound.features)?;
                bound.set_labels(self.dataset, rows)?;
                for (mask, buffer) in bound.program.masks.iter().zip(&bound.masks) {
                    fill_mask(
                        &mut buffer.as_f32_mut()?,
                        mask.ratio,
                        spec.seed,
                        step as u64,
                        &mask.name,
                    );
                }
                bound.session.run_bound(&mut bound.binding)?;
                let loss = bound.loss()?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged { step, epoch, loss });
                }
                loss_sum += f64::from(loss) * rows.len() as f64;
                observer.step(step, total, loss)?;
                let _flush = FlushToZero::new();
                for ((parameter, gradient), state) in
                    parameters.iter().zip(&bound.gradients).zip(&mut moments)
                {
                    let mut values = parameter.as_f32_mut()?;
                    let gradient = gradient.as_f32()?;
                    spec.optimizer
                        .update(step as u64, rate, &mut values, &gradient, state);
                }
            }
            let score = match validation.is_empty() {
                true => None,
                false => {
                    let bind = |n| self.bind_evaluation(&spec.trainable, n, &parameters);
                    Some(
                        self.evaluate(&features, validation, &mut evaluations, bind)?
                            .score(),
                    )
                }
            };
            let metrics = EpochMetrics {
                epoch,
                loss: loss_sum / train.len() as f64,
                validation: score,
                learning_rate: rate,
                seconds: start.elapsed().as_secs_f64(),
            };
            outcome.epochs.push(metrics);
            let better = match (best, score) {
                (Some(old), Some(new)) => {
                    new.accuracy > old.accuracy
                        || (new.accuracy == old.accuracy && new.loss < old.loss)
                }
                _ => true,
            };
            if better {
                best = score;
                outcome.best_epoch = epoch;
                outcome.parameters = snapshot(&spec.trainable, &parameters)?;
            }
            if let (Some(schedule), Some(score)) = (&spec.plateau, score) {
                rate = plateau.next(schedule, score.accuracy, rate);
            }
            observer.epoch(&metrics)?;
        }
        if spec.epochs == 0 {
            outcome.parameters = snapshot(&spec.trainable, &parameters)?;
        }
        outcome.seconds = start.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// The logits of `samples` with the given values of some parameters, the network's own for
    /// the others.
    ///
    /// # Errors
    /// When a parameter is unknown or the runtime fails.
    pub fn predict(
        &self,
        parameters: &[(String, Vec<f32>)],
        samples: &[usize],
    ) -> Result<Predictions, TrainingError> {
        let names: Vec<String> = parameters.iter().map(|(n, _)| n.clone()).collect();
        let buffers = self.initial_parameters(&names)?;
        for ((name, values), buffer) in parameters.iter().zip(&buffers) {
            let mut target = buffer.as_f32_mut()?;
            if target.len() != values.len() {
                return Err(TrainingError::Mismatch(format!(
                    "`{name}` has {} values, not {}",
                    target.len(),
                    values.len()
                )));
            }
            target.copy_from_slice(values);
        }
        let features = self.features(&names, samples, &mut ())?;
        let bind = |n| self.bind_evaluation(&names, n, &buffers);
        self.evaluate(&features, samples, &mut Sessions::default(), bind)
    }

    /// Loss (mean cross-entropy) and gradients of one batch, as parameters stand in the model.
    ///
    /// # Errors
    /// When there is no gradient for a parameter or the runtime fails.
    pub fn gradients(
        &self,
        trainable: &[String],
        samples: &[usize],
    ) -> Result<(f32, Vec<Gradient>), TrainingError> {
        if samples.is_empty() {
            return Err(TrainingError::NoSamples);
        }
        let features = self.features(trainable, samples, &mut ())?;
        let parameters = self.initial_parameters(trainable)?;
        let prepared = self.prepare(samples.len())?;
        let program = step_program(&prepared, trainable, &[])?;
        let mut bound = self.bind(program, "gradients", &parameters)?;
        features.gather(self, samples, &bound.features)?;
        bound.set_labels(self.dataset, samples)?;
        bound.session.run_bound(&mut bound.binding)?;
        let gradients = trainable
            .iter()
            .zip(&bound.gradients)
            .map(|(name, buffer)| {
                Ok(Gradient {
                    name: name.clone(),
                    dims: buffer.dims().to_vec(),
                    values: buffer.as_f32()?.to_vec(),
                })
            })
            .collect::<Result<_, TrainingError>>()?;
        Ok((bound.loss()?, gradients))
    }

    /// The frozen features of `samples` (not yet computed where they are the input itself).
    fn features(
        &self,
        trainable: &[String],
        samples: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Features, TrainingError> {
        let batch = EVALUATION_BATCH.min(samples.len().max(1));
        let mut folded = self.prepare(batch)?;
        folded.fold()?;
        let ports = boundary(&folded, trainable)?;
        let Some(graph) = prefix_graph(&folded, &ports)? else {
            return Ok(Features::Input);
        };
        let mut store = Features::store(&ports, samples, &self.options)?;
        let mut sessions = Sessions::default();
        for (done, rows) in samples.chunks(batch).enumerate() {
            observer.features(done * batch, samples.len())?;
            let run = sessions.get(rows.len(), || {
                if rows.len() == batch {
                    return self.bind_prefix(&graph, &folded.input);
                }
                let mut rest = self.prepare(rows.len())?;
                rest.fold()?;
                let ports = boundary(&rest, trainable)?;
                match prefix_graph(&rest, &ports)? {
                    Some(graph) => self.bind_prefix(&graph, &rest.input),
                    None => Err(TrainingError::Mismatch(
                        "the prefix depends on the batch size".into(),
                    )),
                }
            })?;
            self.write_input(rows, &run.input)?;
            run.session.run_bound(&mut run.binding)?;
            store.write(rows, &run.outputs)?;
        }
        observer.features(samples.len(), samples.len())?;
        Ok(store)
    }

    fn evaluate(
        &self,
        features: &Features,
        samples: &[usize],
        sessions: &mut Sessions<Bound>,
        bind: impl Fn(usize) -> Result<Bound, TrainingError>,
    ) -> Result<Predictions, TrainingError> {
        let mut logits = Vec::new();
        let mut classes = 0;
        for rows in samples.chunks(EVALUATION_BATCH) {
            let bound = sessions.get(rows.len(), || bind(rows.len()))?;
            features.gather(self, rows, &bound.features)?;
            bound.session.run_bound(&mut bound.binding)?;
            logits.extend_from_slice(&bound.logits.as_f32()?);
            classes = bound.program.logits.dims[1];
        }
        Ok(Predictions {
            logits,
            labels: samples.iter().map(|&i| self.dataset.labels()[i]).collect(),
            classes,
        })
    }

    /// Writes the model's input for `rows` into a buffer of that many samples.
    pub(super) fn write_input(&self, rows: &[usize], buffer: &Buffer) -> Result<(), TrainingError> {
        let mut values = buffer.as_f32_mut()?;
        let InputSpec { preprocess, layout } = &self.input;
        self.dataset
            .write_batch(rows, preprocess, *layout, &mut values)?;
        Ok(())
    }

    fn bind_step(
        &self,
        spec: &TrialSpec,
        batch: usize,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        let prepared = self.prepare(batch)?;
        let program = step_program(&prepared, &spec.trainable, &self.network.dropout)?;
        self.bind(program, "training step", parameters)
    }

    fn bind_evaluation(
        &self,
        trainable: &[String],
        batch: usize,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        let program = evaluation_program(&self.prepare(batch)?, trainable)?;
        self.bind(program, "evaluation", parameters)
    }

    fn bind(
        &self,
        program: Program,
        label: &str,
        parameters: &[Buffer],
    ) -> Result<Bound, TrainingError> {
        let session = self.session(&program.graph, label)?;
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
        let mut outputs = vec![(program.logits.name.as_str(), &logits)];
        let mut labels = None;
        let mut loss = None;
        let mut gradients = Vec::new();
        if let Some((loss_name, gradient_names)) = &program.loss {
            let label_buffer = labels.insert(Buffer::zeros_i64(&[batch])?);
            inputs.push((LABELS, label_buffer));
            outputs.push((loss_name, loss.insert(zeros(&[])?)));
            gradients = program
                .parameters
                .iter()
                .map(|p| zeros(&p.dims))
                .collect::<Result<Vec<_>, _>>()?;
            outputs.extend(gradient_names.iter().map(String::as_str).zip(&gradients));
        }
        let binding = session.bind(&inputs, &outputs)?;
        Ok(Bound {
            session,
            binding,
            features,
            masks,
            labels,
            loss,
            gradients,
            logits,
            program,
        })
    }

    fn bind_prefix(&self, graph: &Graph, input: &str) -> Result<PrefixRun, TrainingError> {
        let session = self.session(graph, "frozen prefix")?;
        let fixed = |value: &crate::graph::Value| {
            let dims: Vec<usize> = value
                .dims
                .iter()
                .flatten()
                .map(|d| match d {
                    crate::graph::Dim::Known(d) => *d,
                    crate::graph::Dim::Symbolic(_) => 0,
                })
                .collect();
            Buffer::zeros_f32(&dims)
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

    fn session(&self, graph: &Graph, label: &str) -> Result<Session, TrainingError> {
        let (model, external) = graph.to_model(SHARED_FROM);
        let mut shared = self.shared.lock().unwrap_or_else(|e| e.into_inner());
        let mut externals = Vec::with_capacity(external.len());
        for (name, tensor) in external {
            let entry = match shared.get(&name) {
                Some(entry) => entry.clone(),
                None => {
                    let entry =
                        SharedTensor::new(&name, tensor.dtype as i32, &tensor.dims, tensor.data)?;
                    shared.insert(name.clone(), entry.clone());
                    entry
                }
            };
            externals.push((name, entry));
        }
        let options = SessionOptions {
            label: label.to_owned(),
            device: self.options.device,
            threads: self.options.threads,
            ..SessionOptions::default()
        };
        Ok(Session::new(
            self.runtime,
            &encode(&model)?,
            &externals,
            &options,
        )?)
    }

    fn initial_parameters(&self, names: &[String]) -> Result<Vec<Buffer>, TrainingError> {
        let prepared = self.prepare(1)?;
        names
            .iter()
            .map(|name| {
                let tensor = prepared.graph.initializers.get(name);
                let (dims, values) = tensor
                    .and_then(|t: &Tensor| Some((t.dims.clone(), t.to_f32()?)))
                    .ok_or_else(|| crate::autodiff::AutodiffError::NotAParameter(name.clone()))?;
                Ok(Buffer::from_f32(&dims, &values)?)
            })
            .collect()
    }
}

/// The gradient of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// Name of the parameter's initializer.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

struct PrefixRun {
    session: Session,
    binding: crate::runtime::Binding,
    input: Buffer,
    outputs: Vec<Buffer>,
}

/// Sessions by batch size, made when first needed.
struct Sessions<T>(HashMap<usize, T>);

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Sessions(HashMap::new())
    }
}

impl<T> Sessions<T> {
    fn get(
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
    fn set_labels(&self, dataset: &Dataset, rows: &[usize]) -> Result<(), TrainingError> {
        if let Some(buffer) = &self.labels {
            let mut labels = buffer.as_i64_mut()?;
            for (label, &row) in labels.iter_mut().zip(rows) {
                *label = dataset.labels()[row];
            }
        }
        Ok(())
    }

    fn loss(&self) -> Result<f32, TrainingError> {
        let Some(buffer) = &self.loss else {
            return Ok(f32::NAN);
        };
        Ok(buffer.as_f32()?.first().copied().unwrap_or(f32::NAN))
    }
}

fn snapshot(
    names: &[String],
    buffers: &[Buffer],
) -> Result<Vec<(String, Vec<f32>)>, TrainingError> {
    names
        .iter()
        .zip(buffers)
        .map(|(name, buffer)| Ok((name.clone(), buffer.as_f32()?.to_vec())))
        .collect()
}
