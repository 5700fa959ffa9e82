//! `ftsurgery scores`: what a few gradients say of where to train.

use std::io::Write;
use std::path::PathBuf;

use crate::analysis::Delimiters;
use crate::choice::Choice;
use crate::data::Augment;
use crate::onnx::write_atomic;
use crate::report;
use crate::run::Settings;
use crate::search::{Job, scores};
use crate::surgery::HeadKind;
use crate::training::HeadInit;
use clap::Args;

use super::data::DataArgs;
use super::progress::Progress;
use super::values::{self, ComputeArgs, ImageArgs, OutputArg, set};
use super::{CliError, Context, signals};

const EXAMPLES: &str = "\
For each block and layer, from one backward pass for each of --samples images, at the head as it stands before \
training: the relative gradient norm (rgn), the signal-to-noise ratio of the gradient (snr), the Fisher \
information per value (fisher) and per cost, and the fall of the loss that a quadratic model predicts (gain).

Examples:
  ftsurgery scores mobilenet_v2.onnx --data photos --preprocess signed
  ftsurgery scores mobilenet_v2.onnx --data photos --samples 200 --html scores.html
  ftsurgery scores tuned.onnx --data photos --head keep --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ScoresArgs {
    /// The ONNX model
    model: PathBuf,
    /// The data: a folder with a sub-folder of images per class (or with `train`, `val` and `test`, each such a
    /// folder), a list of images (.csv, .tsv, .txt or .jsonl), or an .npz file with `x` and `y`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Samples whose gradients are taken, of those that `tune` trains winners on
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = values::count)]
    samples: usize,
    /// Seed of the split and of a new head's first weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The classifier, as of `tune`: `paper`, `linear` or `keep`
    #[arg(long, value_name = "HEAD")]
    head: Option<HeadKind>,
    /// How a new head begins, as of `tune`: `random`, or `solved` on the frozen features
    #[arg(long, value_name = "HOW")]
    head_init: Option<HeadInit>,
    /// The value of the model that a new head stands on, as of `tune`
    #[arg(long, value_name = "VALUE")]
    features: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    /// What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas
    #[arg(long, value_name = "KINDS")]
    delimiters: Option<Delimiters>,
    /// The classes in their order, as of `tune`: a file with one a line, or a JSON list
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    #[command(flatten)]
    sources: DataArgs,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print JSON: the scores, and how model and data were read
    #[arg(long)]
    json: bool,
    /// Draw them as a page as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ScoresArgs {
    fn settings(&self) -> Result<Settings, CliError> {
        let mut settings = Settings::default()
            .preprocess(self.images.preprocess()?)
            .resize(self.images.resize())
            // Nothing is trained but the head, on images as they are.
            .augment(Choice::Given(Augment::None))
            .image_size(self.images.image_size)
            .features(self.features.clone())
            .sources(self.sources.sources())
            .output(self.output.output.clone());
        settings.split.seed = self.seed;
        settings.sources.classes.clone_from(&self.classes);
        set(&mut settings.head, &self.head);
        set(&mut settings.head_init, &self.head_init);
        set(&mut settings.delimiters, &self.delimiters);
        self.compute.apply(&mut settings)?;
        Ok(settings)
    }
}

pub fn run(args: &ScoresArgs, context: &Context) -> Result<(), CliError> {
    if let Some(path) = &args.html {
        values::ensure_not_read(path, &[&args.model, &args.data])?;
    }
    // Features that memory does not hold would lie there; none are kept.
    let job = Job::new(&args.model, &args.data, std::env::temp_dir()).settings(args.settings()?);
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let scored = scores(&runtime, &job, args.samples, &progress);
    progress.finish();
    let scored = scored?;
    if let Some(path) = &args.html {
        let page = report::scores_page(&scored.scores, &args.model.to_string_lossy());
        signals::before_stops(|| write_atomic(path, page.as_bytes()))
            .map_err(|e| CliError::cannot_write(path, &e))?;
    }
    let mut out = context.stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &scored)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "{}",
            report::scores(&scored.scores, context.is_terminal())
        )?;
    }
    Ok(out.flush()?)
}
