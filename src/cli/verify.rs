//! `ftsurgery verify`: whether a model is well-formed, and what runtimes make of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::onnx::Model;
use crate::report;
use crate::verify::{self, Asked, Outputs, Structure};
use clap::Args;
use serde_json::json;

use super::{CliError, Context, SUCCESS};

const EXAMPLES: &str = "\
First the form is looked at, as `onnx.checker` does with its full check, and all faults are told: versions, names, the order of \
nodes and circles, operators, attributes, element types, dimensions, tensors and where their data lie, inner graphs, functions. \
Weights are not read for it.

Then the model is run in every runtime at hand on the same inputs: onnxruntime's library and tract; onnxruntime and OpenVINO of \
Python (FTSURGERY_PYTHON, else python3); onnxruntime-node of node. Each has a process of its own; one that is not there, or refuses \
the model, is told in a line. Inputs are random, of the declared types and dimensions (floats from -1 to 1, bytes of any value, \
other whole numbers 0 or 1). Without --against, outputs are held against those of the first runtime that runs the model; with it, \
those of OTHER against those of MODEL in each runtime.

A difference is the largest of an output's elements, over the largest size of what it is held against where that is above 1.

Exit codes: 0 it holds: well-formed, and outputs within --tolerance wherever there are any; 1 it does not; 2 trouble of any kind, a \
file that is no ONNX model for one.

Examples:
  ftsurgery verify model.onnx
  ftsurgery verify model.onnx --structure
  ftsurgery verify model.onnx --against model.fp16.onnx --tolerance 1e-2
  ftsurgery verify mobilenet.onnx --against run/winners/blocks.onnx --tolerance inf --latency
  ftsurgery verify detector.onnx --dim height=320 --dim width=320 --inputs sample.npz --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The ONNX model
    #[arg(required_unless_present = "job")]
    model: Option<PathBuf>,
    /// Hold the outputs of this model against those of MODEL
    #[arg(long, value_name = "OTHER")]
    against: Option<PathBuf>,
    /// How far outputs may lie apart; `inf`: as far as they like
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4, value_parser = tolerance)]
    tolerance: f64,
    /// Look at the form alone, and run nothing
    #[arg(long, conflicts_with_all = ["against", "latency", "inputs"])]
    structure: bool,
    /// Arrays for the inputs, by their names
    #[arg(long, value_name = "FILE.npz")]
    inputs: Option<PathBuf>,
    /// Size of an open dimension, 1 where none is given
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    dims: Vec<(String, usize)>,
    /// Seed of random inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Time the models, in turns
    #[arg(long)]
    latency: bool,
    /// For how long each model is timed in each runtime
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3,
        requires = "latency"
    )]
    latency_seconds: u64,
    /// How long a runtime may take for loading and one run
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    time_limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Answer this job: how the command runs a runtime in a process of its own
    #[arg(long, hide = true, conflicts_with_all = ["model", "against"])]
    job: Option<PathBuf>,
}

/// Exit code of a model that does not hold.
const FAULTY: u8 = 1;
/// Exit code of trouble.
const TROUBLE: u8 = 2;
/// Exit code of a job whose runtime is not there.
const ABSENT: u8 = 3;

fn tolerance(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match value >= 0.0 {
        true => Ok(value),
        false => Err("not a number from 0 on".to_owned()),
    }
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let wanted = || "not of the form NAME=N with a size from 1 on".to_owned();
    let (name, size) = text.split_once('=').ok_or_else(wanted)?;
    let size = size
        .parse()
        .ok()
        .filter(|&size| size > 0)
        .ok_or_else(wanted)?;
    Ok((name.to_owned(), size))
}

pub fn run(args: &VerifyArgs, context: &Context) -> Result<u8, CliError> {
    if let Some(job) = &args.job {
        verify::answer_job(job, || context.runtime().map_err(absent))?;
        return Ok(SUCCESS);
    }
    // clap lets none through without.
    let model = args.model.as_deref().unwrap_or(Path::new(""));
    verified(args, model, context).map_err(|error| error.with_code(TROUBLE))
}

/// That onnxruntime's library is not there, in a line.
fn absent(error: CliError) -> CliError {
    let message = error.message();
    let line = message.lines().next().unwrap_or_default();
    CliError::failure(line).with_code(ABSENT)
}

fn verified(args: &VerifyArgs, path: &Path, context: &Context) -> Result<u8, CliError> {
    let paths: Vec<PathBuf> = std::iter::once(path.to_owned())
        .chain(args.against.clone())
        .collect();
    let mut structures: Vec<(String, Structure)> = Vec::new();
    for path in &paths {
        let model = Model::open_outline(path)?;
        structures.push((path.display().to_string(), verify::structure(&model)));
    }
    let well_formed = structures.iter().all(|(_, found)| found.faults.is_empty());
    let outputs = match well_formed && !args.structure {
        true => Some(outputs(args, &paths, context)?),
        false => None,
    };
    let holds = well_formed && outputs.as_ref().is_none_or(Outputs::holds);
    print(args, &structures, outputs.as_ref(), holds, context)?;
    Ok(match holds {
        true => SUCCESS,
        false => FAULTY,
    })
}

fn outputs(args: &VerifyArgs, paths: &[PathBuf], context: &Context) -> Result<Outputs, CliError> {
    let dims: BTreeMap<String, usize> = args.dims.iter().cloned().collect();
    let model = Model::open_outline(&paths[0])?;
    let inputs = verify::inputs(&model, args.inputs.as_deref(), &dims, args.seed)?;
    let mut arguments: Vec<OsString> = vec!["--quiet".into()];
    if let Some(runtime) = context.explicit_runtime() {
        arguments.extend(["--runtime".into(), runtime.into_os_string()]);
    }
    arguments.extend(["verify".into(), "--job".into()]);
    let asked = Asked {
        models: paths.to_vec(),
        inputs: &inputs,
        tolerance: args.tolerance,
        limit: Duration::from_secs(args.time_limit),
        latency: args
            .latency
            .then(|| Duration::from_secs(args.latency_seconds)),
    };
    Ok(verify::outputs(
        &asked,
        &verify::runners(context.program(), &arguments),
    )?)
}

fn print(
    args: &VerifyArgs,
    structures: &[(String, Structure)],
    outputs: Option<&Outputs>,
    holds: bool,
    context: &Context,
) -> Result<(), CliError> {
    let mut out = BufWriter::new(context.stdout());
    if args.json {
        let models = structures
            .iter()
            .map(|(path, found)| json!({"path": path, "structure": found}));
        let told = json!({
            "holds": holds,
            "models": models.collect::<Vec<_>>(),
            "outputs": outputs,
        });
        serde_json::to_writer_pretty(&mut out, &told)?;
        writeln!(out)?;
    } else {
        let models: Vec<(&str, &Structure)> = structures
            .iter()
            .map(|(name, found)| (name.as_str(), found))
            .collect();
        let text = report::verification(&models, outputs, context.is_terminal());
        write!(out, "{text}")?;
        if outputs.is_some_and(|outputs| !outputs.runtimes.iter().any(verify::Report::ran)) {
            writeln!(out, "\nNo runtime runs it.")?;
        }
    }
    out.flush()?;
    Ok(())
}
