//! `ftsurgery head`.

use std::path::Path;

use crate::classifier::parse_image_size;
use crate::surgery::HeadKind;
use crate::task::Task;
use crate::transform::{NewHead, remove_head, replace_head};
use clap::Args;

use super::super::{CliError, Context};
use super::{Found, SurgeryArgs, checked};

const EXAMPLES: &str = checked!(
    "The head is what follows the last feature map, which `ftsurgery analyze` shows and --features overrides. A new one is \
     `linear` (global average pooling and a dense layer), `cosine` (pooling, and the cosine with a vector for each class times a \
     scale) or `paper` (dense layers of 128 and 64 before the last); its weights are drawn from --seed, to be tuned. Names of classes go into the metadata. With --remove the model ends in what its classifier's \
     first layer reads: an embedding. The values at the feature map are compared with those of the original.",
    "  ftsurgery head mobilenet.onnx --classes 10 --out ten.onnx
  ftsurgery head mobilenet.onnx --classes labels.txt --kind paper --out labelled.onnx
  ftsurgery head mobilenet.onnx --remove --out embedding.onnx"
);

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HeadArgs {
    #[command(flatten)]
    surgery: SurgeryArgs,
    /// How many classes the new head tells apart, or a text file with a name of one in each line
    #[arg(long, value_name = "N|FILE", required_unless_present = "remove")]
    classes: Option<String>,
    /// The new head: linear, cosine or paper
    #[arg(long, value_name = "KIND", default_value = "linear")]
    kind: HeadKind,
    /// Take the classifier away, and put nothing in its place
    #[arg(long, conflicts_with = "classes")]
    remove: bool,
    /// The value that the head stands on
    #[arg(long, value_name = "VALUE")]
    features: Option<String>,
    /// End in the new head's last dense layer, without softmax or sigmoid
    #[arg(long)]
    logits: bool,
    /// Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", value_parser = parse_image_size)]
    image_size: Option<(usize, usize)>,
    /// What the new head tells of a sample: `single-label` (softmax), `multi-label` (a sigmoid for each class), or `binary`
    /// (one sigmoid for two classes) [default: single-label]
    #[arg(long, value_name = "TASK")]
    task: Option<Task>,
    /// Seed of the new head's weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &HeadArgs, context: &Context) -> Result<(), CliError> {
    let model = args.surgery.open()?;
    let made = match &args.classes {
        None => remove_head(&model, args.features.as_deref(), &Found(context))?,
        Some(classes) => {
            if args.kind == HeadKind::Keep {
                return Err(CliError::usage("--kind keep makes no new head"));
            }
            let (number, names) = read_classes(classes)?;
            let head = NewHead {
                kind: args.kind,
                names,
                features: args.features.clone(),
                image_size: args.image_size,
                logits: args.logits,
                task: args.task.unwrap_or_default(),
                seed: args.seed,
                ..NewHead::new(number)
            };
            replace_head(&model, &head)?
        }
    };
    args.surgery.finish("head", &made, context)
}

/// A number of classes, or their names from a file.
fn read_classes(text: &str) -> Result<(usize, Option<Vec<String>>), CliError> {
    if let Ok(number) = text.parse() {
        return Ok((number, None));
    }
    let read = std::fs::read_to_string(Path::new(text));
    let read = read.map_err(|e| CliError::usage(format!("cannot read {text}: {e}")))?;
    let names = read.lines().map(str::trim).filter(|line| !line.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    Ok((names.len(), Some(names)))
}
