//! Running a classifier as it stands in its file.

use std::collections::HashMap;
use std::ops::Range;

use crate::data::Dataset;
use crate::graph::{Dim, Graph, GraphError, infer_shapes, normalise};
use crate::onnx::messages::ModelProto;
use crate::onnx::{DataType, Model, encode, is_external};
use crate::runtime::{Array, Device, Runtime, RuntimeError, Session, SessionOptions, SharedTensor};
use crate::surgery::{Scores, ending};

use super::{ClassifierError, InputSpec, softmax, untried};

/// Samples per run where the model leaves the batch size open.
const BATCH: usize = 16;
/// Values of an input beyond which it is refused: 4 GiB. Models of a fixed batch size are filled up to
/// it.
const MOST_VALUES: usize = 1 << 30;

/// A classifier in onnxruntime.
pub struct Inference {
    session: Session,
    input: String,
    dtype: DataType,
    batch: Option<usize>,
    scores: Scores,
}

/// Writes the samples of a range, one after the other.
pub type Fill<'f> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), ClassifierError> + 'f;

/// Gets the outputs of the samples of a range, row by row, and the number of classes.
pub type Rows<'r, E> = dyn FnMut(Range<usize>, &[f32], usize) -> Result<(), E> + 'r;

/// What a classifier says of a few samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Row-major [samples, classes], as the model gives them.
    pub values: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// What the values are, by the nodes that make them.
    pub scores: Scores,
}

impl Inference {
    /// Loads a model of one input and a class score per sample, of which the first output is used.
    ///
    /// # Errors
    /// When the model has several inputs or is malformed, or onnxruntime refuses it.
    pub fn new(
        runtime: &Runtime,
        model: &Model,
        device: Device,
        threads: usize,
    ) -> Result<Self, ClassifierError> {
        let graph = Graph::from_model(model)?;
        let scores = ending(&graph)?.scores;
        untried::refuse(model, &graph)?;
        let mut externals = Vec::new();
        let mut unread = false;
        for proto in model.graph().initializer.iter().filter(|t| is_external(t)) {
            let name = proto.name.clone().unwrap_or_default();
            let Some(tensor) = graph.initializers.get(&name).cloned() else {
                unread = true;
                continue;
            };
            let number = tensor.dtype as i32;
            let shared = SharedTensor::new(&name, number, &tensor.dims, tensor.data)?;
            externals.push((name, shared));
        }
        let encoded;
        let bytes: &[u8] = if unread || model.file_bytes().is_empty() {
            encoded = encode(&without_unread(model, &graph))?;
            &encoded
        } else {
            model.file_bytes()
        };
        let options = SessionOptions {
            label: model.path().display().to_string(),
            device,
            threads,
            optimize: untried::may_be_optimized(&graph),
            limit: untried::limit(model),
            ..SessionOptions::default()
        };
        let session = Session::new(runtime, bytes, &externals, &options)
            .map_err(|refused| cause(&graph, refused))?;
        let [input] = session.inputs() else {
            let names: Vec<&str> = session.inputs().iter().map(|i| i.name.as_str()).collect();
            return Err(ClassifierError::Mismatch(format!(
                "the model has the inputs {}; only models of one input can be run",
                names.join(", ")
            )));
        };
        let known = DataType::from_number(input.dtype);
        let dtype = match known {
            Some(d @ (DataType::Float | DataType::Float16 | DataType::Double)) => d,
            _ => {
                return Err(ClassifierError::Mismatch(format!(
                    "input `{}` of the model is {}, not float",
                    input.name,
                    known.map_or("unknown".into(), |d| format!("{d:?}"))
                )));
            }
        };
        let batch = input.dims.first().copied().flatten();
        if batch == Some(0) {
            return Err(ClassifierError::Mismatch(format!(
                "input `{}` of the model is made for 0 samples",
                input.name
            )));
        }
        Ok(Inference {
            input: input.name.clone(),
            dtype,
            batch,
            scores,
            session,
        })
    }

    /// What its outputs are, by the nodes that make them.
    pub fn scores(&self) -> Scores {
        self.scores
    }

    /// Runs `count` samples of dimensions `sample`, which `fill` writes, and keeps all that the model says:
    /// for a few samples. Models of a fixed batch size are run at that size.
    ///
    /// # Errors
    /// When the samples do not fit the model, `fill` fails, or onnxruntime does.
    pub fn run(
        &mut self,
        sample: &[usize],
        count: usize,
        fill: &mut Fill<'_>,
    ) -> Result<Outputs, ClassifierError> {
        let mut outputs = Outputs {
            values: Vec::new(),
            classes: 0,
            scores: self.scores,
        };
        self.batches(sample, count, fill, &mut |_, values, classes| {
            outputs.values.extend_from_slice(values);
            outputs.classes = classes;
            Ok::<(), ClassifierError>(())
        })?;
        Ok(outputs)
    }

    /// As [`Inference::run`], of the samples `indices` of a data set, which must fit the model.
    ///
    /// # Errors
    /// As [`Inference::run`].
    pub fn run_dataset(
        &mut self,
        dataset: &Dataset,
        indices: &[usize],
        input: &InputSpec,
    ) -> Result<Outputs, ClassifierError> {
        let sample = input.sample_dims(dataset.sample_shape());
        self.run(&sample, indices.len(), &mut writer(dataset, indices, input))
    }

    /// Runs the samples `indices` of a data set, which must fit the model, and gives `rows` the outputs of
    /// each batch; nothing is kept of them here.
    ///
    /// # Errors
    /// As [`Inference::run`], and those of `rows`.
    pub fn each_batch<E: From<ClassifierError>>(
        &mut self,
        dataset: &Dataset,
        indices: &[usize],
        input: &InputSpec,
        rows: &mut Rows<'_, E>,
    ) -> Result<(), E> {
        let sample = input.sample_dims(dataset.sample_shape());
        let mut fill = writer(dataset, indices, input);
        self.batches(&sample, indices.len(), &mut fill, rows)
    }

    fn batches<E: From<ClassifierError>>(
        &mut self,
        sample: &[usize],
        count: usize,
        fill: &mut Fill<'_>,
        rows: &mut Rows<'_, E>,
    ) -> Result<(), E> {
        let mut start = 0;
        while start < count {
            let range = start..count.min(start + self.batch.unwrap_or(BATCH));
            start = range.end;
            let (values, classes) = self.batch(sample, &range, fill)?;
            rows(range, &values, classes)?;
        }
        Ok(())
    }

    /// The outputs of the samples of a range, row by row, and the number of classes.
    fn batch(
        &mut self,
        sample: &[usize],
        range: &Range<usize>,
        fill: &mut Fill<'_>,
    ) -> Result<(Vec<f32>, usize), ClassifierError> {
        let length: usize = sample.iter().product();
        let rows = self.batch.unwrap_or(range.len());
        let mut values = self.room(rows, length)?;
        fill(range.clone(), &mut values[..range.len() * length])?;
        let mut dims = vec![rows];
        dims.extend(sample);
        let input = self.array(&dims, values)?;
        let results = self.session.run(&[(&self.input, &input)])?;
        let scores = results.first().ok_or_else(|| unfit(&[]))?;
        let classes = match scores.dims() {
            [n, classes, rest @ ..] if *n == rows && rest.iter().all(|&d| d == 1) => *classes,
            dims => return Err(unfit(dims)),
        };
        if classes == 1 {
            return Err(ClassifierError::Mismatch(
                "the model has one score per sample; a classifier has one for each of its classes, \
                 two or more"
                    .to_owned(),
            ));
        }
        let mut scores = floats(scores).ok_or_else(|| {
            ClassifierError::Mismatch("the model's output is not float".to_owned())
        })?;
        scores.truncate(range.len() * classes);
        Ok((scores, classes))
    }

    /// Zeros for `rows` samples of `length` values.
    fn room(&self, rows: usize, length: usize) -> Result<Vec<f32>, ClassifierError> {
        let mut values = Vec::new();
        let count = rows
            .checked_mul(length)
            .filter(|&count| count <= MOST_VALUES);
        let reserved = count.filter(|&count| values.try_reserve_exact(count).is_ok());
        let Some(count) = reserved else {
            return Err(ClassifierError::Mismatch(format!(
                "input `{}` of the model is made for {rows} samples of {length} values at once, \
                 which is more than there is room for",
                self.input
            )));
        };
        values.resize(count, 0.0);
        Ok(values)
    }

    fn array(&self, dims: &[usize], values: Vec<f32>) -> Result<Array, ClassifierError> {
        let misfit = |e: ndarray::ShapeError| ClassifierError::Mismatch(e.to_string());
        Ok(match self.dtype {
            DataType::Float16 => {
                let values = values.into_iter().map(half::f16::from_f32).collect();
                Array::F16(ndarray::ArrayD::from_shape_vec(dims, values).map_err(misfit)?)
            }
            DataType::Double => {
                let values = values.into_iter().map(f64::from).collect();
                Array::F64(ndarray::ArrayD::from_shape_vec(dims, values).map_err(misfit)?)
            }
            _ => Array::F32(ndarray::ArrayD::from_shape_vec(dims, values).map_err(misfit)?),
        })
    }
}

impl Outputs {
    /// The samples whose outputs are no probabilities, or make none: they are not finite.
    pub fn not_finite(&self) -> Vec<usize> {
        let rows = self.probabilities().enumerate();
        rows.filter(|(_, row)| row.iter().any(|p| !p.is_finite()))
            .map(|(sample, _)| sample)
            .collect()
    }

    /// The probabilities of each sample; those of a sigmoid are each by themselves.
    pub fn probabilities(&self) -> impl Iterator<Item = Vec<f64>> {
        let reading = self.scores.of_values(&self.values, self.classes);
        self.values
            .chunks(self.classes.max(1))
            .map(move |row| probabilities(reading, row))
    }
}

/// The probabilities that a row of such scores says.
pub(super) fn probabilities(scores: Scores, row: &[f32]) -> Vec<f64> {
    match scores {
        Scores::Probabilities | Scores::Independent | Scores::Bounded => {
            row.iter().map(|&p| f64::from(p)).collect()
        }
        Scores::Logits | Scores::LogProbabilities => softmax(row),
    }
}

/// Writes the samples `indices` of a data set as the model's input.
fn writer<'f>(
    dataset: &'f Dataset,
    indices: &'f [usize],
    input: &'f InputSpec,
) -> impl FnMut(Range<usize>, &mut [f32]) -> Result<(), ClassifierError> + 'f {
    |range, values| {
        let rows = &indices[range];
        Ok(dataset.write_batch(rows, &input.preprocess, input.layout, values)?)
    }
}

/// Why a model is refused: where our own reading of the graph finds something wrong, too, it names the
/// node, which onnxruntime does not where that has no name.
fn cause(graph: &Graph, refused: RuntimeError) -> ClassifierError {
    if !refused.is_bad_input() {
        return refused.into();
    }
    match malformed(graph) {
        Some(GraphError::Node { node, reason }) => GraphError::Node {
            node,
            reason: format!("{reason} ({refused})"),
        }
        .into(),
        _ => refused.into(),
    }
}

/// What is wrong with the shapes of a graph, for one sample, if that can be told.
fn malformed(graph: &Graph) -> Option<GraphError> {
    let mut normal = graph.clone();
    let mut inputs = HashMap::new();
    for input in &normal.inputs {
        let dims = input.dims.as_ref()?.iter().enumerate();
        let dims = dims.map(|(axis, dim)| match dim {
            Dim::Known(size) => Some(*size),
            Dim::Symbolic(_) => (axis == 0).then_some(1),
        });
        inputs.insert(input.name.clone(), dims.collect::<Option<Vec<_>>>()?);
    }
    normalise(&mut normal)
        .and_then(|()| infer_shapes(&normal, &inputs).map(drop))
        .err()
}

/// The messages of a model without initializers that lie elsewhere and that nothing reads.
fn without_unread(model: &Model, graph: &Graph) -> ModelProto {
    let mut proto = model.proto.clone();
    if let Some(inner) = &mut proto.graph {
        inner.initializer.retain(|tensor| {
            let name = tensor.name.as_deref().unwrap_or("");
            !is_external(tensor) || graph.initializers.contains_key(name)
        });
    }
    proto
}

fn floats(array: &Array) -> Option<Vec<f32>> {
    match array {
        Array::F32(a) => Some(a.iter().copied().collect()),
        Array::F16(a) => Some(a.iter().map(|v| v.to_f32()).collect()),
        Array::F64(a) => Some(a.iter().map(|&v| v as f32).collect()),
        _ => None,
    }
}

fn unfit(dims: &[usize]) -> ClassifierError {
    ClassifierError::Mismatch(format!(
        "the model's output has dimensions {dims:?}; a classifier has one row of class scores per \
         sample"
    ))
}
