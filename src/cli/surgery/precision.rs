//! `ftsurgery precision`.

use crate::onnx::DataType;
use crate::strategy::pattern::split;
use crate::transform::{Precision, precision};
use clap::{Args, ValueEnum};

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "Writes float32 as float16 or bfloat16: weights and constants, noted types, graphs inside of nodes, and functions (a copy for \
     each way in which one is called). Casts stand where both types meet. Inputs and outputs stay float32, unless --io. So \
     do, with what reads them: tensors with values beyond the range, or that would be 0 altogether, which are told by name; \
     inputs whose type an operator fixes, as scales of Resize; operators that have not the type in the model's opset, or of \
     another domain; what is computed of sizes; and what --keep matches. With --to f32 both become float32 again, and casts that \
     do nothing go.

How far the outputs are off on random inputs is measured and printed; more than 5e-2 of the largest of an output is an error \
(2e-1 of bfloat16, of which onnxruntime runs few operators on a processor).",
    "  ftsurgery precision model.onnx --to f16 --out half.onnx
  ftsurgery precision model.onnx --to f16 --keep 'head/*,/norm/Div' --out half.onnx
  ftsurgery precision half.onnx --to f32 --out single.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PrecisionArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// The type of floats
    #[arg(long, value_enum, value_name = "TYPE")]
    to: Floats,
    /// Inputs and outputs become of that type, too
    #[arg(long)]
    io: bool,
    /// Nodes, values and tensors that stay as they are: names or patterns with commas between; repeatable
    #[arg(long, value_name = "PATTERNS")]
    keep: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Floats {
    F16,
    Bf16,
    F32,
}

pub fn run(args: &PrecisionArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let options = Precision {
        to: match args.to {
            Floats::F16 => DataType::Float16,
            Floats::Bf16 => DataType::Bfloat16,
            Floats::F32 => DataType::Float,
        },
        io: args.io,
        keep: args.keep.iter().flat_map(|list| split(list)).collect(),
    };
    let transformed = precision(&model, &options, &Found(context))?;
    args.surgery.finish("precision", &transformed, context)
}
