//! What there is to know of a classifier to run it elsewhere.

use crate::classifier::{Inference, ModelCard, ModelInput, Outputs};
use crate::data::Preprocess;
use crate::graph::{Dim, Graph, Value};
use crate::layout::Layout;
use crate::onnx::DataType;
use crate::surgery::Scores;
use crate::task::Task;

use super::PackageError;

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DataType,
    /// Its dimensions behind that of the batch; `None` for any size.
    pub sample: Vec<Option<usize>>,
}

/// How a row of the model's output becomes probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is that.
    Probabilities,
    /// By its softmax.
    Softmax,
    /// By the sigmoid of each number.
    Sigmoid,
}

impl Reading {
    /// `none`, `softmax` or `sigmoid`: what is applied to the output.
    pub fn applied(self) -> &'static str {
        match self {
            Reading::Probabilities => "none",
            Reading::Softmax => "softmax",
            Reading::Sigmoid => "sigmoid",
        }
    }
}

/// A classifier as whoever runs it elsewhere has to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What the package calls it: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Its input.
    pub input: Port,
    /// Its class scores.
    pub output: Port,
    /// The number of samples that it takes, where that is one number.
    pub batch: Option<usize>,
    /// Why samples are to be run one at a time, in a sentence, where that is so.
    pub alone: Option<String>,
    /// Channels of a picture: 1, 3 or 4.
    pub channels: usize,
    /// Height of what the network sees, in pixels.
    pub height: usize,
    /// Width of what the network sees, in pixels.
    pub width: usize,
    /// Order of the axes of the input.
    pub layout: Layout,
    /// How pixels become what the network sees.
    pub preprocess: Preprocess,
    /// Whether the model does that by itself, of pictures of any size.
    pub takes_pixels: bool,
    /// How a row of the output becomes probabilities.
    pub reading: Reading,
    /// Whether the output is one number that tells two classes apart: the probability of the second, by `reading`.
    pub is_single: bool,
    /// Names of the classes, in the order of the outputs; numbers from 0, where the model names none.
    pub classes: Vec<String>,
    /// Whether the model names them.
    pub is_named: bool,
    /// What is told of a sample.
    pub task: Task,
    /// Where each class is told by itself, the probability from which on it applies.
    pub thresholds: Option<Vec<f64>>,
}

impl Facts {
    /// Of a classifier that has given `tried` for some samples; `name` is what the package will call it.
    ///
    /// # Errors
    /// When the name has other characters than a folder should, names are no lines, or the model is none that can be packaged.
    pub fn of(
        name: &str,
        graph: &Graph,
        (card, input): (&ModelCard, &ModelInput),
        inference: &Inference,
        tried: &Outputs,
    ) -> Result<Self, PackageError> {
        check_name(name)?;
        let declared = graph.inputs.iter().find(|value| value.name == input.name);
        let (Some(declared), Some(output)) = (declared, graph.outputs.first()) else {
            return Err(PackageError::Unfit(
                "the model has no input or no output".to_owned(),
            ));
        };
        let is_single = inference.is_single();
        let reading = match tried.scores.of_values(&tried.values, tried.classes) {
            Scores::Probabilities | Scores::Independent | Scores::Bounded => Reading::Probabilities,
            Scores::IndependentLogits => Reading::Sigmoid,
            Scores::Logits | Scores::LogProbabilities if is_single => Reading::Sigmoid,
            Scores::Logits | Scores::LogProbabilities => Reading::Softmax,
        };
        let numbered = || (0..tried.classes).map(|class| class.to_string()).collect();
        let own = card.classes.clone();
        let own = own.filter(|names| names.len() == tried.classes);
        let task = match card.task {
            Some(Task::MultiLabel) if !is_single => Task::MultiLabel,
            _ if is_single => Task::Binary,
            _ => Task::SingleLabel,
        };
        let thresholds = (task == Task::MultiLabel).then(|| {
            let chosen = card.thresholds.clone().unwrap_or_default();
            let of = |class| chosen.get(class).copied().unwrap_or(0.5);
            (0..tried.classes).map(of).collect()
        });
        let scores = if is_single { 1 } else { tried.classes };
        let takes_pixels = input.takes_pictures;
        let [h, w] = [input.height, input.width].map(|side| Some(side).filter(|_| !takes_pixels));
        let sample = match input.spec.layout {
            Layout::Nchw => vec![Some(input.channels), h, w],
            Layout::Nhwc => vec![h, w, Some(input.channels)],
        };
        Ok(Facts {
            name: name.to_owned(),
            input: Port {
                name: input.name.clone(),
                dtype: declared.dtype,
                sample,
            },
            output: Port {
                name: output.name.clone(),
                dtype: output.dtype,
                sample: behind_batch(output, scores),
            },
            batch: inference.fixed_batch(),
            alone: inference.mixes().map(str::to_owned),
            channels: input.channels,
            height: input.height,
            width: input.width,
            layout: input.spec.layout,
            preprocess: input.spec.preprocess.clone(),
            takes_pixels,
            reading,
            is_single,
            is_named: own.is_some(),
            classes: own.unwrap_or_else(numbered),
            task,
            thresholds,
        })
    }

    /// The names of the classes as lines: what would end one is a space.
    pub fn lines(&self) -> Vec<String> {
        let line = |name: &String| name.replace(|c: char| c.is_control(), " ");
        self.classes.iter().map(line).collect()
    }

    /// The dimensions of the input with that of the batch.
    pub fn input_dims(&self) -> Vec<Option<usize>> {
        [self.batch]
            .into_iter()
            .chain(self.input.sample.clone())
            .collect()
    }

    /// The dimensions of the output with that of the batch.
    pub fn output_dims(&self) -> Vec<Option<usize>> {
        [self.batch]
            .into_iter()
            .chain(self.output.sample.clone())
            .collect()
    }

    /// The dimensions of the input for `batch` pictures of a size that is taken.
    pub fn example_dims(&self, batch: usize) -> Vec<usize> {
        let [c, h, w] = self.layout.axes();
        let mut dims = vec![self.batch.unwrap_or(batch), 0, 0, 0];
        (dims[c], dims[h], dims[w]) = (self.channels, self.height, self.width);
        dims
    }
}

/// The dimensions of the class scores of a sample: `scores` of them, and further ones that are 1.
fn behind_batch(output: &Value, scores: usize) -> Vec<Option<usize>> {
    let rank = output.dims.as_ref().map_or(2, Vec::len);
    let is_row = |dims: &Vec<Dim>| dims.len() > 1;
    let ones = match output.dims.as_ref().filter(|dims| is_row(dims)) {
        Some(_) => rank - 2,
        None => 0,
    };
    let ones = std::iter::repeat_n(Some(1), ones);
    [Some(scores)].into_iter().chain(ones).collect()
}

/// Servers make folders and addresses of the name.
fn check_name(name: &str) -> Result<(), PackageError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins && name.len() <= 128 && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(PackageError::Unfit(format!(
            "`{name}` is no name for a package: servers take letters, digits, `-`, `_` and `.`, and a letter or digit first"
        ))),
    }
}

/// The name of a file as one of a package: what servers would not take is `_`.
pub fn name_of(stem: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
        true => c,
        false => '_',
    };
    let name: String = stem.chars().map(plain).take(100).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    match name.is_empty() {
        true => "model".to_owned(),
        false => name.to_owned(),
    }
}
