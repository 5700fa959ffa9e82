//! `ftsurgery batch`.

use crate::transform::{fix_batch, free_batch};
use clap::Args;

use super::super::{CliError, Context, values};
use super::{SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "--free opens a model that was exported for one batch size: nodes that carry it (Reshape, Expand, Resize, Concat, Gather) \
     compute it, inputs and outputs declare it open. It is refused where samples of a batch would mix, or where the size hides \
     elsewhere. --fix declares the first dimension of every input, where it is open, to be N, and with it every other \
     dimension of that name.",
    "  ftsurgery batch exported_for_one.onnx --free --out any.onnx
  ftsurgery batch any.onnx --fix 8 --out eight.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BatchArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Take batches of any size
    #[arg(long)]
    free: bool,
    /// Take batches of this size alone
    #[arg(long, value_name = "N", value_parser = values::count)]
    fix: Option<usize>,
}

pub fn run(args: &BatchArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let made = match args.which.fix {
        Some(size) => fix_batch(&model, size)?,
        None => free_batch(&model)?,
    };
    args.surgery.finish("batch", &made, context)
}
