//! `ftsurgery externalize` and `ftsurgery internalize`.

use crate::onnx::Placement;
use crate::transform::place;
use clap::Args;

use super::super::values::Bytes;
use super::super::{CliError, Context};
use super::{SurgeryArgs, checked};

const OUTSIDE: &str = checked!(
    "The values of large initializers go to FILE.data beside the model, each large one at a multiple of 64 KiB, so that \
     runtimes can map them; so do those that are in other files already. Integers of up to 1 KiB stay inside, since runtimes \
     compute shapes of them before they run. What is in graphs inside of nodes and in attributes stays inside.",
    "  ftsurgery externalize vgg16.onnx --out vgg16_external.onnx
  ftsurgery externalize model.onnx --least 1MiB --out light.onnx"
);

const INSIDE: &str = checked!(
    "All values come inside, wherever they are: one file holds up to 2 GiB, and a model beyond that is refused.",
    "  ftsurgery internalize model.onnx --out single.onnx"
);

#[derive(Args)]
#[command(after_long_help = OUTSIDE)]
pub struct ExternalizeArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// Bytes from which an initializer's values go beside the model
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    least: Bytes,
}

#[derive(Args)]
#[command(after_long_help = INSIDE)]
pub struct InternalizeArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
}

pub fn externalize(args: &ExternalizeArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let Bytes(least) = args.least;
    let placed = place(&model, Placement::Beside { least })?;
    args.surgery.finish("externalize", &placed, context)
}

pub fn internalize(args: &InternalizeArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let placed = place(&model, Placement::Inside)?;
    args.surgery.finish("internalize", &placed, context)
}
