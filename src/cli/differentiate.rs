//! `ftsurgery differentiate`: the graph of loss and gradients, or one that trains, to run it anywhere.

mod ort_training;
mod told;
mod training;
mod web;

use std::path::PathBuf;

use crate::classifier::{ModelCard, ModelInput, at_image_size, parse_image_size};
use crate::graph::{Dim, Graph, Value};
use crate::onnx::{DataType, Model, encode, set_metadata, write_atomic};
use crate::task::Task;
use crate::training::{
    Differentiated, Parameters, differentiable, differentiate, samples_stay_apart,
};
use crate::training_graph::Batch;
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use super::gradients::no_gradient;
use super::task::TaskArg;
use super::trainable::TrainableArgs;
use super::{CliError, Context, signals, values};
use told::{Section, entry, floats};
use training::StepArgs;
use web::WebArgs;

const EXAMPLES: &str = "\
The file is a standard ONNX model (opset 21, IR 10) that any runtime can execute, in float32 \
whatever the model's own float type:

  inputs   the model's data input, under its own name
           `labels`, int64 [N]; with --task multi-label float32 [N, C], 1 for each class
           that a sample is of and 0 for the others
           the trainable parameters, under the names of their initializers; their values are
           in the file as defaults: an input that is not fed has the pretrained value
           (onnxruntime warns of each such input; a log severity of 3 silences it)
  outputs  `loss`, a scalar; the logits, under their own name; `grad/NAME` per parameter

Where the model's input, its logits or a parameter is called `labels`, `loss` or `grad/…` \
itself, ours gets a number (`labels_2`); the names are printed. All dimensions are fixed, that \
of the batch too: write one file per batch size. Frozen weights are inside. Dropout does not \
run, and BatchNormalization uses its stored statistics.

With --optimizer the file is a whole training step: a run takes a batch, a learning rate and the state, and gives the loss \
and the next state. The state before the first step is a file beside it.

  inputs   the model's data input; `labels`; `learning_rate`, a scalar; of the state `step`, `backbone`,
           `param/NAME`, `moment1/NAME`, `moment2/NAME`, `running/NAME`, `average/NAME`
  outputs  `loss`; the logits; `next/` and the name, of each tensor of the state

`ftsurgery apply STATE MODEL` writes a trained state, saved as safetensors or npz under these names, into the model.

With --format ort-training --out is a folder, of the files from which onnxruntime's training API (up to 1.19.2) trains: \
`training_model.onnx`, `eval_model.onnx`, `optimizer_model.onnx` and `checkpoint`, with the parameters that --trainable \
chooses as trained ones and the others as frozen ones. --optimizer is `adamw` unless it is said, or `adam`, or `sgd` without \
momentum. `ftsurgery apply` takes a checkpoint that was saved as a state.

With --format web --out is a folder, too: of a page that trains in a browser, by onnxruntime-web. The model gets a new head, of \
so many classes as --classes says, and trains by `adamw` unless --optimizer says another; pictures are dropped into a box for each, and the page gives the tuned ONNX file. A file \
server shows the page, which loads nothing from elsewhere.

Examples:
  ftsurgery differentiate mobilenet.onnx --out step.onnx
  ftsurgery differentiate tagger.onnx --task multi-label --batch-size 8 --out step.onnx
  ftsurgery differentiate mobilenet.onnx --trainable 'fc.*' --trainable 'block4*' \\
      --batch-size 32 --out step.onnx
  ftsurgery differentiate mobilenet.onnx --optimizer adamw --clip 1 --batch-size free --out step.onnx
  ftsurgery apply trained.npz mobilenet.onnx --out tuned.onnx
  ftsurgery differentiate mobilenet.onnx --format ort-training --batch-size free --out artifacts
  ftsurgery differentiate mobilenet.onnx --format web --classes cats,dogs --out page";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DifferentiateArgs {
    /// The model
    model: PathBuf,
    #[command(flatten)]
    output: values::OutputArg,
    /// The ONNX file to write; with --format ort-training or web the folder
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to write: an ONNX file, the files of onnxruntime's training API, or a page for a browser
    #[arg(long, value_name = "FORMAT", default_value = "onnx")]
    format: Format,
    #[command(flatten)]
    task: TaskArg,
    #[command(flatten)]
    trainable: TrainableArgs,
    /// Samples per run; the file is made for this number and no other. With --optimizer or --format ort-training also `free`: for
    /// any number
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch_size)]
    batch_size: Batch,
    /// Image size in pixels where the model leaves it open, or another than it declares: `224`, or
    /// HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", value_parser = parse_image_size)]
    image_size: Option<(usize, usize)>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    step: StepArgs,
    #[command(flatten)]
    web: WebArgs,
}

/// What is written.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// One file, of standard operators
    Onnx,
    /// `training_model.onnx`, `eval_model.onnx`, `optimizer_model.onnx` and `checkpoint`, for onnxruntime's training API
    OrtTraining,
    /// A page that trains a new head, and what else --trainable says, in a browser
    Web,
}

/// Reads a number of samples, or `free`.
fn batch_size(text: &str) -> Result<Batch, String> {
    match text {
        "free" => Ok(Batch::Any),
        text => Ok(Batch::Fixed(
            values::count(text).map_err(|e| format!("{e}, or `free`"))?,
        )),
    }
}

pub fn run(args: &DifferentiateArgs, context: &Context) -> Result<(), CliError> {
    match args.format {
        Format::OrtTraining => return ort_training::run(args, context),
        Format::Web => return web::run(args, context),
        Format::Onnx => {}
    }
    if let Some(kind) = args.step.optimizer {
        return training::run(args, kind, context);
    }
    if let Some(flag) = args.step.given() {
        return Err(
            CliError::usage(format!("{flag} is of a whole training step"))
                .with_hint("say by which --optimizer it trains: sgd, adam or adamw"),
        );
    }
    let Batch::Fixed(batch) = args.batch_size else {
        return Err(CliError::usage(
            "--batch-size free is for --optimizer and --format ort-training; gradients alone are written for one number of \
             samples",
        ));
    };
    let cannot = |e: std::io::Error| CliError::cannot_write(&args.out, &e);
    let file = Model::open(&args.model)?.with_scores(args.output.output.as_deref());
    values::ensure_writable(&args.out, "--out", &file.files(), args.force)?;
    let model = at_image_size(&file, args.image_size)?;
    let sample = sample_dims(&model, args.image_size)?;
    let task = args.task.of(&model, &sample)?;
    let all = Parameters::of(&model, &sample, task)?;
    let names = args.trainable.of(all, context)?;
    let mut made = differentiate(&model, &names, batch, &sample, task).map_err(|error| {
        let left = || differentiable(&model, &names, batch, &sample, task);
        no_gradient(error, left)
    })?;
    if made.freed.is_some() {
        // Nothing else here needs onnxruntime.
        match context.runtime() {
            Ok(runtime) => samples_stay_apart(&runtime, &model, &sample, task)?,
            Err(error) => context.note(&format!(
                "warning: that samples stay apart in a batch of {} was told by the operators alone, not by \
                 numbers: {error}",
                batch
            )),
        }
    }
    describe(&mut made, &file, task);
    let bytes = encode(&made.model)?;
    signals::before_stops(|| write_atomic(&args.out, &bytes)).map_err(cannot)?;
    tell(&made, args, task, context)
}

/// The name of a task's loss.
fn loss_of(task: Task) -> &'static str {
    match task {
        Task::SingleLabel => "cross-entropy",
        Task::MultiLabel | Task::Binary => "binary-cross-entropy",
    }
}

/// What the file says of itself.
fn describe(made: &mut Differentiated, source: &Model, task: Task) {
    let name = source.path().file_name().unwrap_or_default();
    let digest = Sha256::digest(source.file_bytes());
    let sha256 = crate::hex::encode(digest);
    made.model.doc_string = Some(format!(
        "Forward pass, loss and gradients of {}, written by ftsurgery.",
        name.display()
    ));
    for (key, value) in [
        ("kind", "gradients"),
        ("loss", loss_of(task)),
        ("task", &task.to_string()),
        ("version", env!("CARGO_PKG_VERSION")),
        ("source", &name.to_string_lossy()),
        ("source_sha256", &sha256),
        ("input.data", &made.data.name),
        ("input.labels", &made.labels.name),
        ("output.loss", &made.loss),
        ("output.logits", &made.logits.name),
    ] {
        set_metadata(&mut made.model, &format!("ftsurgery.{key}"), value);
    }
}

fn tell(
    made: &Differentiated,
    args: &DifferentiateArgs,
    task: Task,
    context: &Context,
) -> Result<(), CliError> {
    let dtype = match task.is_multi_label() {
        true => DataType::Float,
        false => DataType::Int64,
    };
    let labels = Value::fixed(&made.labels.name, dtype, &made.labels.dims);
    let parameters = made.parameters.iter();
    let gradients = made.gradients.iter().zip(&made.parameters);
    let sections = [
        Section {
            heading: "inputs",
            lines: vec![floats(&made.data.name, &made.data.dims), entry(&labels)],
            many: parameters.map(|p| floats(&p.name, &p.dims)).collect(),
        },
        Section {
            heading: "outputs",
            lines: vec![
                floats(&made.loss, &[]),
                floats(&made.logits.name, &made.logits.dims),
            ],
            many: gradients.map(|(name, p)| floats(name, &p.dims)).collect(),
        },
    ];
    told::tell(&sections, context)?;
    context.note(&format!("written to {}", args.out.display()));
    Ok(())
}

/// Dimensions of one sample: as the model declares them, with the image size where that is open.
fn sample_dims(model: &Model, image_size: Option<(usize, usize)>) -> Result<Vec<usize>, CliError> {
    let graph = Graph::from_model(model)?;
    let declared = graph.inputs.first().and_then(|i| i.dims.as_deref());
    let fixed: Option<Vec<usize>> = declared.and_then(|dims| {
        let known = dims.iter().skip(1).map(|d| match d {
            Dim::Known(d) => Some(*d),
            Dim::Symbolic(_) => None,
        });
        known.collect()
    });
    if let Some(dims) = fixed {
        return Ok(dims);
    }
    let input = ModelInput::of(&graph, &ModelCard::read(model)?, image_size, None, None)?;
    Ok(input
        .spec
        .sample_dims([input.channels, input.height, input.width]))
}
