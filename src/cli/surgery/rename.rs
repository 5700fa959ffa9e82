//! `ftsurgery rename`.

use crate::transform::{Kind, Renames, rename};
use clap::Args;

use super::super::{CliError, Context};
use super::{SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "A value is renamed wherever it is named: where it is made or declared, at nodes that read it, in graphs inside of nodes that \
     read it from outside, in noted types and annotations. What graphs inside of nodes make themselves, and bodies of \
     functions, keep their names. --regex and --prefix are for all names, or for those of the kinds that --of says.",
    "  ftsurgery rename model.onnx --value input.1=image --value 495=logits --out named.onnx
  ftsurgery rename model.onnx --regex '^features\\.(\\d+)\\.' 'stage$1/' --of tensors --out named.onnx
  ftsurgery rename model.onnx --prefix left/ --out left.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RenameArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// A value, input, output or tensor and its new name; repeatable
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    value: Vec<(String, String)>,
    /// A node and its new name; repeatable
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    node: Vec<(String, String)>,
    /// A regular expression, and what takes the place of all it matches in a name (`$1`, `${name}` for groups)
    #[arg(long, num_args = 2, value_names = ["REGEX", "WITH"], allow_hyphen_values = true)]
    regex: Vec<String>,
    /// What comes before each name
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Whose names --regex and --prefix change: some of inputs, outputs, tensors, values, nodes, with commas between
    /// [default: all]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    of: Vec<Kind>,
}

pub fn run(args: &RenameArgs, context: &Context) -> Result<(), CliError> {
    let pattern = match args.regex.as_slice() {
        [regex, with] => Some((regex.clone(), with.clone())),
        [] => None,
        _ => return Err(CliError::usage("--regex can be given once")),
    };
    let renames = Renames {
        values: args.value.clone(),
        nodes: args.node.clone(),
        pattern,
        prefix: args.prefix.clone(),
        kinds: args.of.clone(),
    };
    if renames.values.is_empty()
        && renames.nodes.is_empty()
        && renames.pattern.is_none()
        && renames.prefix.is_none()
    {
        return Err(CliError::usage(
            "say what to rename: --value, --node, --regex or --prefix",
        ));
    }
    let model = args.surgery.open()?;
    args.surgery
        .finish("rename", &rename(&model, &renames)?, context)
}

/// Reads `OLD=NEW`, divided at the last `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("expected OLD=NEW".to_owned()),
    }
}
