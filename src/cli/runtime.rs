//! `ftsurgery runtime`: which onnxruntime library is used, and getting one.

use std::io::Write;

use crate::graph::{Graph, Node, Value};
use crate::onnx::{DataType, encode};
use crate::runtime::{
    Array, Device, Located, Origin, Runtime, RuntimeError, Session, SessionOptions, install,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, Context};

const EXAMPLES: &str = "\
The library is searched for in this order: --runtime PATH; the environment variable \
ORT_DYLIB_PATH; of the wheel, the onnxruntime package beside it; the cache ($FTSURGERY_CACHE, $XDG_CACHE_HOME/ftsurgery or ~/.cache/ftsurgery); \
the onnxruntime package of python3; the system's library folders. Any onnxruntime from 1.19 on \
serves. In the cache one for GPUs comes first, then the newest.

Examples:
  ftsurgery runtime install
  ftsurgery runtime install --version 1.31.0
  ftsurgery runtime install --cuda
  ftsurgery runtime status --json
  ftsurgery --runtime /opt/onnxruntime/lib/libonnxruntime.so runtime status";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RuntimeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the library that is used, how it was found and what it offers
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch the library from the Python package index into the cache (needs python3 with pip)
    Install {
        /// The onnxruntime version to install
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        /// Fetch one for NVIDIA's GPUs, with the libraries of CUDA and cuDNN that it needs (some 2 GB); what is missing
        /// then, the driver for one, is told
        #[arg(long)]
        cuda: bool,
    },
}

pub fn run(args: &RuntimeArgs, context: &Context) -> Result<(), CliError> {
    match &args.action {
        Action::Status { json } => status(*json, context),
        Action::Install { version, cuda } => {
            let mut note = |step: &str| context.note(step);
            let path = install::install(version.as_deref(), *cuda, &mut note)?;
            writeln!(context.stdout(), "{}", path.display())?;
            if *cuda {
                let origin = Origin::Cache;
                tell_cuda(&Runtime::load(&Located { path, origin })?, context)?;
            }
            Ok(())
        }
    }
}

/// Says whether the library computes on a GPU here, and if not why.
fn tell_cuda(runtime: &Runtime, context: &Context) -> Result<(), CliError> {
    match computes_on_cuda(runtime)? {
        Ok(()) => context.note("it computes on the GPU (`--device cuda`)"),
        Err(reason) => context.note(&format!("it does not compute on a GPU here: {reason}")),
    }
    Ok(())
}

/// Adds two numbers on the first GPU; the inner error is why it does not.
fn computes_on_cuda(runtime: &Runtime) -> Result<Result<(), String>, CliError> {
    let mut graph = Graph {
        inputs: vec![Value::fixed("x", DataType::Float, &[1])],
        outputs: vec![Value::fixed("y", DataType::Float, &[1])],
        ..Graph::new(21)
    };
    graph.nodes = vec![Node::new("sum", "Add", &["x", "x"], &["y"])];
    let model = encode(&graph.to_model(usize::MAX).0)?;
    let options = SessionOptions {
        label: "a sum".to_owned(),
        device: Device::Cuda(0),
        ..SessionOptions::default()
    };
    let tried = || -> Result<(), RuntimeError> {
        let mut session = Session::new(runtime, &model, &[], &options)?;
        let x = Array::F32(ndarray::arr1(&[1.5]).into_dyn());
        session.run(&[("x", &x)])?;
        Ok(())
    };
    Ok(tried().map_err(|error| {
        let told = error.to_string();
        match told.contains("libcuda.so") || told.contains("nvcuda.dll") {
            true => {
                format!("NVIDIA's driver is missing, which is the system's to install ({told})")
            }
            false => told,
        }
    }))
}

fn status(as_json: bool, context: &Context) -> Result<(), CliError> {
    let found = context.find_runtime()?;
    let runtime = Runtime::load(&found.located)?;
    let providers = runtime.providers()?;
    let cuda = match providers.iter().any(|name| name.starts_with("CUDA")) {
        true => Some(computes_on_cuda(&runtime)?),
        false => None,
    };
    let mut out = context.stdout();
    if as_json {
        let status = json!({
            "path": runtime.path().display().to_string(),
            "origin": runtime.origin(),
            "version": runtime.version().to_string(),
            "providers": providers,
            "cuda": cuda.as_ref().map(|works| works.as_ref().err().map_or("works", String::as_str)),
            "tried": found.tried,
        });
        serde_json::to_writer_pretty(&mut out, &status)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "library    {}", runtime.path().display())?;
    writeln!(out, "found by   {}", runtime.origin())?;
    writeln!(out, "version    {}", runtime.version())?;
    writeln!(out, "providers  {}", providers.join(", "))?;
    match cuda {
        None => {}
        Some(Ok(())) => writeln!(out, "cuda       works")?,
        Some(Err(reason)) => writeln!(out, "cuda       does not work here: {reason}")?,
    }
    if !found.tried.is_empty() {
        writeln!(out, "passed over:")?;
        for tried in &found.tried {
            writeln!(out, "  {tried}")?;
        }
    }
    Ok(())
}
