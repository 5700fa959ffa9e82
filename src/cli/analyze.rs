//! `ftsurgery analyze`: the layers and blocks of a model, and what `tune` would consider.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use crate::analysis::{Analysis, AnalyzeOptions, Delimiters, Report};
use crate::classifier::parse_image_size;
use crate::onnx::Model;
use crate::report;
use crate::strategy::CandidateCounts;
use clap::{Args, ValueEnum};

use super::values::OutputArg;
use super::{CliError, Context};

const EXAMPLES: &str = "\
Blocks end at the nodes that --delimiters names. With `auto`, these are the pooling nodes if the \
backbone has three or more on its main path (VGG16: its blocks are the pooling stages), and the \
activations otherwise. A block without weighted layers joins the one before it.

Parameters are the trainable elements that the output depends on; the running statistics of \
BatchNormalization are counted apart. A tensor that no layer owns (a class token, a position \
embedding) belongs to its block: it is trained where all layers of the block are. MACs and activation \
bytes are those of one image.

Examples:
  ftsurgery analyze vgg16.onnx
  ftsurgery analyze mobilenet.onnx --delimiters activation,norm --format json
  ftsurgery analyze mobilenet.onnx --format html > mobilenet.html
  ftsurgery analyze mobilenet.onnx --format dot | dot -Tsvg -o mobilenet.svg";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct AnalyzeArgs {
    /// The ONNX model
    model: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas
    #[arg(long, value_name = "KINDS", default_value = "auto")]
    delimiters: String,
    /// Length of the window of the strategy `windows`, in layers
    #[arg(long, value_name = "LAYERS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,
    /// Take this value, a feature map or a vector per image, as the last feature map instead of searching
    /// for it
    #[arg(long, value_name = "VALUE")]
    features: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    /// Image size for models that leave it open: `224`, or `HEIGHTxWIDTH`
    #[arg(long, value_name = "SIZE", value_parser = parse_image_size)]
    image_size: Option<(usize, usize)>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Tables for people
    Table,
    /// JSON for programs
    Json,
    /// A graph for Graphviz, blocks as clusters
    Dot,
    /// A page: parameters, operations and activations along the depth, and what strategies would train
    Html,
}

pub fn run(args: &AnalyzeArgs, context: &Context) -> Result<(), CliError> {
    let options = AnalyzeOptions {
        delimiters: args.delimiters.parse::<Delimiters>()?,
        window: usize::from(args.window),
        features: args.features.clone(),
        image_size: args.image_size,
    };
    let model = Model::open_outline(&args.model)?.with_scores(args.output.output.as_deref());
    let analysis = Analysis::of(&model, &options)?;
    for warning in &analysis.warnings {
        context.note(&format!("warning: {warning}"));
    }
    let mut out = BufWriter::new(context.stdout());
    match args.format {
        Format::Table => {
            let width = std::io::stdout()
                .is_terminal()
                .then(|| comfy_table::Table::new().width())
                .flatten();
            write!(out, "{}", report::analysis(&analysis, width))?;
        }
        Format::Json => {
            let report = Report::new(&analysis).with_candidates(CandidateCounts::of(&analysis));
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        }
        Format::Dot => write!(out, "{}", report::dot(&analysis))?,
        Format::Html => {
            let name = args.model.file_name().unwrap_or(args.model.as_os_str());
            let page = report::analysis_page(&analysis, &name.to_string_lossy());
            out.write_all(page.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}
