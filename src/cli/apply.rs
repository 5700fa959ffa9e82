//! `ftsurgery apply`: a tuned model of an adapter, or of the state of a training graph, and its backbone.

mod state;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::adapter::{Adapter, AdapterError, Makes};
use crate::onnx::Model;
use crate::report::plain_line;
use crate::training_graph::TunedFile;
use clap::Args;
use serde_json::json;

use super::{CliError, Context, signals, values};

const EXAMPLES: &str = "\
`tune --keep-adapter` writes an adapter, RUN/winners/STRATEGY.safetensors, beside each tuned model. With the very model \
that was tuned, it makes the tuned one again, byte for byte; another model is refused by its SHA-256. Many adapters can \
so share one backbone.

A trained state of a graph that `differentiate --optimizer` wrote, safetensors or npz with the names that the graph has, \
makes the model of which the graph is with the trained values (their averages, where the state has any), everything else \
as it was to the byte; here, too, another model is refused.

Nothing that is read is written over. onnxruntime is not needed.

Examples:
  ftsurgery tune mobilenet.onnx --data photos --out run --strategies lora4 --keep-adapter
  ftsurgery apply run/winners/lora4.safetensors mobilenet.onnx --out tuned.onnx
  ftsurgery apply run/winners/lora4.safetensors mobilenet.onnx --dry-run --json
  ftsurgery apply trained.npz mobilenet.onnx --out tuned.onnx";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ApplyArgs {
    /// The adapter, a safetensors file; or the trained state of a training graph, safetensors or npz, or a checkpoint of
    /// onnxruntime's training API
    adapter: PathBuf,
    /// The model that was tuned
    model: PathBuf,
    /// The ONNX file to write; weights that one file cannot hold go to a file of that name and `.data` beside it
    /// [default: ADAPTER's name with `.onnx`, in the present folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Make the model and check it, but write nothing
    #[arg(long, conflicts_with_all = ["out", "force"])]
    dry_run: bool,
    /// Print what was made as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ApplyArgs, context: &Context) -> Result<(), CliError> {
    let adapter = match TunedFile::read(&args.adapter)? {
        TunedFile::State(state) => return state::run(args, &state, context),
        TunedFile::Adapter(adapter) => adapter,
    };
    let out = match args.dry_run {
        true => None,
        false => Some(output(args, adapter.makes.data.is_some())?),
    };
    let backbone = Model::open(&args.model)?;
    let applied = adapter.apply(&backbone)?;
    let makes = match &out {
        None => {
            applied.check()?;
            adapter.makes.clone()
        }
        Some(out) => signals::before_stops(|| applied.write(out)).map_err(|error| match error {
            AdapterError::Write { path, source } => CliError::cannot_write(&path, &source),
            error => error.into(),
        })?,
    };
    tell(args, &adapter, (&makes, out.as_deref()), context)
}

/// The file to be written, which is none that is there; nor is the one beside it, if it `has_data`.
fn output(args: &ApplyArgs, has_data: bool) -> Result<PathBuf, CliError> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => {
            let name = args.adapter.file_name().unwrap_or_default();
            Path::new(name).with_extension("onnx")
        }
    };
    let mut data = out.clone().into_os_string();
    data.push(".data");
    let data = has_data.then(|| PathBuf::from(data));
    for file in std::iter::once(&out).chain(&data) {
        values::ensure_new(file, "--out", &[&args.adapter, &args.model], args.force)?;
    }
    Ok(out)
}

fn tell(
    args: &ApplyArgs,
    adapter: &Adapter,
    (makes, out): (&Makes, Option<&Path>),
    context: &Context,
) -> Result<(), CliError> {
    let said = |key: &str| adapter.recipe.metadata(&format!("ftsurgery.{key}"));
    let values: usize = adapter.tensors.iter().map(|t| t.values.len()).sum();
    let mut stdout = context.stdout();
    if args.json {
        let text = json!({
            "backbone": { "path": args.model, "sha256": adapter.backbone },
            "strategy": said("strategy"),
            "candidate": said("candidate"),
            "version": said("version"),
            "tensors": adapter.tensors.len(),
            "values": values,
            "model": out,
            "sha256": makes.sha256,
            "data": makes.data,
        });
        serde_json::to_writer_pretty(&mut stdout, &text)?;
        writeln!(stdout)?;
    } else {
        let strategy = said("strategy").unwrap_or("adapter");
        let candidate = said("candidate").unwrap_or_default();
        writeln!(
            stdout,
            "{} ({}): {} tensors of {values} values, a model of SHA-256 {}",
            plain_line(strategy),
            plain_line(candidate),
            adapter.tensors.len(),
            makes.sha256
        )?;
    }
    stdout.flush()?;
    match out {
        Some(out) => context.note(&format!("written to {}", out.display())),
        None => context.note("nothing is written (--dry-run)"),
    }
    Ok(())
}
