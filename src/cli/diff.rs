//! `ftsurgery diff`: in what two models differ.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::analysis::{Analysis, AnalyzeOptions};
use crate::diff::diff;
use crate::onnx::Model;
use crate::report;
use clap::{Args, ValueEnum};

use super::{CliError, Context, SUCCESS};

const EXAMPLES: &str = "\
Compared are the header (versions, operator sets, metadata, inputs and outputs, noted types), nodes with their attributes and \
inputs, inner graphs, functions, and the values of every tensor. Parts are matched by their names, or by their place in the \
graph where that leaves fewer differences: what is the same but for its name is told as renamed. The order of metadata means \
nothing, and where values of tensors are stored (inside, or in a file beside the model) is told but no difference.

Norms are Euclidean, over the elements that are numbers before and after; the number of elements that differ is by their bits. \
Large tensors are read piece by piece.

Exit codes are those of the command diff, not those of other subcommands: 0 the models are the same, 1 they differ, 2 trouble of any \
kind.

Examples:
  ftsurgery diff mobilenet.onnx run/winners/blocks.onnx
  ftsurgery diff mobilenet.onnx run/winners/blocks.onnx --format html > diff.html
  ftsurgery diff before.onnx after.onnx --json | jq '.tensors[].name'
  ftsurgery --quiet diff before.onnx after.onnx && echo the same";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DiffArgs {
    /// The model before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The model after
    #[arg(value_name = "B")]
    after: PathBuf,
    /// How to print; with --quiet text is left out
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON: `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people
    Text,
    /// JSON for programs
    Json,
    /// A page with both graphs by blocks, and what changed marked
    Html,
}

/// Exit code for models that differ.
const DIFFERENT: u8 = 1;
/// Exit code of trouble.
const TROUBLE: u8 = 2;

pub fn run(args: &DiffArgs, context: &Context) -> Result<u8, CliError> {
    compared(args, context).map_err(|error| error.with_code(TROUBLE))
}

fn compared(args: &DiffArgs, context: &Context) -> Result<u8, CliError> {
    let open = |path: &Path| Model::open_in_place(path);
    let models = [open(&args.before)?, open(&args.after)?];
    let found = diff(&models[0], &models[1])?;
    for model in &models {
        model.ensure_unchanged()?;
    }
    let names = [&args.before, &args.after].map(|path| path.display().to_string());
    let names = [names[0].as_str(), names[1].as_str()];
    let mut out = BufWriter::new(context.stdout());
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Text if context.is_quiet() => {}
        Format::Text => write!(
            out,
            "{}",
            report::diff(&found, names, context.is_terminal())
        )?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &found)?;
            writeln!(out)?;
        }
        Format::Html => {
            let analyses = [&models[0], &models[1]]
                .map(|model| Analysis::of(&model.outlined(), &AnalyzeOptions::default()));
            let known = analyses
                .each_ref()
                .map(|a| a.as_ref().map_err(ToString::to_string));
            let page = report::diff_page(&found, names, [&models[0], &models[1]], known);
            out.write_all(page.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(match found.is_empty() {
        true => SUCCESS,
        false => DIFFERENT,
    })
}
