//! The graphs of one trial, for one batch size.
//!
//! From the grafted model, brought to normal form at fixed dimensions, three graphs are cut:
//! the *prefix* computes what does not depend on a trained parameter, the *step* computes loss and
//! gradients from that, and the *evaluation* computes the logits from that.

use std::collections::{HashMap, HashSet};

use crate::autodiff::{AutodiffError, Operators, cross_entropy, gradients};
use crate::channels_last::channels_last;
use crate::graph::{
    Builder, Dim, Graph, Node, Shapes, Value, fold_constants, following, free_batch, infer_shapes,
    normalise, part_cubic_resizes, refuse_untrainable, to_float32, write_overhangs_as_pads,
};
use crate::onnx::{DataType, Model, Tensor};
use crate::surgery::{BatchNorm, Dropout, extract, fold_batch_norm, logits, lower_batch_norm};

use super::{GradientOutput, StepNorm, TrainingError};

/// Name of the step graph's input for the labels, int64 `[batch]`.
pub const LABELS: &str = "ftsurgery/labels";

/// A model in normal form at fixed input dimensions.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The graph, whose one output is the logits.
    pub graph: Graph,
    /// Types and dimensions of its values.
    pub shapes: Shapes,
    /// Name of the input.
    pub input: String,
    /// Name of the logits.
    pub logits: String,
    /// Number of classes.
    pub classes: usize,
    /// The BatchNormalizations that take the statistics of the batch in a step.
    pub batch_norms: Vec<BatchNorm>,
    /// The batch size of the export, where the graph had to be freed from it.
    pub freed: Option<usize>,
    /// How much a sample of each class counts in a step's loss, see
    /// [`cross_entropy`]; `None` counts each 1.
    pub class_weights: Option<Vec<f32>>,
}

/// Dimensions of one sample as the model's input wants it: the input's dimensions behind the batch.
pub type SampleDims = Vec<usize>;

impl Prepared {
    /// Brings `model` to normal form for `batch` samples of dimensions `sample`.
    ///
    /// # Errors
    /// When the model has operators that cannot be trained through, several inputs, or its shapes
    /// do not work out at these dimensions.
    pub fn new(model: &Model, batch: usize, sample: &[usize]) -> Result<Self, TrainingError> {
        let mut graph = Graph::from_model(model)?;
        refuse_untrainable(&graph)?;
        normalise(&mut graph)?;
        to_float32(&mut graph)?;
        let [input] = graph.inputs.as_slice() else {
            if graph.inputs.is_empty() {
                return Err(TrainingError::Mismatch("the model has no input".into()));
            }
            let names: Vec<_> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(TrainingError::Mismatch(format!(
                "the model has the inputs {}; only models of one input can be trained",
                names.join(", ")
            )));
        };
        let freed = match input.dims.as_deref() {
            Some(&[Dim::Known(n), ..]) if n != batch => Some(n),
            _ => None,
        };
        if !input.dtype.is_float() {
            return Err(TrainingError::Mismatch(format!(
                "the model's input `{}` is {:?}; only models of a float input can be trained",
                input.name, input.dtype
            )));
        }
        let input = input.name.clone();
        if freed.is_some() {
            free_batch(&mut graph)?;
        }
        let logits = logits(&graph)?;
        graph.outputs = vec![Value {
            name: logits.clone(),
            dtype: DataType::Float,
            dims: None,
        }];
        graph.prune();
        let mut dims = vec![batch];
        dims.extend(sample);
        let mut shapes = infer_shapes(&graph, &HashMap::from([(input.clone(), dims.clone())]))?;
        fold_constants(&mut graph, &shapes);
        write_overhangs_as_pads(&mut graph, &mut shapes)?;
        part_cubic_resizes(&mut graph, &mut shapes)?;
        graph.inputs = vec![Value::fixed(&input, DataType::Float, &dims)];
        let logit_dims = shapes.dims(&logits)?.to_vec();
        let classes = match logit_dims.as_slice() {
            [n, classes, rest @ ..] if *n == batch && rest.iter().all(|&d| d == 1) => *classes,
            _ => {
                return Err(TrainingError::Mismatch(format!(
                    "the model's output has dimensions {logit_dims:?} for {batch} samples; \
                     a classifier has one row of class scores per sample"
                )));
            }
        };
        graph.outputs = vec![Value::fixed(&logits, DataType::Float, &logit_dims)];
        Ok(Prepared {
            graph,
            shapes,
            input,
            logits,
            classes,
            batch_norms: Vec::new(),
            freed,
            class_weights: None,
        })
    }

    /// Folds batch normalisation with stored statistics into the convolutions before it.
    ///
    /// # Errors
    /// When the graph is malformed.
    pub fn fold(&mut self) -> Result<(), TrainingError> {
        let norms = self.batch_norms.iter();
        let except: Vec<&str> = norms.map(|n| n.output.as_str()).collect();
        fold_batch_norm(&mut self.graph, &self.shapes, &except)?;
        self.refresh_shapes()
    }

    fn refresh_shapes(&mut self) -> Result<(), TrainingError> {
        let inputs = self
            .graph
            .inputs
            .iter()
            .map(|v| Ok((v.name.clone(), self.shapes.dims(&v.name)?.to_vec())))
            .collect::<Result<HashMap<_, _>, TrainingError>>()?;
        self.shapes = infer_shapes(&self.graph, &inputs)?;
        Ok(())
    }

    /// Inserts dropout: each named value is multiplied by a mask, an additional input `[batch, width]`
    /// of zeros and 1/(1 − ratio). Returns the masks' names and widths.
    fn insert_dropout(
        &mut self,
        dropout: &[Dropout],
        batch: usize,
    ) -> Result<Vec<Mask>, TrainingError> {
        let mut masks = Vec::new();
        for (i, drop) in dropout.iter().enumerate().filter(|(_, d)| d.ratio > 0.0) {
            let mask = format!("ftsurgery/dropout_mask_{i}");
            let dropped = format!("{}/dropped", drop.value);
            self.graph.replace_uses(&drop.value, &dropped);
            let node = Node::new(&dropped, "Mul", &[&drop.value, &mask], &[&dropped]);
            self.graph.nodes.push(node);
            let dims = [batch, drop.width];
            self.graph
                .inputs
                .push(Value::fixed(&mask, DataType::Float, &dims));
            self.shapes.insert(&mask, DataType::Float, &dims);
            masks.push(Mask {
                name: mask,
                ratio: drop.ratio,
                width: drop.width,
            });
        }
        self.graph.sort()?;
        self.refresh_shapes()?;
        Ok(masks)
    }
}

/// A dropout mask that a step reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Name of the input.
    pub name: String,
    /// Share of values that are dropped.
    pub ratio: f32,
    /// Values per sample.
    pub width: usize,
}

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
    // What dropout masks touch differs in every step, too.
    let masks = graph
        .inputs
        .iter()
        .map(|v| &v.name)
        .filter(|name| **name != prepared.input);
    let trained = following(graph, trainable.iter().chain(masks).map(String::as_str));
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
    /// For a step: the BatchNormalizations whose batch's statistics are outputs.
    pub norms: Vec<StepNorm>,
    /// For a step: the scalar loss and the gradients in the order of `parameters`.
    pub loss: Option<(String, Vec<GradientOutput>)>,
    /// The logits.
    pub logits: Port,
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
    let mut prepared = prepared.clone();
    prepared.fold()?;
    let mut inputs = trainable.to_vec();
    inputs.extend(prepared.running_statistics());
    let mut program = forward(&prepared, &inputs, Vec::new(), Start::Boundary)?;
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
    differentiated(prepared, trainable, dropout, Start::Boundary, operators)
}

/// The graph that computes loss, logits and gradients from the model's own input and labels,
/// without dropout: the frozen part is not cut off.
///
/// # Errors
/// As [`step_program`].
pub fn whole_program(prepared: &Prepared, trainable: &[String]) -> Result<Program, TrainingError> {
    differentiated(prepared, trainable, &[], Start::Input, Operators::Standard)
}

/// Where a program begins.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// At the frozen values of [`boundary`].
    Boundary,
    /// At the model's input.
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
    let mut program = forward(&prepared, trainable, masks, start)?;
    let labels = Value::fixed(LABELS, DataType::Int64, &[batch]);
    program.graph.inputs.push(labels);
    let mut builder = Builder::new(&mut program.graph);
    let loss = cross_entropy(
        &mut builder,
        &program.logits.name,
        &program.logits.dims,
        LABELS,
        prepared.class_weights.as_deref(),
    )?;
    let seed = (program.logits.name.as_str(), loss.gradient.as_str());
    let gradients = gradients(&mut builder, &prepared.shapes, seed, trainable, operators)?;
    lower_batch_norm(&mut builder, &prepared.shapes)?;
    program.graph.sort()?;
    let value = |name: &str, dims: &[usize]| Value::fixed(name, DataType::Float, dims);
    let outputs = &mut program.graph.outputs;
    outputs.push(value(&loss.loss, &[]));
    let of = gradients.iter().zip(&program.parameters);
    outputs.extend(of.map(|(gradient, p)| value(gradient, &p.dims)));
    let statistics = |n: &StepNorm| n.statistics.clone().map(|s| value(&s, &[n.channels]));
    outputs.extend(norms.iter().flat_map(statistics));
    program.graph.prune();
    if operators == Operators::Kernels {
        channels_last(&mut program.graph)?;
    }
    let of = gradients.iter().zip(&program.parameters);
    let graph = &mut program.graph;
    let gradients = of.map(|(gradient, p)| GradientOutput::of(graph, gradient, &p.dims));
    program.loss = Some((loss.loss, gradients.collect()));
    program.graph.leaves_last();
    program.norms = norms;
    Ok(program)
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
    let inputs = features
        .iter()
        .map(|p| &p.name)
        .chain(masks.iter().map(|m| &m.name))
        .map(|name| value(name))
        .collect::<Result<Vec<_>, _>>()?;
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
        norms: Vec::new(),
        loss: None,
        logits: Port {
            name: prepared.logits.clone(),
            dims: prepared.shapes.dims(&prepared.logits)?.to_vec(),
        },
    })
}
