//! The graphs of one trial, for one batch size.
//!
//! From the grafted model, brought to normal form at fixed dimensions, three graphs are cut:
//! the *prefix* computes what does not depend on a trained parameter, the *step* computes loss and
//! gradients from that, and the *evaluation* computes the logits from that.

#[cfg(test)]
mod against_torch;
mod objective;
mod part;
mod prepared;
#[cfg(test)]
mod rewritten;
#[cfg(test)]
mod rounding;

use std::collections::HashSet;

use crate::autodiff::{AutodiffError, Operators, gradients};
use crate::channels_last::channels_last;
use crate::graph::{Builder, Graph, Value, following};
use crate::onnx::{DataType, Tensor};
use crate::surgery::rewrite::{Noise, Penalty};
use crate::surgery::{Dropout, extract, lower_batch_norm};

pub use objective::Objective;
pub(crate) use prepared::with_zero;
pub use prepared::{Mask, Prepared, SampleDims};

use super::{GradientOutput, StepNorm, TrainingError};

/// Name of the step graph's input for the labels, int64 `[batch]`.
pub const LABELS: &str = "ftsurgery/labels";

/// Name of its input in their place where samples may have several: float `[batch, classes]`, 1 for each class that a
/// sample is of and 0 for the others, or of mixed samples what lies between.
pub const TARGETS: &str = "ftsurgery/targets";

/// Name of the step graph's input for the second labels of mixed samples, int64 `[batch]`.
pub const OTHER_LABELS: &str = "ftsurgery/labels/other";
/// Name of its input for the share of the first labels, float `[batch, 1]`.
pub const SHARE: &str = "ftsurgery/labels/share";

/// A value of fixed dimensions at the border of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name of the value.
    pub name: String,
    /// Its dimensions, batch included.
    pub dims: Vec<usize>,
}

/// The frozen values at which the trained part begins, all of them float32.
///
/// They are what nodes that depend on a trained parameter read but what does not itself depend on
/// one: usually one feature map, several where a residual connection crosses. Where such a node reads
/// indices or a mask, these are computed behind the boundary, from the floats before them. Where nothing is
/// trained, everything lies behind the boundary, which is the input.
///
/// # Errors
/// When a shape is unknown.
pub fn boundary(prepared: &Prepared, trainable: &[String]) -> Result<Vec<Port>, TrainingError> {
    let Prepared { graph, shapes, .. } = prepared;
    if trainable.is_empty() {
        return Ok(vec![Port {
            name: prepared.input.clone(),
            dims: shapes.dims(&prepared.input)?.to_vec(),
        }]);
    }
    // What dropout masks touch differs in every step, too, and what a rewrite touches from other trials.
    let masks = graph
        .inputs
        .iter()
        .map(|v| &v.name)
        .filter(|name| **name != prepared.input);
    let sources = trainable.iter().chain(masks).chain(&prepared.added);
    let trained = following(graph, sources.map(String::as_str));
    // What depends on parameters alone is recomputed inside the step.
    let from_data = following(graph, [prepared.input.as_str()]);
    let producers = graph.producers();
    let frozen = |name: &&str| from_data.contains(name) && !trained.contains(name);
    let mut seen = HashSet::new();
    let mut ports = Vec::new();
    for node in &graph.nodes {
        if !node.present_outputs().any(|o| trained.contains(o)) {
            continue;
        }
        let mut open: Vec<&str> = node.present_inputs().filter(frozen).collect();
        open.reverse();
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            let info = shapes.info(name)?;
            match producers.get(name).map(|&at| &graph.nodes[at]) {
                Some(before) if info.dtype != DataType::Float => {
                    open.extend(before.present_inputs().filter(frozen));
                }
                _ => ports.push(Port {
                    name: name.to_owned(),
                    dims: info.dims.clone(),
                }),
            }
        }
    }
    Ok(ports)
}

/// A graph whose parameters are inputs, with what a session binds.
#[derive(Clone, Debug)]
pub struct Program {
    /// The graph.
    pub graph: Graph,
    /// Inputs that come from the frozen prefix (or are the model's own input).
    pub features: Vec<Port>,
    /// Trained parameters: inputs under the names of their initializers.
    pub parameters: Vec<Port>,
    /// Dropout masks, inputs too.
    pub masks: Vec<Mask>,
    /// Noise, inputs of a step.
    pub noise: Vec<Noise>,
    /// For a step: the BatchNormalizations whose batch's statistics are outputs.
    pub norms: Vec<StepNorm>,
    /// For a step: [`TARGETS`], where they are in place of [`LABELS`]: samples may have several labels, or the loss holds an
    /// output against values.
    pub targets: Option<Port>,
    /// For a step: whether samples that have one label are mixed, so that there are [`OTHER_LABELS`] and [`SHARE`].
    pub is_mixed: bool,
    /// For a step: the scalar loss and the gradients in the order of `parameters`.
    pub loss: Option<(String, Vec<GradientOutput>)>,
    /// For a step: the scalar sum of what is added to the loss, each times its weight; `None` where nothing is.
    pub penalty: Option<String>,
    /// The logits.
    pub logits: Port,
}

impl Program {
    /// The names of its inputs but parameters: features, masks, noise, then what the loss is held against.
    pub fn inputs(&self) -> Vec<&str> {
        let features = self.features.iter().map(|p| p.name.as_str());
        let masks = self.masks.iter().map(|m| m.name.as_str());
        let noise = self.noise.iter().map(|n| n.name.as_str());
        let mut all: Vec<&str> = features.chain(masks).chain(noise).collect();
        if self.loss.is_some() {
            all.push(self.targets.as_ref().map_or(LABELS, |port| &port.name));
            if self.is_mixed {
                all.extend([OTHER_LABELS, SHARE]);
            }
        }
        all
    }

    /// As this one, which is for any batch size, where the batch is of so many samples.
    pub fn of_batch(&self, batch: usize) -> Self {
        let mut sized = self.clone();
        let ports = sized.features.iter_mut().chain(&mut sized.targets);
        for port in ports.chain([&mut sized.logits]) {
            if let Some(first) = port.dims.first_mut() {
                *first = batch;
            }
        }
        sized
    }
}

/// The graph that computes the logits from the frozen features, without dropout and with the
/// running statistics, which are inputs behind the parameters.
///
/// # Errors
/// When a parameter is unknown.
pub fn evaluation_program(
    prepared: &Prepared,
    trainable: &[String],
    operators: Operators,
) -> Result<Program, TrainingError> {
    evaluation(prepared, trainable, Start::Boundary, operators)
}

/// As [`evaluation_program`], from the model's own input: the frozen part is not cut off.
///
/// # Errors
/// As there.
pub fn whole_evaluation_program(
    prepared: &Prepared,
    trainable: &[String],
    operators: Operators,
) -> Result<Program, TrainingError> {
    evaluation(prepared, trainable, Start::Input, operators)
}

fn evaluation(
    prepared: &Prepared,
    trainable: &[String],
    start: Start,
    operators: Operators,
) -> Result<Program, TrainingError> {
    let mut prepared = prepared.clone();
    prepared.fold()?;
    // The logits alone: penalties are a step's.
    prepared.graph.outputs.truncate(1);
    let mut inputs = trainable.to_vec();
    inputs.extend(prepared.running_statistics());
    let mut program = forward(&prepared, &inputs, Vec::new(), start)?;
    if operators == Operators::Kernels {
        channels_last(&mut program.graph)?;
    }
    Ok(program)
}

/// The graph that computes loss and gradients from the frozen features, labels and masks.
///
/// # Errors
/// When a parameter is unknown or there is no gradient for it.
pub fn step_program(
    prepared: &Prepared,
    trainable: &[String],
    dropout: &[Dropout],
    operators: Operators,
) -> Result<Program, TrainingError> {
    let mut program = step_of_whole_gradients(prepared, trainable, dropout, operators)?;
    let (graph, loss) = (&mut program.graph, &mut program.loss);
    for gradient in loss.iter_mut().flat_map(|(_, gradients)| gradients) {
        if let GradientOutput::Whole(Port { name, dims }) = gradient {
            *gradient = GradientOutput::of(graph, name, dims);
        }
    }
    graph.leaves_last();
    Ok(program)
}

/// As [`step_program`], with each gradient as one value, for what is appended to it.
///
/// # Errors
/// As [`step_program`].
pub(super) fn step_of_whole_gradients(
    prepared: &Prepared,
    trainable: &[String],
    dropout: &[Dropout],
    operators: Operators,
) -> Result<Program, TrainingError> {
    differentiated(prepared, trainable, dropout, Start::Boundary, operators)
}

/// The graph that computes loss, logits and gradients from the model's own input and labels,
/// without dropout: the frozen part is not cut off.
///
/// # Errors
/// As [`step_program`].
pub fn whole_program(
    prepared: &Prepared,
    trainable: &[String],
    operators: Operators,
) -> Result<Program, TrainingError> {
    differentiated(prepared, trainable, &[], Start::Input, operators)
}

/// Where a program begins.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// At the frozen values of [`boundary`].
    Boundary,
    /// At the model's inputs.
    Input,
}

fn differentiated(
    prepared: &Prepared,
    trainable: &[String],
    dropout: &[Dropout],
    start: Start,
    operators: Operators,
) -> Result<Program, TrainingError> {
    let mut prepared = prepared.clone();
    let batch = prepared.shapes.dims(&prepared.input)?[0];
    prepared.fold()?;
    let norms = prepared.use_batch_statistics()?;
    let masks = prepared.insert_dropout(dropout, batch)?;
    prepared.read_noise(batch)?;
    let mut program = forward(&prepared, trainable, masks, start)?;
    let loss = objective::append(&mut program, &prepared, batch)?;
    let mut builder = Builder::new(&mut program.graph);
    let Penalties {
        sum: penalty,
        mut seeds,
    } = penalties(&mut builder, &prepared)?;
    seeds.push((program.logits.name.clone(), loss.gradient));
    let seeds: Vec<(&str, &str)> = seeds.iter().map(|(v, s)| (&**v, &**s)).collect();
    let gradients = gradients(
        &mut builder,
        &prepared.shapes,
        &seeds,
        trainable,
        &prepared.constants,
        operators,
    )?;
    lower_batch_norm(&mut builder, &prepared.shapes)?;
    program.graph.sort()?;
    let value = |name: &str, dims: &[usize]| Value::fixed(name, DataType::Float, dims);
    let outputs = &mut program.graph.outputs;
    outputs.truncate(1);
    outputs.push(value(&loss.loss, &[]));
    outputs.extend(penalty.iter().map(|penalty| value(penalty, &[])));
    let of = gradients.iter().zip(&program.parameters);
    outputs.extend(of.map(|(gradient, p)| value(gradient, &p.dims)));
    let statistics = |n: &StepNorm| n.statistics.clone().map(|s| value(&s, &[n.channels]));
    outputs.extend(norms.iter().flat_map(statistics));
    program.graph.prune();
    if operators == Operators::Kernels {
        channels_last(&mut program.graph)?;
    }
    let of = gradients.into_iter().zip(&program.parameters);
    let whole = |(name, parameter): (String, &Port)| {
        let dims = parameter.dims.clone();
        GradientOutput::Whole(Port { name, dims })
    };
    program.loss = Some((loss.loss, of.map(whole).collect()));
    program.penalty = penalty;
    program.graph.leaves_last();
    program.norms = norms;
    Ok(program)
}

/// The penalties of a step.
#[derive(Default)]
struct Penalties {
    /// Their sum, each times its weight; `None` without any.
    sum: Option<String>,
    /// Each, with the gradient of the sum with respect to it.
    seeds: Vec<(String, String)>,
}

/// Appends the sum of the penalties and its gradients.
fn penalties(builder: &mut Builder, prepared: &Prepared) -> Result<Penalties, TrainingError> {
    let Penalties { mut sum, mut seeds } = Penalties::default();
    for Penalty { value, weight } in &prepared.penalties {
        let dims = prepared.shapes.dims(value)?;
        let seed = builder.constant(Tensor::f32(dims, &[*weight]));
        let weighted = builder.op("penalty/weighted", "Mul", &[value, &seed], vec![]);
        let flat = vec![("keepdims", 0.into())];
        let scalar = match dims {
            [] => weighted,
            _ => builder.op("penalty/one", "ReduceSum", &[&weighted], flat),
        };
        sum = Some(match sum {
            Some(sum) => builder.op("penalty", "Add", &[&sum, &scalar], vec![]),
            None => scalar,
        });
        seeds.push((value.clone(), seed));
    }
    Ok(Penalties { sum, seeds })
}

/// The graph that computes `features` from the model's input; `None` when the only feature is that
/// input itself.
///
/// # Errors
/// When the graph is malformed.
pub fn prefix_graph(
    prepared: &Prepared,
    features: &[Port],
) -> Result<Option<Graph>, TrainingError> {
    if let [only] = features
        && only.name == prepared.input
    {
        return Ok(None);
    }
    let outputs: Vec<Value> = features
        .iter()
        .map(|p| Value::fixed(&p.name, DataType::Float, &p.dims))
        .collect();
    Ok(Some(extract(
        &prepared.graph,
        &prepared.graph.inputs,
        &outputs,
    )?))
}

/// The part of the graph behind its start, with the trained parameters as inputs.
fn forward(
    prepared: &Prepared,
    trainable: &[String],
    masks: Vec<Mask>,
    start: Start,
) -> Result<Program, TrainingError> {
    let features = match start {
        Start::Boundary => boundary(prepared, trainable)?,
        Start::Input => vec![Port {
            name: prepared.input.clone(),
            dims: prepared.shapes.dims(&prepared.input)?.to_vec(),
        }],
    };
    let parameters = trainable
        .iter()
        .map(|name| match prepared.graph.initializers.get(name) {
            Some(Tensor {
                dtype: DataType::Float,
                dims,
                ..
            }) => Ok(Port {
                name: name.clone(),
                dims: dims.clone(),
            }),
            _ => Err(AutodiffError::NotAParameter(name.clone())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let value = |name: &str| -> Result<Value, TrainingError> {
        Ok(Value::fixed(
            name,
            DataType::Float,
            prepared.shapes.dims(name)?,
        ))
    };
    let is_input = |name: &String| prepared.graph.inputs.iter().any(|v| v.name == *name);
    let noise = prepared.noise.iter().filter(|n| is_input(&n.name));
    let noise: Vec<Noise> = noise.cloned().collect();
    let inputs = match start {
        Start::Input => prepared.graph.inputs.clone(),
        Start::Boundary => {
            let ports = features.iter().map(|p| &p.name);
            let drawn = masks.iter().map(|m| &m.name);
            let names = ports.chain(drawn).chain(noise.iter().map(|n| &n.name));
            names.map(|name| value(name)).collect::<Result<_, _>>()?
        }
    };
    let mut graph = extract(&prepared.graph, &inputs, &prepared.graph.outputs)?;
    for port in &parameters {
        graph.initializers.shift_remove(&port.name);
        graph
            .inputs
            .push(Value::fixed(&port.name, DataType::Float, &port.dims));
    }
    Ok(Program {
        graph,
        features,
        parameters,
        masks,
        noise,
        norms: Vec::new(),
        targets: None,
        is_mixed: false,
        loss: None,
        penalty: None,
        logits: Port {
            name: prepared.logits.clone(),
            dims: prepared.shapes.dims(&prepared.logits)?.to_vec(),
        },
    })
}
