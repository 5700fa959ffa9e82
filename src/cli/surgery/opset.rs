//! `ftsurgery opset`.

use crate::transform::opset;
use clap::Args;

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "Writes the model in another version of ONNX's own operators: its graph, graphs inside of nodes, and its functions. Nodes \
     change where a version in between has changed their operator: attributes become constant inputs or the other way round, \
     and operators that the older version lacks are written in those that it has (LayerNormalization, Gelu, HardSwish, Mish, \
     GroupNormalization and others). What it has no form for is refused, by the name of the node. Operators of other domains, \
     the IR version and everything else stay.",
    "  ftsurgery opset model.onnx --to 21 --out newer.onnx
  ftsurgery opset model.onnx --to 13 --out older.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct OpsetArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// The version of ONNX's own operators
    #[arg(long, value_name = "N")]
    to: i64,
}

pub fn run(args: &OpsetArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let transformed = opset(&model, args.to, &Found(context))?;
    args.surgery.finish("opset", &transformed, context)
}
