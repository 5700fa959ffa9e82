//! `ftsurgery distil`: a changed model, repaired by the one that it was made of.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::adapter::backbone_sha256;
use crate::classifier::{ModelCard, image_folder};
use crate::data::{Augment, Limits, few};
use crate::distil::{
    BlockFigures, DistilError, DistilOptions, Figures, Pictures, Stage, Watch, distil,
};
use crate::onnx::Model;
use crate::report::plain_line;
use crate::search::{Doing, Watcher};
use crate::training::own_task;
use clap::Args;
use serde_json::json;

use super::classifier::Classifier;
use super::progress::Progress;
use super::values::{ComputeArgs, ImageArgs, OutputArg, ensure_writable, text_path};
use super::{CliError, Context, signals};

const EXAMPLES: &str = "\
MODEL is a changed form of ORIGINAL: in float16 or int8, pruned, merged, with noise. Block by block, from the input on, its \
parameters are trained by Adam on pictures without labels, so that each block gives at its end what the original has there, \
from what the repaired blocks before it compute. A fifth of the pictures is held back: by them the epoch of each block is \
chosen, or what it had before, and of them are the errors that are shown. Where the network would be further from the original \
at its outputs with a block than without, the block is left as it was. What was pruned to 0 stays 0, tensors that are not \
trained stay as they are to the byte.

Of an int8 model of QuantizeLinear and DequantizeLinear pairs, as `quantize` writes it, what the integers stand for is trained, \
rounded in each step as the model rounds, and written back in integers by the scales that it has.

The pictures are noted in the model's metadata: `evaluate` tells when it is measured on them.

Blocks end where all paths of the network meet and both models have a value of the same dimensions, by its name or, where \
names differ, in the same place. Where they have none, blocks are joined.

Ctrl-C writes nothing.

Examples:
  ftsurgery distil small.onnx --against large.onnx --data photos --out repaired.onnx
  ftsurgery distil int8.onnx --against classifier.onnx --data photos --out repaired.onnx
  ftsurgery distil half.onnx --against full.onnx --data photos --pictures 1000 --out repaired.onnx --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DistilArgs {
    /// The ONNX model to repair
    model: PathBuf,
    /// The model that it was made of
    #[arg(long, value_name = "ORIGINAL")]
    against: PathBuf,
    /// Pictures: a folder of images, at any depth; a list of images (.csv, .tsv, .txt or .jsonl) or an .npz file with `x`
    /// and `y`, whose labels are not used
    #[arg(long, value_name = "DIR", value_parser = text_path())]
    data: PathBuf,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// How many pictures to use, drawn by --seed from --data
    #[arg(long, value_name = "N", default_value_t = 300)]
    pictures: usize,
    /// Passes over the pictures with each block
    #[arg(long, value_name = "N", default_value_t = DistilOptions::default().epochs)]
    epochs: usize,
    /// Pictures per step
    #[arg(long, value_name = "N", default_value_t = DistilOptions::default().batch_size)]
    batch_size: usize,
    /// The learning rate that each block begins with, as a share of the size of each parameter's values [default: found for
    /// each block]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    lr: Option<f32>,
    /// Seed of which pictures are used and held back, and of their order in training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    images: ImageArgs,
}

fn rate(text: &str) -> Result<f32, String> {
    let rate: Option<f32> = text.parse().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "expected a number above 0".to_owned())
}

pub fn run(args: &DistilArgs, context: &Context) -> Result<(), CliError> {
    let operators = args.compute.operators()?;
    let original = Model::open(&args.against)?.with_scores(args.output.output.as_deref());
    let device = args.compute.device;
    let mut classifier = Classifier::of(&args.model, &args.output, &args.images)?;
    let read = [original.files(), classifier.model.files()].concat();
    ensure_writable(&args.out, "--out", &read, args.force)?;
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let decoding = |done, total| {
        progress.doing("", Doing::Decoding, done, total);
        !progress.stopped()
    };
    let limits = Limits {
        threads: device.threads(),
        image_folder: image_folder(),
        classes: 1,
        few: Some((args.pictures, args.seed)),
        ..Limits::default()
    };
    let sources = crate::data::Sources {
        unlabelled: args.data.is_dir(),
        ..crate::data::Sources::default()
    };
    let data = (args.data.as_path(), &sources);
    let input = &classifier.input;
    let dataset = input.open(data, None, &limits, Augment::None.into(), Some(&decoding))?;
    classifier.look_at(&dataset, &runtime, device.threads())?;
    if let Some(skipped) = dataset.skipped_summary() {
        progress.warning(&skipped);
    }
    let images = dataset.is_images();
    let count = dataset.len().min(args.pictures);
    let on = format!("{count} pictures of {}", args.data.display());
    classifier.tell(images, &on, context);
    let Classifier {
        model, card, input, ..
    } = &classifier;
    let sample = input.spec.sample_dims(dataset.sample_shape());
    let task = own_task(model, &sample, card.task)?;
    let options = DistilOptions::default()
        .epochs(args.epochs)
        .batch_size(args.batch_size)
        .rate(args.lr)
        .seed(args.seed)
        .device(device.device())
        .threads(device.threads())
        .operators(operators);
    progress.begun();
    let watch = Watching::new(&progress);
    let samples = few(dataset.len(), args.pictures, args.seed);
    let pictures = Pictures {
        dataset: &dataset,
        samples: &samples,
        input: &input.spec,
    };
    let distilled = distil(
        &runtime,
        [model, &original],
        task,
        pictures,
        &options,
        &watch,
    )?;
    let figures = &distilled.figures;
    let mut metadata = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("distilled", said(figures, &original)?),
    ];
    if figures.changed_tensors > 0 {
        let card = ModelCard {
            trained_on: Some(card.having_seen(&dataset, &samples)),
            ..ModelCard::default()
        };
        metadata.extend(card.entries()?);
    }
    progress.doing("", Doing::Writing, 0, 0);
    signals::before_stops(|| {
        distilled.write(&runtime, (model, task), pictures, &metadata, &args.out)
    })
    .map_err(|error| match error {
        DistilError::Write { path, source } => CliError::cannot_write(&path, &source),
        error => error.into(),
    })?;
    progress.finish();
    tell(args, figures, context)
}

/// What the file says of the repair.
fn said(figures: &Figures, original: &Model) -> Result<String, CliError> {
    let outputs = &figures.outputs;
    let text = json!({
        "against": backbone_sha256(original)?,
        "pictures": figures.trained_on + figures.held_back,
        "relative_error": outputs.relative_error,
        "agreement": outputs.agreement,
    });
    Ok(text.to_string())
}

/// Shows how far the repair is.
struct Watching<'p> {
    progress: &'p Progress,
    blocks: std::cell::Cell<usize>,
}

impl<'p> Watching<'p> {
    fn new(progress: &'p Progress) -> Self {
        Watching {
            progress,
            blocks: std::cell::Cell::default(),
        }
    }
}

impl Watch for Watching<'_> {
    fn doing(&self, block: usize, stage: Stage, done: usize, total: usize) {
        // What is done before any block is done for the first.
        let of = format!("block {} of {}", block.max(1), self.blocks.get());
        let what = match stage {
            Stage::Values => Doing::Features,
            Stage::Rates => Doing::Rates,
            Stage::Training => Doing::Training,
        };
        self.progress.doing(&of, what, done, total);
    }

    fn found(&self, blocks: usize) {
        self.blocks.set(blocks);
    }

    fn block(&self, figures: &BlockFigures) {
        let (number, all) = (figures.block, self.blocks.get());
        self.progress.done(
            &format!("block {number} of {all}"),
            &format!(
                "block {number} of {all}, to `{}`: relative error {} -> {}, at the outputs {} ({:.1} s)",
                plain_line(&figures.to),
                short(figures.before),
                short(figures.after),
                short(figures.outputs),
                figures.seconds
            ),
        );
    }

    fn stopped(&self) -> bool {
        self.progress.stopped()
    }
}

/// A figure in three significant digits.
fn short(figure: f64) -> String {
    match figure {
        0.0 => "0".to_owned(),
        small if small < 1e-3 => format!("{small:.2e}"),
        figure => {
            let digits = (2.0 - figure.abs().log10().floor()).clamp(0.0, 6.0);
            format!("{figure:.0$}", digits as usize)
        }
    }
}

/// What is printed as JSON.
#[derive(serde::Serialize)]
struct Told<'a> {
    model: &'a Path,
    #[serde(flatten)]
    figures: &'a Figures,
}

fn tell(args: &DistilArgs, figures: &Figures, context: &Context) -> Result<(), CliError> {
    let mut stdout = context.stdout();
    if args.json {
        let all = Told {
            model: &args.out,
            figures,
        };
        serde_json::to_writer_pretty(&mut stdout, &all)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}", table(figures))?;
    }
    stdout.flush()?;
    context.note(&format!("written to {}", Path::new(&args.out).display()));
    Ok(())
}

/// The figures of blocks and outputs, for people.
fn table(figures: &Figures) -> String {
    let head = ["block", "ends at", "trained", "before", "after"].map(str::to_owned);
    let rows = figures.blocks.iter().map(|block| {
        [
            block.block.to_string(),
            plain_line(&block.to).into_owned(),
            block.parameters.to_string(),
            short(block.before),
            short(block.after),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for [block, end, trained, before, after] in &rows {
        let [a, b, c, d, e] = widths;
        text.push_str(&format!(
            "{block:>a$}  {end:<b$}  {trained:>c$}  {before:>d$}  {after:>e$}\n"
        ));
    }
    for block in &figures.blocks {
        if !block.joined_at.is_empty() {
            text.push_str(&format!(
                "block {} joins several: the original has nothing like {}\n",
                block.block,
                quoted(&block.joined_at)
            ));
        }
        if let Some(worse) = block.worse_outputs {
            text.push_str(&format!(
                "block {} is left as it was: with its repair the outputs would be at a relative error of {}, without at {}\n",
                block.block,
                short(worse),
                short(block.outputs)
            ));
        }
        if let Some(why) = &block.left_out {
            let what = match block.tensors {
                0 => "is left as it is",
                _ => "is trained in part",
            };
            text.push_str(&format!(
                "block {} {what}: {}\n",
                block.block,
                plain_line(why)
            ));
        }
    }
    if figures.integer_tensors + figures.rounded_values > 0 {
        text.push_str(&format!(
            "{} tensors are stored as integers, {} values are rounded to integers between layers\n",
            figures.integer_tensors, figures.rounded_values
        ));
    }
    let outputs = &figures.outputs;
    if outputs.relative_error[0] == 0.0 {
        text.push_str("there is nothing to repair: at the outputs the model is its original\n");
    }
    let [before, after] = outputs.relative_error.map(short);
    let [said, says] = outputs.agreement.map(|share| 100.0 * share);
    text.push_str(&format!(
        "outputs: relative error {before} -> {after}; the same answer as the original for {said:.1} % -> {says:.1} % of {} \
         pictures that were held back\n",
        figures.held_back
    ));
    text
}

fn quoted(names: &[String]) -> String {
    const NAMED: usize = 3;
    let named = names.iter().take(NAMED);
    let mut text: Vec<String> = named
        .map(|name| format!("`{}`", plain_line(name)))
        .collect();
    if names.len() > NAMED {
        text.push(format!("{} more", names.len() - NAMED));
    }
    text.join(", ")
}
