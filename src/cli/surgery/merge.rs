//! `ftsurgery merge`.

use std::path::PathBuf;

use crate::onnx::Model;
use crate::strategy::pattern::split;
use crate::transform::{Merging, Parts, merge};
use clap::Args;

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "Each model stands behind those before it: its inputs that are called as their outputs read these; where none is, and there \
     is one output and one input, these go together; --connect says it otherwise. Outputs that nothing reads stay \
     outputs, unless --outputs names those of the new model. With --join nothing goes from one model to another, and inputs \
     of one name and type are one.

What both models have alike is there once: initializers of one name and the same values, constants, functions, and nodes of \
     these. The first model keeps its names; a name of a later one that is taken gets a number, in graphs inside of nodes, too, \
     and that is told. Metadata and documentation are those of all models, the first one's where they differ. The IR \
     version is the highest, and so is that of each operator set: nodes of ONNX's own that would mean something else in it are \
     written in it, as by `opset`, and others are refused. What lies beside any of the models lies in one file beside the new one.

Numbers are compared with what the models give that are run one behind the other. What is new is told as a change of the \
     first model.",
    "  ftsurgery merge backbone.onnx head.onnx --out whole.onnx
  ftsurgery merge detector.onnx classifier.onnx --connect crops=image --out both.onnx
  ftsurgery merge left.onnx right.onnx --join --out pair.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct MergeArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// The models behind it, in this order
    #[arg(required = true, value_name = "MODEL")]
    others: Vec<PathBuf>,
    /// A value, and the input of a model behind it that it goes to; repeatable
    #[arg(long, value_name = "VALUE=INPUT", value_parser = pair)]
    connect: Vec<(String, String)>,
    /// Set the models side by side
    #[arg(long, conflicts_with = "connect")]
    join: bool,
    /// The outputs of the new model, in this order; repeatable, or with commas between
    #[arg(long, value_name = "VALUES")]
    outputs: Vec<String>,
}

pub fn run(args: &MergeArgs, context: &Context) -> Result<(), CliError> {
    let mut models = vec![args.surgery.open()?];
    for path in &args.others {
        models.push(Model::open_in_place(path)?);
    }
    let has = |list: &String| models.iter().any(|m| super::extract::has(m, list));
    let outputs = args.outputs.iter().flat_map(|list| match has(list) {
        true => vec![list.clone()],
        false => split(list),
    });
    let merging = Merging {
        connect: args.connect.clone(),
        join: args.join,
        outputs: outputs.collect(),
    };
    let parts = Parts::new(models)?;
    let merged = merge(&parts, &merging, &Found(context))?;
    args.surgery.finish("merge", &merged, context)
}

/// Reads `VALUE=INPUT`, divided at the last `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((value, input)) if !value.is_empty() && !input.is_empty() => {
            Ok((value.to_owned(), input.to_owned()))
        }
        _ => Err("expected VALUE=INPUT".to_owned()),
    }
}
