//! A model in normal form at fixed dimensions, from which the graphs of a trial are cut.

use std::collections::{HashMap, HashSet};

use crate::autodiff::Targets;
use crate::batch::{batch_of_export, free_batch};
use crate::classifier::room;
use crate::graph::{
    Builder, Dim, Graph, Node, Shapes, Value, fold_constants, following, infer_shapes, normalise,
    part_cubic_resizes, refuse_untrainable, to_float32, whole_as_floats, write_overhangs_as_pads,
};
use crate::onnx::{DataType, Model, Tensor};
use crate::surgery::rewrite::{Noise, Penalty};
use crate::surgery::{BatchNorm, Dropout, Rewritten, fold_batch_norm, logits_of};
use crate::task::Task;

use super::Objective;
use crate::training::TrainingError;

/// A model in normal form at fixed input dimensions.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The graph, whose one output is the logits.
    pub graph: Graph,
    /// Types and dimensions of its values.
    pub shapes: Shapes,
    /// Name of the input, which is the first of its inputs.
    pub input: String,
    /// Name of the logits.
    pub logits: String,
    /// Name of what the model itself has of them: the logits, but of a binary task its one output.
    pub scores: String,
    /// Number of classes.
    pub classes: usize,
    /// What a step makes smaller.
    pub objective: Objective,
    /// What they tell of a sample. The logits of a binary task are 0 and the model's one output.
    pub task: Task,
    /// The BatchNormalizations that take the statistics of the batch in a step.
    pub batch_norms: Vec<BatchNorm>,
    /// The batch size of the export, where the graph had to be freed from it.
    pub freed: Option<usize>,
    /// How the targets of a step's loss follow from the labels.
    pub targets: Targets,
    /// Whether a step's samples are mixed, so that each has two labels.
    pub is_mixed: bool,
    /// Values that count as constants for gradients.
    pub constants: Vec<String>,
    /// Noise that a step reads; elsewhere these are initializers.
    pub noise: Vec<Noise>,
    /// What a step adds to the loss.
    pub penalties: Vec<Penalty>,
    /// What a rewrite added: neither these values nor what follows from them are those of the network
    /// without it.
    pub added: Vec<String>,
}

/// Dimensions of one sample as the model's input wants it: the input's dimensions behind the batch.
pub type SampleDims = Vec<usize>;

impl Prepared {
    /// Makes the logits be followed by these values, `[N, width]` each, as if all were one row.
    ///
    /// # Errors
    /// When a value is unknown, or has other dimensions.
    pub(in crate::training) fn read(&mut self, values: &[String]) -> Result<(), TrainingError> {
        let mut dims = self.shapes.dims(&self.logits)?.to_vec();
        for value in values {
            match *self.shapes.dims(value)? {
                [rows, width] if rows == dims[0] => dims[1] += width,
                ref other => {
                    return Err(TrainingError::Mismatch(format!(
                        "`{value}` has dimensions {other:?}, which is no row for each of {} samples",
                        dims[0]
                    )));
                }
            }
        }
        let all = "ftsurgery/read";
        let read = std::iter::once(&self.logits).chain(values);
        let read: Vec<&str> = read.map(String::as_str).collect();
        let node = Node::new(all, "Concat", &read, &[all]).with("axis", 1);
        self.graph.nodes.push(node);
        self.shapes.insert(all, DataType::Float, &dims);
        self.graph.outputs[0] = Value::fixed(all, DataType::Float, &dims);
        self.logits = all.to_owned();
        Ok(())
    }

    /// Brings `model` to normal form for `batch` samples of dimensions `sample`.
    ///
    /// # Errors
    /// When the model has operators that cannot be trained through, several inputs, or its shapes
    /// do not work out at these dimensions.
    pub fn new(model: &Model, batch: usize, sample: &[usize]) -> Result<Self, TrainingError> {
        Self::of(model, batch, sample, Task::SingleLabel)
    }

    /// As [`Prepared::new`], of a model that tells this of a sample, or for another objective. With that of the
    /// [output](Objective::Output) the model may have further inputs, which come as they are; where their first
    /// dimension is not fixed, it is the batch.
    ///
    /// # Errors
    /// As [`Prepared::new`], and when the model's outputs are not as the objective takes them.
    pub fn of(
        model: &Model,
        batch: usize,
        sample: &[usize],
        objective: impl Into<Objective>,
    ) -> Result<Self, TrainingError> {
        Self::with(model, batch, sample, &[], objective.into())
    }

    /// As [`Prepared::of`], for a model that was rewritten.
    ///
    /// # Errors
    /// As [`Prepared::of`], and when the normal form does not have what training is to know of.
    pub fn rewritten(
        of: &Rewritten,
        batch: usize,
        sample: &[usize],
        task: Task,
    ) -> Result<Self, TrainingError> {
        let penalties: Vec<&str> = of.penalties.iter().map(|p| p.value.as_str()).collect();
        let mut prepared = Self::with(&of.model, batch, sample, &penalties, task.into())?;
        let Prepared { graph, shapes, .. } = &prepared;
        let noise = of.noise.iter().map(|n| &n.name);
        let changing: Vec<&str> = noise.chain(&of.parameters).map(String::as_str).collect();
        let unused = |name: &&&str| !graph.initializers.contains_key(**name);
        if let Some(name) = changing.iter().find(unused) {
            return Err(TrainingError::Mismatch(format!(
                "the network does not depend on the added `{name}` in a way that can be trained"
            )));
        }
        // What is known before the graph runs was computed: a comparison of few numbers, say.
        let written = Graph::from_model(&of.model)?;
        let mut behind = following(&written, changing.iter().copied());
        behind.retain(|name| !changing.contains(name));
        if let Some(name) = behind.iter().find(|n| graph.initializers.contains_key(**n)) {
            return Err(TrainingError::Mismatch(format!(
                "`{name}` would keep its first value although it depends on what is trained or drawn"
            )));
        }
        let made: HashSet<&str> = graph.nodes.iter().flat_map(Node::present_outputs).collect();
        if let Some(name) = of.constants.iter().find(|c| !made.contains(c.as_str())) {
            return Err(TrainingError::Mismatch(format!(
                "no node computes `{name}`, which is to be constant for gradients"
            )));
        }
        for Penalty { value, .. } in &of.penalties {
            let info = shapes.info(value)?;
            if info.dims.iter().any(|&d| d != 1) || info.dtype != DataType::Float {
                return Err(TrainingError::Mismatch(format!(
                    "the penalty `{value}` is {:?} {:?}; it must be one float",
                    info.dtype, info.dims
                )));
            }
        }
        prepared.constants.clone_from(&of.constants);
        prepared.noise.clone_from(&of.noise);
        prepared.penalties.clone_from(&of.penalties);
        prepared.added.clone_from(&of.added);
        Ok(prepared)
    }

    /// The model for `batch` samples, with these values among its outputs, behind the logits.
    fn with(
        model: &Model,
        batch: usize,
        sample: &[usize],
        further: &[&str],
        objective: Objective,
    ) -> Result<Self, TrainingError> {
        let task = objective.task();
        let mut dims = vec![batch];
        dims.extend(sample);
        let mut graph = Graph::from_model_at(model, &dims)?;
        graph.only_scores(further);
        refuse_untrainable(&graph)?;
        normalise(&mut graph)?;
        to_float32(&mut graph)?;
        whole_as_floats(&mut graph)?;
        let Some(input) = graph.inputs.first() else {
            return Err(TrainingError::Mismatch("the model has no input".into()));
        };
        if graph.inputs.len() > 1 && objective != Objective::Output {
            let names: Vec<_> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(TrainingError::Mismatch(format!(
                "the model has the inputs {}; only models of one input can be trained",
                names.join(", ")
            )));
        }
        let freed = batch_of_export(input).filter(|&n| n != batch);
        if !input.dtype.is_float() {
            return Err(TrainingError::Mismatch(format!(
                "the model's input `{}` is {:?}; only models of an input of floats, bytes or 32-bit integers can be trained",
                input.name, input.dtype
            )));
        }
        let input = input.name.clone();
        if freed.is_some() {
            free_batch(&mut graph)?;
        }
        let scores = match objective {
            Objective::Task(task) => logits_of(&graph, task)?,
            Objective::SquaredError | Objective::Output => own_output(&graph)?,
        };
        let logits = match task {
            Task::Binary => with_zero(&mut graph, &scores),
            Task::SingleLabel | Task::MultiLabel => scores.clone(),
        };
        let output = |name: &str| Value {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims: None,
        };
        let outputs = std::iter::once(logits.as_str()).chain(further.iter().copied());
        graph.outputs = outputs.map(output).collect();
        graph.prune();
        let mut given = HashMap::from([(input.clone(), dims)]);
        for other in graph.inputs.iter().filter(|other| other.name != input) {
            given.insert(other.name.clone(), dims_at(other, batch)?);
        }
        let mut shapes = infer_shapes(&graph, &given)?;
        room(&graph, &shapes, batch)?;
        fold_constants(&mut graph, &shapes);
        write_overhangs_as_pads(&mut graph, &mut shapes)?;
        part_cubic_resizes(&mut graph, &mut shapes)?;
        for value in &mut graph.inputs {
            *value = Value::fixed(&value.name, value.dtype, &given[&value.name]);
        }
        let classes = objective.classes(shapes.dims(&logits)?, batch)?;
        let outputs: usize = shapes.dims(&scores)?.iter().skip(1).product();
        if task == Task::Binary && outputs != 1 {
            return Err(TrainingError::Mismatch(format!(
                "the model's output `{scores}` has {outputs} numbers for a sample; of two classes that are told by one \
                 (--task binary) it has 1"
            )));
        }
        for output in &mut graph.outputs {
            let dims = shapes.dims(&output.name)?;
            *output = Value::fixed(&output.name, DataType::Float, dims);
        }
        Ok(Prepared {
            graph,
            shapes,
            input,
            logits,
            scores,
            classes,
            objective,
            task,
            batch_norms: Vec::new(),
            freed,
            targets: Targets::default(),
            is_mixed: false,
            constants: Vec::new(),
            noise: Vec::new(),
            penalties: Vec::new(),
            added: Vec::new(),
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

    /// Makes the noise an input, `[batch, dims…]`.
    pub(super) fn read_noise(&mut self, batch: usize) -> Result<(), TrainingError> {
        for Noise { name, dims, .. } in &self.noise {
            let dims: Vec<usize> = std::iter::once(batch).chain(dims.clone()).collect();
            self.graph.initializers.shift_remove(name);
            let input = Value::fixed(name, DataType::Float, &dims);
            self.graph.inputs.push(input);
            self.shapes.insert(name, DataType::Float, &dims);
        }
        if !self.noise.is_empty() {
            self.refresh_shapes()?;
        }
        Ok(())
    }

    /// Inserts dropout: each named value is multiplied by a mask, an additional input `[batch, width]`
    /// of zeros and 1/(1 − ratio). Returns the masks' names and widths.
    pub(super) fn insert_dropout(
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

/// The first output of a graph, which has floats.
fn own_output(graph: &Graph) -> Result<String, TrainingError> {
    match graph.outputs.first() {
        Some(output) => Ok(output.name.clone()),
        None => Err(TrainingError::Mismatch("the model has no output".into())),
    }
}

/// The dimensions of an input for `batch` samples.
fn dims_at(input: &Value, batch: usize) -> Result<Vec<usize>, TrainingError> {
    let dim = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(size) => Some(*size),
        Dim::Symbolic(_) => (axis == 0).then_some(batch),
    };
    let declared = input.dims.as_ref();
    let dims = declared.and_then(|dims| dims.iter().enumerate().map(dim).collect());
    dims.ok_or_else(|| {
        TrainingError::Mismatch(format!(
            "the model's input `{}` leaves other dimensions open than that of the batch",
            input.name
        ))
    })
}

/// Appends the logits 0 and z of two classes to a graph that tells them apart by one number z; what they are named.
pub(crate) fn with_zero(graph: &mut Graph, scores: &str) -> String {
    let mut builder = Builder::new(graph);
    let flat = builder.op(
        "binary/flat",
        "Flatten",
        &[scores],
        vec![("axis", 1.into())],
    );
    let pair = builder.constant(Tensor::f32(&[1, 2], &[0.0, 1.0]));
    builder.op("binary/logits", "MatMul", &[&flat, &pair], vec![])
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
