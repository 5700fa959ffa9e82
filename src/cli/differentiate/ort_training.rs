//! `ftsurgery differentiate --format ort-training`: the files of onnxruntime's training API.

use crate::adapter::backbone_sha256;
use crate::classifier::at_image_size;
use crate::onnx::messages::ModelProto;
use crate::onnx::{Model, create_folder, encode, set_metadata, write_atomic};
use crate::report::plain_line;
use crate::training::{OptimizerKind, Parameters, differentiable};
use crate::training_graph::{OrtArtifacts, TrainingGraphError, TrainingOptions, ort_artifacts};

use super::told::{self, Section, entry, floats};
use super::training::{StepArgs, ensure_apart, loss_name, objective, opened, options};
use super::{DifferentiateArgs, sample_dims};
use crate::cli::gradients::no_gradient;
use crate::cli::{CliError, Context, signals, values};

const TRAINING_MODEL: &str = "training_model.onnx";
const EVAL_MODEL: &str = "eval_model.onnx";
const OPTIMIZER_MODEL: &str = "optimizer_model.onnx";
const CHECKPOINT: &str = "checkpoint";

pub fn run(args: &DifferentiateArgs, context: &Context) -> Result<(), CliError> {
    let step = &args.step;
    if step.state.is_some() {
        return Err(CliError::usage(
            "--state is not taken with --format ort-training, whose checkpoint holds the state",
        ));
    }
    let file = opened(args)?;
    for name in [TRAINING_MODEL, EVAL_MODEL, OPTIMIZER_MODEL, CHECKPOINT] {
        values::ensure_new(&args.out.join(name), "--out", &file.files(), args.force)?;
    }
    let model = at_image_size(&file, args.image_size)?;
    let sample = sample_dims(&model, args.image_size)?;
    let objective = objective(args, &model, &sample)?;
    let kind = step.optimizer.unwrap_or(OptimizerKind::Adamw);
    let mut options = options(args, kind, objective)?;
    if step.momentum.is_none() {
        // Its SGD has none.
        options.optimizer.momentum = 0.0;
    }
    let all = Parameters::of(&model, &sample, objective)?;
    let parameters = all.trainable.clone();
    let names = args.trainable.of(all, context)?;
    let backbone = backbone_sha256(&file)?;
    let chosen = (names.as_slice(), parameters.as_slice());
    let made = ort_artifacts(&model, &backbone, chosen, &sample, &options);
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
    for (part, what) in [
        (&mut made.training_model, "gradients"),
        (&mut made.eval_model, "evaluation"),
        (&mut made.optimizer_model, "optimizer"),
    ] {
        describe(part, what, &file, (&options, step), &backbone);
    }
    signals::before_stops(|| write(args, &made))?;
    tell(&made, context)?;
    context.note(&format!("written to {}", args.out.display()));
    Ok(())
}

fn write(args: &DifferentiateArgs, made: &OrtArtifacts) -> Result<(), CliError> {
    create_folder(&args.out).map_err(|e| CliError::cannot_write(&args.out, &e))?;
    for (name, bytes) in [
        (TRAINING_MODEL, &encode(&made.training_model)?),
        (EVAL_MODEL, &encode(&made.eval_model)?),
        (OPTIMIZER_MODEL, &encode(&made.optimizer_model)?),
        (CHECKPOINT, &made.checkpoint),
    ] {
        let path = args.out.join(name);
        write_atomic(&path, bytes).map_err(|e| CliError::cannot_write(&path, &e))?;
    }
    Ok(())
}

/// What one of the files says of itself.
fn describe(
    model: &mut ModelProto,
    kind: &str,
    source: &Model,
    (options, step): (&TrainingOptions, &StepArgs),
    backbone: &str,
) {
    let name = source.path().file_name().unwrap_or_default();
    let optimizer = options.optimizer.kind.to_string();
    for (key, value) in [
        ("kind", kind),
        ("format", "ort-training"),
        ("loss", &loss_name(options, step)),
        ("optimizer", &optimizer),
        ("version", env!("CARGO_PKG_VERSION")),
        ("source", &name.to_string_lossy()),
        ("source_sha256", backbone),
    ] {
        set_metadata(model, &format!("ftsurgery.{key}"), value);
    }
}

fn tell(made: &OrtArtifacts, context: &Context) -> Result<(), CliError> {
    let parameters = |heading, of: &[(String, Vec<usize>)]| Section {
        heading,
        lines: Vec::new(),
        many: of.iter().map(|(name, dims)| floats(name, dims)).collect(),
    };
    let scores = made.scores.iter();
    let scores = scores.map(|scores| format!("{}, of the evaluation alone", plain_line(scores)));
    let sections = [
        Section {
            heading: "inputs",
            lines: made.inputs.iter().map(entry).collect(),
            many: Vec::new(),
        },
        parameters("trained", &made.trained),
        parameters("frozen", &made.frozen),
        Section {
            heading: "outputs",
            lines: std::iter::once(floats(&made.loss, &[]))
                .chain(scores)
                .collect(),
            many: Vec::new(),
        },
    ];
    told::tell(&sections, context)
}
