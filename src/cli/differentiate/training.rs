//! `ftsurgery differentiate --optimizer`: a graph that trains, and the state before its first step.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use crate::adapter::backbone_sha256;
use crate::autodiff::Targets;
use crate::classifier::{ModelCard, at_image_size};
use crate::graph::{Graph, GraphError, Value};
use crate::onnx::{Model, encode, set_metadata, write_atomic};
use crate::task::Task;
use crate::training::{
    BatchNormMode, Objective, Optimizer, OptimizerKind, Parameters, differentiable, own_task,
    samples_stay_apart,
};
use crate::training_graph::{
    Contract, Slot, TrainingGraph, TrainingGraphError, TrainingOptions, VERSION, training_graph,
};
use clap::Args;

use super::told::{self, Section, entry, floats};
use super::{DifferentiateArgs, loss_of, sample_dims};
use crate::cli::gradients::no_gradient;
use crate::cli::{CliError, Context, signals, values};

/// Flags of a whole training step.
#[derive(Args)]
#[command(next_help_heading = "Training step")]
pub struct StepArgs {
    /// Write a graph that trains, with this optimizer: `sgd`, `adam` or `adamw`. Beside it goes the state before the first
    /// step. The learning rate is an input of the graph
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<OptimizerKind>,
    /// What is made smaller: `cross-entropy` of a softmax; `bce`, the binary cross-entropy of sigmoids (of several classes, or
    /// of one output); `mse`, the mean squared difference of the output from float targets of its dimensions; or a value of
    /// the model that is one number, by its name: the model may then have inputs beside its data [default: what --task
    /// says]
    #[arg(long, value_name = "LOSS")]
    loss: Option<LossArg>,
    /// Spread this share of every target over all classes
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    label_smoothing: Option<f32>,
    /// How much samples of each class count, a number for each: the sum over a batch is divided by the number of samples. With
    /// `bce` it is what a sample is of that counts so
    #[arg(long, value_name = "W,W,…", value_delimiter = ',', value_parser = values::at_least_0)]
    class_weights: Option<Vec<f32>>,
    /// Weight decay [default: 0.01 of adamw, else 0]
    #[arg(long, value_name = "RATE", value_parser = values::at_least_0)]
    weight_decay: Option<f32>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    pub momentum: Option<f32>,
    /// Shorten the gradient, of all parameters as one vector, to this length where it is longer
    #[arg(long, value_name = "NORM", value_parser = values::above_0)]
    clip: Option<f32>,
    /// Keep an average of parameters and running statistics, of which each step keeps this share (of the first steps less);
    /// `apply` takes it
    #[arg(long, value_name = "DECAY", value_parser = values::inside_1)]
    ema: Option<f32>,
    /// Which statistics a trained BatchNormalization takes: the stored ones (`frozen`), or those of the batch, which the
    /// stored ones follow (`batch`) [default: frozen]
    #[arg(long, value_name = "MODE")]
    bn: Option<BatchNormMode>,
    /// Where to write the state before the first step: of NumPy's arrays where the name ends in `.npz`, else safetensors
    /// [default: the file of --out with `.safetensors`]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

impl StepArgs {
    /// Whether a loss is asked for.
    pub(super) fn has_loss(&self) -> bool {
        self.loss.is_some()
    }

    /// A flag that is given, of those that say how a step trains.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--loss", self.loss.is_some()),
            ("--label-smoothing", self.label_smoothing.is_some()),
            ("--class-weights", self.class_weights.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--momentum", self.momentum.is_some()),
            ("--clip", self.clip.is_some()),
            ("--ema", self.ema.is_some()),
            ("--bn", self.bn.is_some()),
            ("--state", self.state.is_some()),
        ];
        let given = flags.into_iter().find(|(_, given)| *given);
        given.map(|(flag, _)| flag)
    }
}

/// Which loss is asked for.
#[derive(Clone, Debug)]
enum LossArg {
    CrossEntropy,
    BinaryCrossEntropy,
    SquaredError,
    Value(String),
}

impl FromStr for LossArg {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(match name {
            "cross-entropy" => LossArg::CrossEntropy,
            "bce" => LossArg::BinaryCrossEntropy,
            "mse" => LossArg::SquaredError,
            value => LossArg::Value(value.to_owned()),
        })
    }
}

pub fn run(
    args: &DifferentiateArgs,
    kind: OptimizerKind,
    context: &Context,
) -> Result<(), CliError> {
    let step = &args.step;
    let state = match &step.state {
        Some(state) => state.clone(),
        None => args.out.with_extension("safetensors"),
    };
    if state == args.out {
        return Err(CliError::usage(format!(
            "{} is the file of --out, and would be that of the state",
            state.display()
        ))
        .with_hint("choose another file with --state"));
    }
    let file = opened(args)?;
    for (path, flag) in [(&args.out, "--out"), (&state, "--state")] {
        values::ensure_writable(path, flag, &file.files(), args.force)?;
    }
    let model = at_image_size(&file, args.image_size)?;
    let sample = sample_dims(&model, args.image_size)?;
    let objective = objective(args, &model, &sample)?;
    let options = options(args, kind, objective)?;
    let all = Parameters::of(&model, &sample, objective)?;
    let names = args.trainable.of(all, context)?;
    let backbone = backbone_sha256(&file)?;
    let made = training_graph(&model, &backbone, &names, &sample, &options);
    let mut made = made.map_err(|error| match error {
        TrainingGraphError::Training(error) => {
            let left = || differentiable(&model, &names, 2, &sample, objective);
            no_gradient(error, left)
        }
        error => error.into(),
    })?;
    if made.freed.is_some() {
        ensure_apart(&model, &sample, objective, context)?;
    }
    describe(&mut made, &file, (&options, step), &backbone);
    let bytes = encode(&made.model)?;
    signals::before_stops(|| {
        made.state.write(&state)?;
        let written = write_atomic(&args.out, &bytes);
        written.map_err(|e| CliError::cannot_write(&args.out, &e))
    })?;
    tell(&made.contract, context)?;
    context.note(&format!(
        "written to {}, the state before the first step to {}",
        args.out.display(),
        state.display()
    ));
    Ok(())
}

/// The model, asked for what the loss is taken of, or for the loss.
pub(super) fn opened(args: &DifferentiateArgs) -> Result<Model, CliError> {
    let file = Model::open(&args.model)?.with_scores(asked_value(args)?);
    match (&args.step.loss, Graph::from_model(&file)) {
        (Some(LossArg::Value(_)), Err(GraphError::NoScores { value, outputs })) => {
            Err(CliError::usage(format!(
                "--loss: `{value}` is none of cross-entropy, bce and mse, and no value of the model; its outputs are {outputs}"
            )))
        }
        _ => Ok(file),
    }
}

/// The value of the model that is asked for: what the loss is taken of, or the loss.
pub(super) fn asked_value(args: &DifferentiateArgs) -> Result<Option<&str>, CliError> {
    match (&args.step.loss, &args.output.output) {
        (Some(LossArg::Value(_)), Some(_)) => Err(CliError::usage(
            "--output is not taken with a value of the model as --loss",
        )),
        (Some(LossArg::Value(value)), None) => Ok(Some(value)),
        (_, output) => Ok(output.as_deref()),
    }
}

/// What is made smaller.
pub(super) fn objective(
    args: &DifferentiateArgs,
    model: &Model,
    sample: &[usize],
) -> Result<Objective, CliError> {
    let asked = args.task.asked();
    let unfit = |loss: &str, task: Task| {
        CliError::usage(format!(
            "--loss {loss} is not that of the task {task}; leave one of --loss and --task out"
        ))
    };
    match &args.step.loss {
        None => Ok(args.task.of(model, sample)?.into()),
        Some(LossArg::CrossEntropy) => match args.task.of(model, sample)? {
            Task::SingleLabel => Ok(Task::SingleLabel.into()),
            task => Err(unfit("cross-entropy", task)),
        },
        Some(LossArg::BinaryCrossEntropy) => {
            let said = asked.or(ModelCard::read(model)?.task);
            match (said, own_task(model, sample, said)?) {
                (Some(Task::SingleLabel), task) => Err(unfit("bce", task)),
                (None, Task::SingleLabel) => Ok(Task::MultiLabel.into()),
                (_, task) => Ok(task.into()),
            }
        }
        Some(LossArg::SquaredError | LossArg::Value(_)) if asked.is_some() => Err(CliError::usage(
            "--task is of classifiers; it is not taken with --loss mse or a value of the model",
        )),
        Some(LossArg::SquaredError) => Ok(Objective::SquaredError),
        Some(LossArg::Value(_)) => Ok(Objective::Output),
    }
}

pub(super) fn options(
    args: &DifferentiateArgs,
    kind: OptimizerKind,
    objective: Objective,
) -> Result<TrainingOptions, CliError> {
    let step = &args.step;
    let mut optimizer = Optimizer::new(kind);
    values::set(&mut optimizer.weight_decay, &step.weight_decay);
    values::set(&mut optimizer.momentum, &step.momentum);
    if step.momentum.is_some() && kind != OptimizerKind::Sgd {
        return Err(CliError::usage("--momentum: only --optimizer sgd has one"));
    }
    let has_targets = step.label_smoothing.is_some() || step.class_weights.is_some();
    if has_targets && !matches!(objective, Objective::Task(_)) {
        return Err(CliError::usage(
            "--label-smoothing and --class-weights are of classes, which --loss mse or a value of the model does not know",
        ));
    }
    let targets = Targets {
        class_weights: step.class_weights.clone(),
        smoothing: step.label_smoothing.unwrap_or(0.0),
    };
    Ok(TrainingOptions::new(objective, optimizer)
        .targets(targets)
        .clip_norm(step.clip)
        .ema(step.ema)
        .batch_norm(step.bn.unwrap_or_default())
        .batch(args.batch_size))
}

/// Looks by numbers at whether a model that was freed from its batch size keeps samples apart.
pub(super) fn ensure_apart(
    model: &Model,
    sample: &[usize],
    objective: Objective,
    context: &Context,
) -> Result<(), CliError> {
    let why = match (objective, context.runtime()) {
        (Objective::Task(task), Ok(runtime)) => {
            return Ok(samples_stay_apart(&runtime, model, sample, task)?);
        }
        (Objective::Task(_), Err(error)) => error.to_string(),
        _ => "the model is no classifier".to_owned(),
    };
    context.note(&format!(
        "warning: that samples stay apart in a batch of another size than the export's was told by the operators \
         alone, not by numbers: {why}"
    ));
    Ok(())
}

/// What is made smaller, as metadata say it.
pub(super) fn loss_name(options: &TrainingOptions, step: &StepArgs) -> String {
    match (options.objective, &step.loss) {
        (Objective::Task(task), _) => loss_of(task).to_owned(),
        (_, Some(LossArg::Value(value))) => value.clone(),
        _ => "mse".to_owned(),
    }
}

/// What the file says of itself.
fn describe(
    made: &mut TrainingGraph,
    source: &Model,
    (options, step): (&TrainingOptions, &StepArgs),
    backbone: &str,
) {
    let name = source.path().file_name().unwrap_or_default();
    made.model.doc_string = Some(format!(
        "A training step of {}, written by ftsurgery.",
        name.display()
    ));
    let contract = &made.contract;
    let named = |value: &Option<Value>| value.as_ref().map(|v| v.name.clone());
    let data = contract.inputs.first().map(|input| input.name.clone());
    let Optimizer {
        kind,
        weight_decay,
        momentum,
        ..
    } = options.optimizer;
    let loss = loss_name(options, step);
    let task = match options.objective {
        Objective::Task(task) => Some(task.to_string()),
        _ => None,
    };
    let number = |value: Option<f32>| value.map(|value| value.to_string());
    let all = [
        ("kind", Some("training".to_owned())),
        ("contract", Some(VERSION.to_string())),
        ("loss", Some(loss)),
        ("task", task),
        ("optimizer", Some(kind.to_string())),
        ("weight_decay", Some(weight_decay.to_string())),
        (
            "momentum",
            number((kind == OptimizerKind::Sgd).then_some(momentum)),
        ),
        ("clip", number(options.clip_norm)),
        ("ema", number(options.ema)),
        ("bn", Some(options.batch_norm.to_string())),
        ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("source", Some(name.to_string_lossy().into_owned())),
        ("source_sha256", Some(backbone.to_owned())),
        ("input.data", data),
        ("input.labels", named(&contract.labels)),
        ("input.learning_rate", Some(contract.learning_rate.clone())),
        ("output.loss", Some(contract.loss.clone())),
        ("output.logits", named(&contract.logits)),
    ];
    for (key, value) in all {
        if let Some(value) = value {
            set_metadata(&mut made.model, &format!("ftsurgery.{key}"), &value);
        }
    }
}

fn tell(contract: &Contract, context: &Context) -> Result<(), CliError> {
    let of_slot = |slot: Slot| entry(&Value::fixed(&slot.name(), slot.dtype, &slot.dims));
    let own = contract.inputs.iter().chain(&contract.labels).map(entry);
    let rate = floats(&contract.learning_rate, &[]);
    let loss = floats(&contract.loss, &[]);
    let sections = [
        Section {
            heading: "inputs",
            lines: own.chain([rate]).collect(),
            many: Vec::new(),
        },
        Section {
            heading: "state, inputs and as `next/…` outputs",
            lines: Vec::new(),
            many: contract.state.iter().cloned().map(of_slot).collect(),
        },
        Section {
            heading: "outputs",
            lines: std::iter::once(loss)
                .chain(contract.logits.iter().map(entry))
                .collect(),
            many: Vec::new(),
        },
    ];
    told::tell(&sections, context)
}
