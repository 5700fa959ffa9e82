//! `ftsurgery fold`.

use crate::transform::{Folding, fold};
use clap::Args;

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "What is known before the model runs is computed once, by onnxruntime: nodes that read constants alone, and sizes that \
     follow from what the inputs declare. Constant nodes become initializers; Identity and Dropout, which does nothing here, go, \
     and an If whose condition is known is its branch. So it is in graphs inside of nodes. Values keep their names; a weight that is computed anew (transposed, cast) keeps \
     its own, its documentation and its place inside or beside the model.

Left as it is: what is drawn at random, has a graph inside (If, Loop, Scan) or works on quantised numbers; what would make \
     the file larger, as a repeated constant, or a weight that something else reads, too; and bodies of functions, unless \
     --inline writes them out. The file is never larger than before. A model of IR 3 has no initializers that are no \
     inputs: its constants are Constant nodes.

BatchNormalization stays, as it is a layer that can be trained on: --batch-norm folds it into the layer before it.",
    "  ftsurgery fold exported.onnx --out folded.onnx
  ftsurgery fold exported.onnx --dim batch=1 --batch-norm --out fast.onnx
  ftsurgery fold unet.onnx --fix-shape image=1,3,256,256 --out unet_256.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct FoldArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// Fold normalisations with fixed statistics into the convolution or dense layer before them, whose weights and biases
    /// keep their names
    #[arg(long)]
    batch_norm: bool,
    /// Write out the model's functions first
    #[arg(long)]
    inline: bool,
    /// Declare the dimensions of an input, before sizes are computed; repeatable
    #[arg(long, value_name = "INPUT=SIZES", value_parser = shape)]
    fix_shape: Vec<(String, Vec<usize>)>,
    /// Declare the size of a dimension that inputs name; repeatable
    #[arg(long, value_name = "NAME=SIZE", value_parser = dim)]
    dim: Vec<(String, usize)>,
}

pub fn run(args: &FoldArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let folding = Folding {
        batch_norm: args.batch_norm,
        inline: args.inline,
        shapes: args.fix_shape.clone(),
        dims: args.dim.clone(),
    };
    let folded = fold(&model, &folding, &Found(context))?;
    args.surgery.finish("fold", &folded, context)
}

/// Reads `INPUT=SIZES`, divided at the last `=`.
fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || "expected INPUT=SIZES, as image=1,3,224,224".to_owned();
    let (name, sizes) = text.rsplit_once('=').ok_or_else(wrong)?;
    let sizes = sizes
        .split([',', 'x'])
        .map(size)
        .collect::<Result<_, _>>()?;
    match name.is_empty() {
        true => Err(wrong()),
        false => Ok((name.to_owned(), sizes)),
    }
}

fn dim(text: &str) -> Result<(String, usize), String> {
    match text.rsplit_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name.to_owned(), size(text)?)),
        _ => Err("expected NAME=SIZE, as batch=1".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.trim().parse().ok();
    let size = size.filter(|&size: &usize| (1..1 << 31).contains(&size));
    size.ok_or_else(|| format!("`{text}` is no size"))
}
