//! `ftsurgery prune`.

use crate::transform::prune;
use clap::Args;

use super::super::{CliError, Context};
use super::{SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "What no output needs goes: nodes, tensors, noted types and annotations of the graph, of graphs inside of nodes and of \
     functions, and functions that nothing calls. What a graph inside of a node reads is needed with the node. Declared inputs \
     stay, as they are the model's face; inputs and outputs of graphs inside of nodes and of functions, too.",
    "  ftsurgery prune model.onnx --out pruned.onnx
  ftsurgery prune model.onnx --dry-run --verbose"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PruneArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
}

pub fn run(args: &PruneArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    args.surgery.finish("prune", &prune(&model)?, context)
}
