//! `ftsurgery demo`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::run::REPORT;
use clap::{Args, Parser};

use super::tune::{self, JobArgs};
use super::{CliError, Context};

const MODEL: &str = "onnx-models/fashion_mobilenet.onnx";
const DATA: &str = "fixtures/digits";
/// What the network's pixels are; all else is as by default.
const SETTINGS: &str = "--preprocess unit";

/// Tune a small network from clothes to digits: the whole job on data of this repository
///
/// The backbone has learned to tell 28-pixel pictures of clothes (Fashion-MNIST) apart; it is tuned
/// to tell handwritten digits apart. Prints the `ftsurgery tune` command that it runs. It needs the
/// folders `onnx-models` and `fixtures` of the repository.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ftsurgery demo
  ftsurgery demo --install-runtime --out my-demo")]
pub struct DemoArgs {
    /// The folder for the results; an earlier demo in it is replaced
    #[arg(long, value_name = "RUN", default_value = "run-demo")]
    out: PathBuf,
}

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Tune {
    #[command(flatten)]
    args: JobArgs,
}

pub fn run(args: &DemoArgs, context: &Context) -> Result<(), CliError> {
    let root = repository(context.program())?;
    let show = |path: &Path| path.display().to_string();
    let mut words = vec![
        show(&root.join(MODEL)),
        "--data".to_owned(),
        show(&root.join(DATA)),
        "--out".to_owned(),
        show(&args.out),
        "--force".to_owned(),
    ];
    words.extend(SETTINGS.split_whitespace().map(str::to_owned));
    context.note(&format!("$ ftsurgery tune {}", words.join(" ")));
    let tune = Tune::try_parse_from(&words).map_err(|e| CliError::new(e, false))?;
    let command = ["ftsurgery", "tune"].map(str::to_owned).into_iter();
    let words: Vec<OsString> = command.chain(words).map(OsString::from).collect();
    let job = tune::job("tune", &tune.args, &words)?;
    tune::run_job(&job, false, context)?;

    let winner = args.out.join("winners/auto.onnx");
    let mut out = context.stdout();
    writeln!(out, "\nLook at:")?;
    for (file, what) in [
        (args.out.join(REPORT), "the report"),
        (
            winner.clone(),
            "the model with a new head, and what was worth training trained",
        ),
        (
            args.out.join("results.json"),
            "the figures of every strategy",
        ),
        (
            args.out.join("trials.jsonl"),
            "every candidate that was tried",
        ),
        (args.out.join("split.json"), "which image served for what"),
    ] {
        writeln!(out, "  {:<40} {what}", file.display())?;
    }
    writeln!(
        out,
        "\nTry:\n  ftsurgery predict {winner} {data}/7/*.png\n  \
         ftsurgery evaluate {winner} --data {data} --split {split} --part held_out",
        winner = winner.display(),
        data = root.join(DATA).display(),
        split = args.out.join("split.json").display()
    )?;
    Ok(())
}

/// The folder that holds model and data: here, or above the program (`target/release`).
fn repository(program: &Path) -> Result<PathBuf, CliError> {
    let here = PathBuf::new();
    let above = program.ancestors().skip(1).map(Path::to_owned);
    std::iter::once(here)
        .chain(above)
        .find(|root| root.join(MODEL).is_file() && root.join(DATA).is_dir())
        .ok_or_else(|| {
            CliError::usage(format!("{MODEL} and {DATA} are not in this folder"))
                .with_hint("run the demo in a checkout of the repository")
        })
}
