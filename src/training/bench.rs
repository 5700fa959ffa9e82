//! Training steps on made-up data, timed.
//!
//! Unlike a trial, a [`Bench`] keeps no outputs of the frozen layers: every step computes them
//! anew, as it must where no sample is seen twice.

use std::time::Instant;

use crate::autodiff::{Operators, dependents};
use crate::graph::{Graph, macs};
use crate::onnx::Model;
use crate::runtime::{Buffer, Device, Runtime};
use crate::surgery::{Scores, ending};
use crate::task::Task;

use super::apart;
use super::in_graph::{GraphStep, UpdatedProgram, Updating};
use super::inputs::Inputs;
use super::lab::refuse_probabilities;
use super::parameters::parameter_buffers;
use super::program::{Prepared, prefix_graph, step_program};
use super::sessions::{Bound, PrefixRun, SessionMaker, usable};
use super::trial::update;
use super::{Divergence, Moments, Optimizer, TrainingError, Update};

/// What is timed.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// What the model tells of a sample, and so which loss is taken.
    pub task: Task,
    /// Names of the initializers that are trained.
    pub trainable: Vec<String>,
    /// Samples per step.
    pub batch_size: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// What the step's graph may be made of.
    pub operators: Operators,
    /// The device.
    pub device: Device,
    /// Threads per session; 0 for all cores.
    pub threads: usize,
    /// Whether the optimizer is in the step's graph.
    pub optimizer_in_graph: bool,
    /// Whether a GPU may multiply in [TF32](crate::runtime::SessionOptions::tf32).
    pub tf32: bool,
}

/// Floating-point operations of one step: two per multiply-accumulate of its convolutions and
/// dense products, all else not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Flops {
    /// Of the forward pass, frozen layers included.
    pub forward: u64,
    /// Of the gradients: as many again for each weight that is trained, and for each layer input
    /// on the way to one.
    pub backward: u64,
}

impl Flops {
    /// Both passes.
    pub fn total(&self) -> u64 {
        self.forward.saturating_add(self.backward)
    }
}

/// Wall-clock seconds of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSeconds {
    /// The frozen layers before the first trained one.
    pub prefix: f64,
    /// The rest of the forward pass, the loss and the gradients.
    pub gradients: f64,
    /// The optimizer.
    pub update: f64,
}

impl StepSeconds {
    /// The whole step.
    pub fn total(&self) -> f64 {
        self.prefix + self.gradients + self.update
    }
}

/// A network with one batch of made-up samples, ready to train on it again and again.
///
/// Inputs are spread evenly with mean 0 and variance 1; sample `i` has label `i` modulo the number
/// of classes, also where it may have several.
pub struct Bench {
    step: Step,
    prefix: Option<PrefixRun>,
    trained_values: usize,
    optimizer: Optimizer,
    flops: Option<Flops>,
    steps: u64,
}

/// How it steps.
enum Step {
    /// By a loop on the host.
    Host {
        bound: Bound,
        parameters: Vec<Buffer>,
        moments: Vec<Moments>,
        threads: usize,
        /// The output, where no softmax was found in it.
        logits: Option<String>,
    },
    /// With the optimizer in the graph.
    Graph(GraphStep),
}

impl Step {
    /// What the next of its steps reads, behind so many others.
    fn inputs(&self, done: u64) -> &Inputs {
        match self {
            Step::Host { bound, .. } => &bound.inputs,
            Step::Graph(step) => step.inputs(way(done)),
        }
    }
}

/// Whether a step behind so many others goes from the first set of the state to the second, or back.
fn way(done: u64) -> usize {
    usize::from(done % 2 == 1)
}

impl Bench {
    /// Builds the sessions for `model`, whose samples have the dimensions `sample`.
    ///
    /// # Errors
    /// When there is nothing to train, a parameter has no gradient, the output does not tell what the task says, or is
    /// probabilities that no logits are found of, or the runtime fails.
    pub fn new(
        runtime: &Runtime,
        model: &Model,
        sample: &[usize],
        options: &BenchOptions,
    ) -> Result<Self, TrainingError> {
        if options.trainable.is_empty() || options.batch_size == 0 {
            return Err(TrainingError::NoSamples);
        }
        let prepared = Prepared::of(model, options.batch_size, sample, options.task)?;
        let operators = usable(options.operators, options.device);
        let flops = flops(&prepared, &options.trainable)?;
        let parameters = parameter_buffers(&prepared, &options.trainable)?;
        let sessions = SessionMaker::new(runtime, options.device, operators).tf32(options.tf32);
        if apart::is_in_doubt(&prepared) {
            apart::compare(&sessions, model, sample, options.task, options.threads)?;
        }
        let count = |b: &Buffer| b.dims().iter().product::<usize>();
        let trained_values = parameters.iter().map(count).sum();
        let threads = options.threads;
        let (step, prefix) = match options.optimizer_in_graph {
            false => {
                let program = step_program(&prepared, &options.trainable, &[], operators)?;
                let prefix = prefix_graph(&prepared, &program.features)?;
                let is_logits = options.task == Task::SingleLabel
                    && ending(&Graph::from_model(model)?)?.scores == Scores::Logits;
                let step = Step::Host {
                    bound: sessions.bind(program, "training step", &parameters, threads)?,
                    moments: vec![Moments::default(); parameters.len()],
                    parameters,
                    threads,
                    logits: is_logits.then(|| prepared.logits.clone()),
                };
                (step, prefix)
            }
            true => {
                let by = Updating {
                    optimizer: options.optimizer,
                    clip_norm: None,
                    ema: None,
                    rates: &[],
                    decays: &[],
                };
                let trained = (options.trainable.as_slice(), &[][..]);
                let made = UpdatedProgram::new(&prepared, trained, operators, by)?;
                let prefix = prefix_graph(&prepared, &made.program.features)?;
                let session = sessions.updated_step(&made.program.graph, threads)?;
                let sets = GraphStep::sets(&session, &made.state)?;
                // The parameters stand first.
                for (buffer, values) in sets[0].iter().zip(&parameters) {
                    buffer.copy_from(values)?;
                }
                let step = GraphStep::new(session, made, &sets)?;
                (Step::Graph(step), prefix)
            }
        };
        let prefix = match prefix {
            Some(graph) => Some(sessions.bind_prefix(&graph, &prepared.input, threads)?),
            None => None,
        };
        for done in [0, 1] {
            let inputs = step.inputs(done);
            match (&prefix, inputs.features.as_slice()) {
                (Some(run), _) => fill(&run.input)?,
                (None, [input]) => fill(input)?,
                (None, _) => {}
            }
            let classes = prepared.classes.max(1);
            if let Some(labels) = &inputs.labels {
                for (i, label) in labels.as_i64_mut()?.iter_mut().enumerate() {
                    *label = (i % classes) as i64;
                }
            }
            if let Some(targets) = &inputs.targets {
                for (i, row) in targets.as_f32_mut()?.chunks_mut(classes).enumerate() {
                    row[i % classes] = 1.0;
                }
            }
        }
        model.release();
        Ok(Bench {
            step,
            prefix,
            trained_values,
            optimizer: options.optimizer,
            flops,
            steps: 0,
        })
    }

    /// Runs one step and gives its times and the loss before its update. With the optimizer in the graph the time of the
    /// update is that of the gradients, and the output is not looked at.
    ///
    /// # Errors
    /// When the loss diverges, the output is probabilities by the look of them though nothing tells of
    /// what, or the runtime fails.
    pub fn step(&mut self) -> Result<(StepSeconds, f32), TrainingError> {
        let done = self.steps;
        self.steps += 1;
        let start = Instant::now();
        if let Some(run) = &mut self.prefix {
            run.session.run_bound(&mut run.binding)?;
            let inputs = self.step.inputs(done);
            for (output, feature) in run.outputs.iter().zip(&inputs.features) {
                feature.as_f32_mut()?.copy_from_slice(&output.as_f32()?);
            }
        }
        let after_prefix = start.elapsed().as_secs_f64();
        let learning_rate = self.optimizer.first_rate();
        let diverged = |loss: f32| TrainingError::Diverged {
            step: usize::try_from(done + 1).unwrap_or(usize::MAX),
            epoch: 1,
            what: Divergence::Loss(loss),
        };
        let (loss, after_gradients) = match &mut self.step {
            Step::Graph(step) => {
                let before = usize::try_from(done).unwrap_or(usize::MAX);
                let [loss, _] = step.run(way(done), learning_rate, before)?;
                if !loss.is_finite() {
                    return Err(diverged(loss));
                }
                (loss, start.elapsed().as_secs_f64())
            }
            Step::Host {
                bound,
                parameters,
                moments,
                threads,
                logits,
            } => {
                bound.session.run_bound(&mut bound.binding)?;
                // What its values are is seen once.
                if let Some(output) = logits.take() {
                    let logits = &bound.logits;
                    refuse_probabilities(&output, &logits.as_f32()?, logits.dims()[1])?;
                }
                let loss = bound.loss()?;
                let after_gradients = start.elapsed().as_secs_f64();
                if !loss.is_finite() {
                    return Err(diverged(loss));
                }
                let at = Update {
                    step: done + 1,
                    learning_rate,
                    scale: 1.0,
                    towards: None,
                };
                let gradients = &bound.gradients;
                let of = (&[][..], &[][..]);
                update(
                    &self.optimizer,
                    at,
                    of,
                    parameters,
                    gradients,
                    moments,
                    *threads,
                )?;
                (loss, after_gradients)
            }
        };
        let end = start.elapsed().as_secs_f64();
        let seconds = StepSeconds {
            prefix: after_prefix,
            gradients: after_gradients - after_prefix,
            update: match &self.step {
                Step::Graph(_) => 0.0,
                Step::Host { .. } => end - after_gradients,
            },
        };
        Ok((seconds, loss))
    }

    /// The operations of one step; `None` where a shape is not known.
    pub fn flops(&self) -> Option<Flops> {
        self.flops
    }

    /// Number of trained values.
    pub fn trained_values(&self) -> usize {
        self.trained_values
    }
}

/// Counts a step's operations on the network with batch normalisation folded.
fn flops(prepared: &Prepared, trainable: &[String]) -> Result<Option<Flops>, TrainingError> {
    let mut prepared = prepared.clone();
    prepared.fold()?;
    let Prepared { graph, shapes, .. } = &prepared;
    let trained = dependents(graph, shapes, trainable, &prepared.constants);
    let mut flops = Flops {
        forward: 0,
        backward: 0,
    };
    for node in &graph.nodes {
        let Some(macs) = macs(node, |name| shapes.dims(name).ok()) else {
            return Ok(None);
        };
        let operands = node.inputs.iter().take(2);
        let gradients = operands.filter(|i| trained.contains_key(*i)).count() as u64;
        flops.forward = flops.forward.saturating_add(macs.saturating_mul(2));
        let backward = macs.saturating_mul(2).saturating_mul(gradients);
        flops.backward = flops.backward.saturating_add(backward);
    }
    Ok(Some(flops))
}

/// Fills a buffer with numbers that any program can make again: the upper 24 bits of
/// `i · 2654435769 mod 2³²`, scaled to the range ±√3.
fn fill(buffer: &Buffer) -> Result<(), TrainingError> {
    let range = 3f32.sqrt();
    for (i, value) in buffer.as_f32_mut()?.iter_mut().enumerate() {
        let bits = (i as u32).wrapping_mul(2_654_435_769) >> 8;
        *value = (bits as f32 / 8_388_608.0 - 1.0) * range;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Graph, Value};
    use crate::onnx::Tensor;

    /// Two convolutions of 1 × 1 on images of 2 × 4 × 4, a pooling and 3 classes.
    fn network() -> Prepared {
        let mut graph = Graph {
            inputs: vec![Value::batched("image", &[2, 4, 4])],
            ..Graph::new(17)
        };
        for (name, dims) in [
            ("a.w", &[5, 2, 1, 1][..]),
            ("b.w", &[7, 5, 1, 1]),
            ("fc.w", &[7, 3]),
        ] {
            let count: usize = dims.iter().product();
            let tensor = Tensor::f32(dims, &vec![0.1; count]);
            graph.initializers.insert(name.to_owned(), tensor);
        }
        let mut b = Builder::new(&mut graph);
        let x = b.op("a", "Conv", &["image", "a.w"], vec![]);
        let x = b.op("relu", "Relu", &[&x], vec![]);
        let x = b.op("b", "Conv", &[&x, "b.w"], vec![]);
        let x = b.op("pool", "GlobalAveragePool", &[&x], vec![]);
        let x = b.op("flat", "Flatten", &[&x], vec![]);
        let x = b.op("fc", "MatMul", &[&x, "fc.w"], vec![]);
        graph.outputs.push(Value::batched(&x, &[3]));
        let bytes = crate::onnx::encode(&graph.to_model(usize::MAX).0).unwrap();
        let model = Model::decode(bytes.into(), std::path::Path::new("test.onnx")).unwrap();
        Prepared::new(&model, 2, &[2, 4, 4]).unwrap()
    }

    #[test]
    fn only_gradients_on_the_way_to_a_trained_weight_count() {
        let network = network();
        let count = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            flops(&network, &names).unwrap().unwrap()
        };
        // Two samples of 16 pixels: 10 and 35 products each, then 21 per sample.
        let (a, b, fc) = (2 * 2 * 16 * 10, 2 * 2 * 16 * 35, 2 * 2 * 21);
        assert_eq!(count(&["fc.w"]).forward, a + b + fc);
        assert_eq!(count(&["fc.w"]).backward, fc);
        assert_eq!(count(&["b.w"]).backward, fc + b);
        assert_eq!(count(&["a.w", "b.w", "fc.w"]).backward, 2 * fc + 2 * b + a);
    }
}
