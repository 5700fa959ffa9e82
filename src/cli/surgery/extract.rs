//! `ftsurgery extract`.

use crate::strategy::pattern::split;
use crate::transform::extract;
use clap::Args;

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "Inputs and outputs may be any values of the graph: of nodes, inputs, and as inputs initializers, too. Without --inputs \
     (--outputs) the model's own stay. What the outputs do not need goes: nodes, tensors, noted types, annotations. What a \
     graph inside of a node (If, Loop, Scan) reads from outside is needed with the node. A value inside of a function that \
     the model carries is named as it is once its calls are written out, `CALL/VALUE`, which is then done. All else stays as it is: \
     names, metadata, documentation, functions, operator sets. Numbers are compared at the cut: the original gives the values \
     of the new inputs, and the new model must make of them what the original makes.",
    "  ftsurgery extract mobilenet.onnx --outputs features/relu --out backbone.onnx
  ftsurgery extract mobilenet.onnx --inputs features/relu --out head.onnx
  ftsurgery extract bert.onnx --inputs layer.3/out --outputs layer.5/out --out middle.onnx --check numbers"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExtractArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// Values to begin with, in this order; repeatable, or with commas between
    #[arg(long, value_name = "VALUES")]
    inputs: Vec<String>,
    /// Values to end with, in this order; repeatable, or with commas between
    #[arg(long, value_name = "VALUES", required_unless_present = "inputs")]
    outputs: Vec<String>,
}

pub fn run(args: &ExtractArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let names = |lists: &[String]| names(lists, |name| has(&model, name));
    let (inputs, outputs) = (names(&args.inputs), names(&args.outputs));
    let part = extract(&model, &inputs, &outputs, &Found(context))?;
    args.surgery.finish("extract", &part, context)
}

/// The names of some lists; one that is a name as it stands is not divided.
fn names(lists: &[String], is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let divided = |list: &String| match is_one(list) {
        true => vec![list.clone()],
        false => split(list),
    };
    lists.iter().flat_map(divided).collect()
}

pub(super) fn has(model: &crate::onnx::Model, name: &str) -> bool {
    let graph = model.graph();
    let mut made = graph.node.iter().flat_map(|n| &n.output);
    made.any(|o| o == name)
        || graph.input.iter().any(|v| v.name() == name)
        || graph.initializer.iter().any(|t| t.name() == name)
}
