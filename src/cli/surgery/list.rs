//! `ftsurgery list`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use crate::onnx::{Model, write_atomic};
use crate::report::plain_line;
use crate::strategy::FreezeList;
use crate::strategy::pattern::matches;
use crate::transform::{Listed, list};
use clap::Args;

use super::super::{CliError, Context, signals, values};
use super::tell::size;

const EXAMPLES: &str = "\
Each initializer of the graph: its type, its dimensions, how many elements it has, and whether it is a weight that training \
changes; with --stats what its values are like, read block by block, so that a model of any size takes little memory.

--out writes a freeze list: a line for each weight that was listed, with `!` before those that --freeze matches. \
`tune`, `differentiate`, `gradients` and `bench` read it with --freeze-list. It may as well be written by hand: a line is a \
name or a pattern of what is trained, `!` before it makes it frozen, `#` begins a comment; the last line that matches a name \
decides, and what none matches is frozen, or trained where every line has a `!`.

Examples:
  ftsurgery list mobilenet.onnx
  ftsurgery list mobilenet.onnx --match 'features.1*' --stats
  ftsurgery list mobilenet.onnx --freeze 'features.*' --out freeze.txt
  ftsurgery differentiate mobilenet.onnx --freeze-list freeze.txt --out step.onnx";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ListArgs {
    /// The ONNX model
    model: PathBuf,
    /// Only initializers whose name matches this pattern (`*`, `**` across `/`, `?`, `[…]`, `{a,b}`); repeatable
    #[arg(long = "match", value_name = "GLOB")]
    matching: Vec<String>,
    /// Show smallest, largest, mean and deviation of the values, zeros, and what is not finite
    #[arg(long)]
    stats: bool,
    /// Write a freeze list of the weights
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// In the freeze list, freeze what matches this pattern; repeatable
    #[arg(long, value_name = "GLOB", requires = "out")]
    freeze: Vec<String>,
    /// Overwrite an existing file
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ListArgs, context: &Context) -> Result<(), CliError> {
    let model = Model::open_in_place(&args.model)?;
    let listed = list(&model, &args.matching, args.stats)?;
    if let Some(out) = &args.out {
        values::ensure_new(out, "--out", &model.files(), args.force)?;
        write_list(args, out, &listed, context)?;
    }
    let mut stdout = BufWriter::new(context.stdout());
    if args.json {
        serde_json::to_writer_pretty(&mut stdout, &listed)?;
        writeln!(stdout)?;
        return Ok(stdout.flush()?);
    }
    let name_width = listed
        .iter()
        .map(|t| t.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    for tensor in &listed {
        let dims: Vec<String> = tensor.dims.iter().map(i64::to_string).collect();
        let kind = if tensor.trainable { "weight" } else { "" };
        write!(
            stdout,
            "{:name_width$}  {:8} {:>20} {:>12}  {kind:6}",
            plain_line(&tensor.name).to_string(),
            tensor.dtype,
            format!("[{}]", dims.join(", ")),
            tensor.elements(),
        )?;
        if let Some(s) = &tensor.statistics {
            write!(
                stdout,
                "  {:.4e} to {:.4e}, mean {:.4e}, deviation {:.4e}, {} zeros",
                s.min, s.max, s.mean, s.std, s.zeros
            )?;
            if s.not_finite > 0 {
                write!(stdout, ", {} NOT FINITE", s.not_finite)?;
            }
        }
        writeln!(stdout)?;
    }
    let elements = |of: &dyn Fn(&Listed) -> bool| {
        let counted = listed.iter().filter(|t| of(t)).map(Listed::elements);
        counted.fold(0u64, u64::saturating_add)
    };
    let bytes = listed
        .iter()
        .filter_map(|t| t.bytes)
        .fold(0u64, u64::saturating_add);
    writeln!(
        stdout,
        "{} tensors of {} elements, {}; {} elements are weights",
        listed.len(),
        elements(&|_| true),
        size(bytes),
        elements(&|t| t.trainable),
    )?;
    Ok(stdout.flush()?)
}

fn write_list(
    args: &ListArgs,
    out: &std::path::Path,
    listed: &[Listed],
    context: &Context,
) -> Result<(), CliError> {
    let weights: Vec<&str> = listed
        .iter()
        .filter(|t| t.trainable)
        .map(|t| t.name.as_str())
        .collect();
    let frozen = |name: &str| args.freeze.iter().any(|pattern| matches(pattern, name));
    if let Some(idle) = args
        .freeze
        .iter()
        .find(|p| !weights.iter().any(|name| matches(p, name)))
    {
        return Err(CliError::usage(format!(
            "--freeze: `{idle}` is the name of no weight that is listed"
        )));
    }
    let lines = weights.iter().map(|&name| (name, !frozen(name)));
    let text = FreezeList::text(lines).map_err(|name| {
        CliError::usage(format!(
            "`{}` cannot stand in a freeze list",
            name.escape_debug()
        ))
    })?;
    signals::before_stops(|| write_atomic(out, text.as_bytes()))
        .map_err(|e| CliError::cannot_write(out, &e))?;
    let trained = weights.iter().filter(|name| !frozen(name)).count();
    context.note(&format!(
        "written to {}: {trained} trained, {} frozen",
        out.display(),
        weights.len() - trained
    ));
    Ok(())
}
