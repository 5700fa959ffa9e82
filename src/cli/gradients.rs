//! `ftsurgery gradients`.

use std::io::Write;
use std::path::PathBuf;

use crate::autodiff::Operators;
use crate::classifier::InputSpec;
use crate::data::{Dataset, Layout, Limits, OpenOptions, Preprocess, Sources};
use crate::graph::{Dim, Graph};
use crate::onnx::{Model, write_atomic};
use crate::runtime::Device;
use crate::surgery::{Grafted, HeadKind, HeadSpec, Rewrite, graft};
use crate::task::Task;
use crate::training::{
    BatchNormMode, Gradient, Lab, LabOptions, OwnHead, Parameters, Start, Trained, TrainingError,
    differentiable,
};
use ndarray::{ArrayD, IxDyn, arr0};
use ndarray_npy::NpzWriter;

use super::task::TaskArg;
use super::trainable::TrainableArgs;
use super::{CliError, Context, signals, values};

/// Bytes of an array's name in an .npz file, less `grad/` and `.npy`.
const LONGEST_NAME: usize = u16::MAX as usize - 9;

/// Compute the loss and its gradients for one batch.
///
/// The loss is the mean cross-entropy of the model's output (taken before a final softmax) against
/// the labels, or with `--task` the mean binary cross-entropy (taken before final sigmoids).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ftsurgery gradients model.onnx --batch batch.npz --out grads.npz
  ftsurgery gradients model.onnx --batch batch.npz --out grads.npz --trainable 'block4*'
  ftsurgery gradients tagger.onnx --batch batch.npz --out grads.npz --task multi-label")]
pub struct GradientsArgs {
    /// The model
    model: PathBuf,
    #[command(flatten)]
    output: values::OutputArg,
    #[command(flatten)]
    task: TaskArg,
    /// The batch: an .npz file with `x` (N, C, H, W; float32) and `y` (int64; N: the class of each sample; or N,
    /// classes: 1 for each class that a sample is of and 0 for the others, which says `--task multi-label`; of
    /// `--task binary` also N, 1)
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,
    /// Where to write the arrays `loss` and `grad/NAME`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    trainable: TrainableArgs,
    /// BatchNormalization whose scale or bias is among them takes its stored statistics (`frozen`)
    /// or those of the batch (`batch`); all others the stored ones
    #[arg(long, value_name = "MODE", default_value = "frozen")]
    bn: BatchNormMode,
    /// What is computed with: ftsurgery's own kernels where there are any (`kernels`, on the
    /// processor), or operators of the ONNX standard alone (`standard`) [default: kernels]
    #[arg(long, value_name = "KIND")]
    operators: Option<Operators>,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

pub fn run(args: &GradientsArgs, context: &Context) -> Result<(), CliError> {
    let model = Model::open(&args.model)?.with_scores(args.output.output.as_deref());
    values::ensure_not_read(&args.out, &model.files())?;
    values::ensure_not_read(&args.out, &[&args.batch])?;
    let (sample, layout) = sample_dims(&model, &args.batch)?;
    let [channels, height, width] = sample;
    let dims = layout.sample([channels, height, width]);
    let own = args.task.of(&model, &dims)?;
    let mut sources = Sources::default();
    let told = Some(own).filter(|&own| own != Task::SingleLabel);
    sources.task = args.task.asked().or(told);
    let options = OpenOptions {
        sources: Some(&sources),
        ..OpenOptions::new(height, width, channels)
    };
    let limits = Limits {
        threads: args.threads,
        classes: 1,
        ..Limits::default()
    };
    let batch = Dataset::open_within(&args.batch, &options, &limits)?;
    if batch.is_images() {
        return Err(CliError::usage(format!(
            "`x` of {} holds pixels (uint8); gradients are taken of what the model reads, as float32",
            args.batch.display()
        )));
    }
    let task = match batch.task() {
        Task::MultiLabel => Task::MultiLabel,
        _ => own,
    };
    let OwnHead { outputs, .. } = OwnHead::of(&model, &Graph::from_model(&model)?, &dims)?;
    if task.is_multi_label() && batch.classes().len() != outputs {
        return Err(CliError::usage(format!(
            "`y` of {} tells of {} classes, and the model has {outputs}: it is [N, {outputs}], 1 for each class that a \
             sample is of and 0 for the others",
            args.batch.display(),
            batch.classes().len()
        )));
    }
    let all = Parameters::of(&model, &dims, task)?;
    let names = args.trainable.of(all, context)?;
    if let Some(long) = names.iter().find(|name| name.len() > LONGEST_NAME) {
        let start: String = long.chars().take(40).collect();
        return Err(CliError::usage(format!(
            "the name of the parameter `{start}…` has {} bytes, and one in an .npz file at most \
             {LONGEST_NAME}; leave it out with --trainable",
            long.len()
        )));
    }
    let network = keep(&model, task)?;
    let runtime = context.runtime()?;
    let input = InputSpec {
        preprocess: Preprocess::UNIT,
        layout,
    };
    let lab_options = LabOptions::default()
        .device(args.device)
        .threads(args.threads)
        .memory_budget(1 << 30)
        .operators(values::operators(args.operators, args.device)?);
    let lab = Lab::new(&runtime, &network, &batch, input, lab_options)?;
    let rows: Vec<usize> = (0..batch.len()).collect();
    let trained = Trained {
        parameters: &names,
        batch_norm: args.bn,
        rewrite: &Rewrite::None,
    };
    if let Some(note) = lab.batch_norm_note(trained)? {
        context.note(&format!("warning: {note}"));
    }
    let (loss, gradients) = lab
        .gradients(trained, &Start::default(), &rows)
        .map_err(|error| {
            let left = || differentiable(&model, &names, rows.len(), &dims, task);
            no_gradient(error, left)
        })?;
    write_npz(args, loss, &gradients)?;
    writeln!(
        context.stdout(),
        "loss {loss}{} over {} samples; {} gradients in {}",
        match task {
            Task::SingleLabel => "",
            Task::MultiLabel | Task::Binary => " (binary cross-entropy)",
        },
        batch.len(),
        gradients.len(),
        args.out.display()
    )?;
    let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
    let odd = gradients.iter().find(|g| !finite(&g.values));
    match odd {
        Some(gradient) => Err(CliError::failure(format!(
            "the gradient of `{}` has values that are not finite (loss {loss})",
            gradient.name
        ))),
        None if !loss.is_finite() => Err(CliError::failure(format!(
            "the loss is {loss}: the model's outputs are not finite"
        ))),
        None => Ok(()),
    }
}

/// The error, and where an operator has no gradient the parameters that lie behind it.
pub(super) fn no_gradient(
    error: TrainingError,
    left: impl FnOnce() -> Result<Vec<String>, TrainingError>,
) -> CliError {
    if !matches!(error, TrainingError::Autodiff(_)) {
        return error.into();
    }
    let hint = match left() {
        Err(_) => return error.into(),
        Ok(left) if left.is_empty() => "no parameter lies behind it".to_owned(),
        Ok(left) => format!(
            "these have gradients, choose among them with --trainable: {}",
            values::some(&left)
        ),
    };
    CliError::from(error).with_hint(hint)
}

/// Channels, height and width of a sample, and the axis order of the model's input; spatial sizes
/// that the model leaves open are the batch's.
fn sample_dims(model: &Model, batch: &std::path::Path) -> Result<([usize; 3], Layout), CliError> {
    let graph = Graph::from_model(model)?;
    let declared = graph
        .inputs
        .first()
        .and_then(|i| i.dims.clone())
        .unwrap_or_default();
    let known = |i: usize| match declared.get(i) {
        Some(Dim::Known(d)) => Some(*d),
        _ => None,
    };
    let layout = match (known(1), known(3)) {
        (c, Some(1 | 3)) if !matches!(c, Some(1 | 3)) => Layout::Nhwc,
        _ => Layout::Nchw,
    };
    let mut sample = [0; 3];
    let given = crate::data::npz_sample_shape(batch)?;
    for (i, axis) in layout.axes().into_iter().enumerate() {
        sample[i] = known(axis).unwrap_or(given[i]);
    }
    Ok((sample, layout))
}

/// The model with its own head, of two classes at least; whether the labels fit the lab checks.
fn keep(model: &Model, task: Task) -> Result<Grafted, CliError> {
    let spec = HeadSpec {
        task,
        ..HeadSpec::new(HeadKind::Keep, 2, 0)
    };
    Ok(graft(model, None, &spec)?)
}

fn write_npz(args: &GradientsArgs, loss: f32, gradients: &[Gradient]) -> Result<(), CliError> {
    let fail = |e: &dyn std::fmt::Display| {
        CliError::failure(format!("cannot write {}: {e}", args.out.display()))
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut npz = NpzWriter::new(&mut bytes);
    npz.add_array("loss", &arr0(loss)).map_err(|e| fail(&e))?;
    for gradient in gradients {
        let array = ArrayD::from_shape_vec(IxDyn(&gradient.dims), gradient.values.clone())
            .map_err(|e| fail(&e))?;
        npz.add_array(format!("grad/{}", gradient.name), &array)
            .map_err(|e| fail(&e))?;
    }
    npz.finish().map_err(|e| fail(&e))?;
    signals::before_stops(|| write_atomic(&args.out, bytes.get_ref()))
        .map_err(|e| CliError::cannot_write(&args.out, &e))
}
