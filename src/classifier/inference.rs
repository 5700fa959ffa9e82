//! Running a classifier as it stands in its file.

use std::ops::Range;

use crate::data::Dataset;
use crate::graph::Graph;
use crate::onnx::messages::ValueInfoProto;
use crate::onnx::{DataType, Model, encode, is_external};
use crate::runtime::{Array, Device, Runtime, Session, SessionOptions, SharedTensor};
use crate::surgery::{Scores, SurgeryError, ending};

use super::company::{Company, agree};
use super::feed::Feed;
use super::given::{cause, has_float16, idle_ports, without};
use super::{ClassifierError, InputSpec, sigmoid, softmax, untried};
use crate::task::Task;

/// Samples per run where the model leaves the batch size open.
const BATCH: usize = 16;
/// Values of an input beyond which it is refused: 4 GiB. Models of a fixed batch size are filled up to
/// it.
const MOST_VALUES: usize = 1 << 30;

/// A classifier in onnxruntime.
pub struct Inference {
    session: Session,
    input: Feed,
    output: String,
    batch: Option<usize>,
    scores: Scores,
    /// Whether it tells two classes apart by one number.
    is_single: bool,
    is_half: bool,
    company: Company,
}

/// Writes the samples of a range, one after the other.
pub type Fill<'f> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), ClassifierError> + 'f;

/// Gets the outputs of the samples of a range, row by row, and the number of classes.
pub type Rows<'r, E> = dyn FnMut(Range<usize>, &[f32], usize) -> Result<(), E> + 'r;

/// What a classifier says of a few samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Row-major [samples, classes], as the model gives them; of one that tells two classes apart by one number, 0 and
    /// that, or the probabilities of both.
    pub values: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// What the values are, by the nodes that make them.
    pub scores: Scores,
}

impl Inference {
    /// Loads a model of one input, of which the [class scores](Graph::from_model) are used.
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
        let mut scores = ending(&graph)?.scores;
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
        let output = graph.outputs.first().map(|o| o.name.clone());
        let output = output.ok_or(SurgeryError::NoOutput)?;
        let mut declared = model.graph().output.iter();
        let is_inside = declared.all(|o| o.name.as_deref() != Some(output.as_str()));
        let encoded;
        let is_changed = model.file_bytes().is_empty() || model.renamed_nodes() > 0;
        let idle = idle_ports(model, &graph);
        let bytes: &[u8] = if unread || is_inside || is_changed || !idle.is_empty() {
            let mut proto = without(&idle, model, &graph);
            if let Some(graph) = proto.graph.as_mut().filter(|_| is_inside) {
                graph.output.push(ValueInfoProto {
                    name: Some(output.clone()),
                    ..ValueInfoProto::default()
                });
            }
            encoded = encode(&proto)?;
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
        let feed = Feed::new(&input.name, DataType::from_number(input.dtype))?;
        let batch = input.dims.first().copied().flatten();
        let mut ports = session.outputs().iter();
        let port = ports.find(|port| port.name == output);
        let is_single = port.is_some_and(|port| {
            let rest = port.dims.iter().skip(1);
            port.dims.len() > 1 && rest.clone().all(|dim| *dim == Some(1))
        });
        if is_single {
            scores = match scores {
                Scores::Independent | Scores::Bounded => Scores::Probabilities,
                Scores::Logits | Scores::IndependentLogits => Scores::Logits,
                Scores::Probabilities | Scores::LogProbabilities => {
                    return Err(ClassifierError::Mismatch(format!(
                        "the model's output `{output}` is the softmax of one score, which is 1 whatever the sample is"
                    )));
                }
            };
        }
        if batch == Some(0) {
            return Err(ClassifierError::Mismatch(format!(
                "input `{}` of the model is made for 0 samples",
                input.name
            )));
        }
        Ok(Inference {
            input: feed,
            output,
            batch,
            scores,
            is_single,
            is_half: has_float16(model),
            company: Company::of(&graph),
            session,
        })
    }

    /// The same model, of which it is known what it tells of a sample: where that is each class by itself, and its outputs
    /// are no probabilities, their sigmoids are.
    #[must_use]
    pub fn of_task(mut self, task: Option<Task>) -> Self {
        if task.is_some_and(Task::is_multi_label)
            && self.scores == Scores::Logits
            && !self.is_single
        {
            self.scores = Scores::IndependentLogits;
        }
        self
    }

    /// What its outputs are, by the nodes that make them. Of a model that tells two classes apart by one number they are
    /// the logits, or the probabilities, of both.
    pub fn scores(&self) -> Scores {
        self.scores
    }

    /// Whether it tells two classes apart by one number.
    pub fn is_single(&self) -> bool {
        self.is_single
    }

    /// The number of samples that it takes at once, where that is one number.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.batch
    }

    /// Whether the model computes in float16 anywhere, by its weights, constants and casts.
    pub fn is_half(&self) -> bool {
        self.is_half
    }

    /// Why samples are run one at a time, in a sentence, where that is so: the model would say something else of each beside
    /// others. The first batch of several samples tells it, if the graph does not.
    pub fn mixes(&self) -> Option<&str> {
        match &self.company {
            Company::Mixes(why) => Some(why),
            Company::Unknown | Company::Apart => None,
        }
    }

    /// Runs `count` samples of dimensions `sample`, which `fill` writes, and keeps all that the model says:
    /// for a few samples. Models of a fixed batch size are run at that size. What is said of a sample does not depend on
    /// the others: where the model [would](Inference::mixes) make it so, each is run alone, in as many copies as the
    /// model takes at once.
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
            let most = match self.company {
                Company::Mixes(_) => 1,
                _ => self.batch.unwrap_or(BATCH),
            };
            let range = start..count.min(start + most);
            let (values, classes) = match self.batch(sample, &range, fill) {
                Ok(outputs) => outputs,
                Err(error) => {
                    let may_be_alone = self.company == Company::Unknown && self.batch.is_none();
                    if may_be_alone
                        && range.len() > 1
                        && self.batch(sample, &(start..start + 1), fill).is_ok()
                    {
                        self.company = Company::alone(range.len(), &error);
                        continue;
                    }
                    return Err(error.into());
                }
            };
            if self.company == Company::Unknown && range.len() > 1 {
                self.company = match self.is_apart(sample, &range, (&values, classes), fill)? {
                    true => Company::Apart,
                    false => Company::mixed(),
                };
                if self.mixes().is_some() {
                    continue;
                }
            }
            start = range.end;
            rows(range, &values, classes)?;
        }
        Ok(())
    }

    /// Whether the first and the last sample of a range have alone the scores that they have among `together`.
    fn is_apart(
        &mut self,
        sample: &[usize],
        range: &Range<usize>,
        (together, classes): (&[f32], usize),
        fill: &mut Fill<'_>,
    ) -> Result<bool, ClassifierError> {
        for at in [range.start, range.end - 1] {
            let (alone, _) = self.batch(sample, &(at..at + 1), fill)?;
            let own = (at - range.start) * classes;
            let own = &together[own..own + classes];
            if !agree(&alone, own, together, self.is_half) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The outputs of the samples of a range, row by row, and the number of classes. Where the model takes more samples at
    /// once, the last of them comes again.
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
        for row in range.len()..rows {
            values.copy_within(
                (range.len() - 1) * length..range.len() * length,
                row * length,
            );
        }
        let mut dims = vec![rows];
        dims.extend(sample);
        let input = self.input.array(&dims, values)?;
        let fed = [(self.input.name.as_str(), &input)];
        let scores = &self.session.run_one(&fed, &self.output)?;
        let classes = match scores.dims() {
            [n, classes, rest @ ..] if *n == rows && rest.iter().all(|&d| d == 1) => *classes,
            dims => return Err(unfit(dims)),
        };
        if classes == 1 && !self.is_single {
            return Err(ClassifierError::Mismatch(
                "the model has one score per sample, and does not declare so; a classifier has one for each of its \
                 classes, or declares the one that tells two apart"
                    .to_owned(),
            ));
        }
        let mut scores = floats(scores).ok_or_else(|| {
            ClassifierError::Mismatch("the model's output is not float".to_owned())
        })?;
        scores.truncate(range.len() * classes);
        if self.is_single {
            let both = |&z: &f32| match self.scores {
                Scores::Probabilities => [1.0 - z, z],
                _ => [0.0, z],
            };
            return Ok((scores.iter().flat_map(both).collect(), 2));
        }
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
                self.input.name
            )));
        };
        values.resize(count, 0.0);
        Ok(values)
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
        Scores::IndependentLogits => row.iter().map(|&z| sigmoid(f64::from(z))).collect(),
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
