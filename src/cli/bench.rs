//! `ftsurgery bench`: how long a training step takes on this machine.

use std::io::Write;
use std::path::PathBuf;

use crate::classifier::{ModelCard, ModelInput, parse_image_size};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::training::{Bench, BenchOptions, Optimizer, OptimizerKind, Parameters, StepSeconds};
use clap::Args;
use serde_json::json;

use super::task::TaskArg;
use super::trainable::TrainableArgs;
use super::values::{self, ComputeArgs};
use super::{CliError, Context, memory};

const EXAMPLES: &str = "\
A step is the forward pass, the loss, the gradients and Adam's update for one batch of made-up \
samples with the model's own classifier. Nothing is read from disk meanwhile, and the outputs of \
frozen layers are computed anew in every step; `tune` keeps them, and is faster by that much. \
BatchNormalization uses its stored statistics.

Floating-point operations are two per multiply-accumulate of the convolutions and dense products: \
those of the forward pass, and as many again for each trained weight and for each layer input on \
the way to one.

Examples:
  ftsurgery bench mobilenet.onnx --batch-size 8
  ftsurgery bench mobilenet.onnx --image-size 224 --threads 2 --json
  ftsurgery bench mobilenet.onnx --trainable 'features.17.*' --trainable 'classifier.*'
  ftsurgery bench tagger.onnx --task multi-label";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BenchArgs {
    /// The ONNX model
    model: PathBuf,
    #[command(flatten)]
    output: values::OutputArg,
    #[command(flatten)]
    task: TaskArg,
    #[command(flatten)]
    trainable: TrainableArgs,
    /// Samples per step
    #[arg(long, value_name = "N", default_value = "4", value_parser = values::count)]
    batch_size: usize,
    /// Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", value_parser = parse_image_size)]
    image_size: Option<(usize, usize)>,
    /// Steps that are timed
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::count)]
    steps: usize,
    /// Steps before those, not timed
    #[arg(long, value_name = "N", default_value_t = 2)]
    warmup: usize,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Learning rate of Adam; 0 leaves the weights as they are
    #[arg(long, value_name = "RATE", default_value = "1e-4", value_parser = values::at_least_0)]
    lr: f32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &BenchArgs, context: &Context) -> Result<(), CliError> {
    let model = Model::open(&args.model)?.with_scores(args.output.output.as_deref());
    let input = ModelInput::of(
        &Graph::from_model(&model)?,
        &ModelCard::read(&model)?,
        args.image_size,
        None,
        None,
    )?;
    let sample = input
        .spec
        .sample_dims([input.channels, input.height, input.width]);
    context.note(&format!(
        "{}: made-up images of {} × {} pixels, without preprocessing",
        args.model.display(),
        input.height,
        input.width
    ));
    let task = args.task.of(&model, &sample)?;
    let all = Parameters::of(&model, &sample, task)?;
    let options = BenchOptions {
        task,
        trainable: args.trainable.of(all, context)?,
        batch_size: args.batch_size,
        optimizer: Optimizer {
            kind: OptimizerKind::Adam,
            learning_rate: args.lr.into(),
            weight_decay: 0.0,
            momentum: 0.0,
        },
        operators: args.compute.operators()?,
        device: args.compute.device.device(),
        threads: args.compute.device.threads(),
        optimizer_in_graph: args.compute.optimizer_in_graph(),
        tf32: args.compute.tf32(),
    };
    if args.compute.tf32_elsewhere() {
        return Err(CliError::usage(
            "--tf32 does nothing here: it is for a GPU, and --device is the processor",
        ));
    }
    let runtime = context.runtime()?;
    options.device.check(&runtime)?;
    let mut bench = Bench::new(&runtime, &model, &sample, &options)?;

    let mut losses = Vec::with_capacity(args.warmup + args.steps);
    for _ in 0..args.warmup {
        losses.push(bench.step()?.1);
    }
    let peak_of_setup = memory::peak();
    let restarted = memory::restart_peak();
    let mut times = Vec::with_capacity(args.steps);
    for _ in 0..args.steps {
        let (seconds, loss) = bench.step()?;
        times.push(seconds);
        losses.push(loss);
    }
    let peak_of_steps = memory::peak().filter(|_| restarted);
    let peak = peak_of_setup.max(memory::peak());

    let median = |of: fn(&StepSeconds) -> f64| median(times.iter().map(of).collect());
    let seconds = median(StepSeconds::total);
    let fastest = times
        .iter()
        .map(StepSeconds::total)
        .fold(f64::INFINITY, f64::min);
    let flops = bench.flops();
    let rate = flops.map(|f| f.total() as f64 / seconds);
    let mut out = context.stdout();
    if args.json {
        let report = json!({
            "model": args.model.display().to_string(),
            "sample": sample,
            "batch_size": args.batch_size,
            "task": task,
            "trained": options.trainable,
            "trained_values": bench.trained_values(),
            "threads": options.threads,
            "operators": options.operators,
            "device": options.device.to_string(),
            "optimizer_in_graph": options.optimizer_in_graph,
            "tf32": options.tf32,
            "steps": args.steps,
            "warmup": args.warmup,
            "seconds": {
                "median": seconds,
                "fastest": fastest,
                "prefix": median(|s| s.prefix),
                "gradients": median(|s| s.gradients),
                "update": median(|s| s.update),
                "all": times.iter().map(StepSeconds::total).collect::<Vec<_>>(),
            },
            "flops": flops,
            "flops_per_second": rate,
            "peak_memory": { "steps": peak_of_steps, "process": peak },
            "losses": losses,
            "versions": {
                "ftsurgery": env!("CARGO_PKG_VERSION"),
                "onnxruntime": runtime.version().to_string(),
            },
        });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{} samples of {sample:?}; {} values in {} tensors trained",
        args.batch_size,
        bench.trained_values(),
        options.trainable.len()
    )?;
    writeln!(
        out,
        "step       {seconds:.4} s (median of {}; fastest {fastest:.4} s)",
        args.steps
    )?;
    writeln!(out, "  prefix     {:.4} s", median(|s| s.prefix))?;
    writeln!(out, "  gradients  {:.4} s", median(|s| s.gradients))?;
    match options.optimizer_in_graph {
        true => writeln!(out, "  update     with the gradients, in the graph")?,
        false => writeln!(out, "  update     {:.4} s", median(|s| s.update))?,
    }
    if let (Some(flops), Some(rate)) = (flops, rate) {
        writeln!(
            out,
            "work       {:.2} GFLOP ({:.2} forward), {:.1} GFLOP/s",
            flops.total() as f64 / 1e9,
            flops.forward as f64 / 1e9,
            rate / 1e9
        )?;
    }
    if let Some(bytes) = peak_of_steps.or(peak) {
        writeln!(
            out,
            "memory     {:.0} MiB at most",
            bytes as f64 / f64::from(1 << 20)
        )?;
    }
    Ok(())
}

/// The middle one of some numbers, of which there is at least one; the mean of the two in the
/// middle of an even count.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let upper = numbers.len() / 2;
    let lower = (numbers.len() - 1) / 2;
    (numbers[lower] + numbers[upper]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
