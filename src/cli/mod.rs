//! The command line: one file per subcommand with its arguments, its wiring and its printing.
//!
//! To add a subcommand `x`, write `x.rs` with
//! `#[derive(clap::Args)] pub struct XArgs` and
//! `pub fn run(args: &XArgs, context: &Context) -> Result<(), CliError>`, then add three lines here:
//! its `mod`, its variant of `Command`, and its arm in `Command::run` (`diff` and `verify`, which end well with
//! other codes than 0, give theirs). A room whose errors it returns with `?` needs a line in `error.rs`.

mod analyze;
mod apply;
mod bench;
mod classifier;
mod collect;
mod config;
mod context;
mod data;
mod demo;
mod diff;
mod differentiate;
mod distil;
mod error;
mod evaluate;
mod executor;
mod gradients;
mod host;
mod memory;
mod package;
mod plan;
mod predict;
mod progress;
mod quantize;
mod report;
mod runtime;
mod runtime_web;
mod scores;
mod serve;
mod settings;
mod signals;
mod study;
mod surgery;
mod task;
mod trainable;
mod trial;
mod tune;
mod values;
mod verify;

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::host::{Failure, Host, call, flags};
pub use self::{context::Context, error::CliError};

/// The exit code of what ends well.
const SUCCESS: u8 = 0;

const EXAMPLES: &str = "\
Examples:
  ftsurgery runtime install        fetch the onnxruntime library, once
  ftsurgery runtime status         show which library is used, and why
  ftsurgery analyze model.onnx     show its layers and blocks
  ftsurgery bench model.onnx       time a training step on this machine
  ftsurgery tune mobilenet.onnx --data photos --out run
  ftsurgery evaluate run/winners/blocks.onnx --data photos --split run/split.json --part held_out
  ftsurgery predict run/winners/blocks.onnx photo.jpg
  ftsurgery package run/winners/blocks.onnx --format triton --out repository

Exit codes: 0 done, 1 failure (of `diff`: different; of `verify`: faulty), 2 bad usage or input (of `diff` and `verify`: any trouble), 75 (of `trial` and `collect`) in use by another process; 130, 143,
129 or 138 when stopped by Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.";

/// Fine-tunes chosen parts of pretrained networks as ONNX files.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every subcommand understands.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Use this onnxruntime library instead of searching for one
    #[arg(long, global = true, value_name = "PATH")]
    pub runtime: Option<PathBuf>,
    /// Install onnxruntime if none is found
    #[arg(long, global = true)]
    pub install_runtime: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Explain what happens, on stderr; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Show the layers and blocks of a model and what tuning would consider
    Analyze(analyze::AnalyzeArgs),
    /// Show in what two models differ
    Diff(diff::DiffArgs),
    /// Check a model's form, and hold its outputs against each other in several runtimes
    Verify(verify::VerifyArgs),
    /// Measure how long a training step takes on this machine
    Bench(bench::BenchArgs),
    /// Compute the loss and its gradients for one batch
    Gradients(gradients::GradientsArgs),
    /// Write a model's forward pass, loss and gradients as an ONNX file
    Differentiate(differentiate::DifferentiateArgs),
    /// Show what a few gradients say of where to train
    Scores(scores::ScoresArgs),
    /// Fine-tune a model on a data set, trying which of its parts to train
    Tune(Box<tune::TuneArgs>),
    /// Begin a run whose trials other processes carry out, on a cluster say
    Plan(Box<plan::PlanArgs>),
    /// Carry out trials of such a run
    Trial(trial::TrialArgs),
    /// Take over what they came to, and say what is wanted next
    Collect(collect::CollectArgs),
    /// Tune several models by the same strategies, and compare
    Study(Box<study::StudyArgs>),
    /// Repair a changed model by the one that it was made of, without labels
    Distil(distil::DistilArgs),
    /// Make an int8 model of a float one by onnxruntime's own tool, and measure both
    Quantize(quantize::QuantizeArgs),
    /// Make a tuned model again, of the model that was tuned and an adapter
    Apply(apply::ApplyArgs),
    /// Measure a classifier on a data set
    Evaluate(evaluate::EvaluateArgs),
    /// Classify images
    Predict(predict::PredictArgs),
    /// Take the part of a model between any values
    Extract(surgery::ExtractArgs),
    /// Give a model a new classifier, or take its own away
    Head(surgery::HeadArgs),
    /// Give values, tensors and nodes other names
    Rename(surgery::RenameArgs),
    /// Take away what no output needs
    Prune(surgery::PruneArgs),
    /// Compute what is known before the model runs
    Fold(surgery::FoldArgs),
    /// Make one model of several
    Merge(surgery::MergeArgs),
    /// Make a model take batches of any size, or of one
    Batch(surgery::BatchArgs),
    /// Write a model in another version of ONNX's operators
    Opset(surgery::OpsetArgs),
    /// Write a model's floats in 16 bits, or in 32 again
    Precision(surgery::PrecisionArgs),
    /// Move weights to a file beside the model
    Externalize(surgery::ExternalizeArgs),
    /// Take weights that lie beside a model inside
    Internalize(surgery::InternalizeArgs),
    /// List parameters with statistics, and write a freeze list
    List(surgery::ListArgs),
    /// Make a folder of a model for a server, a program or a browser
    Package(package::PackageArgs),
    /// Serve a model on this machine, to try it
    Serve(serve::ServeArgs),
    Report(report::ReportArgs),
    Demo(demo::DemoArgs),
    /// Show or install the onnxruntime library
    Runtime(runtime::RuntimeArgs),
}

impl Command {
    /// Runs it; gives the exit code of what ends well.
    fn run(&self, context: &Context) -> Result<u8, CliError> {
        let done = match self {
            Self::Analyze(args) => analyze::run(args, context),
            Self::Diff(args) => return diff::run(args, context),
            Self::Verify(args) => return verify::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Gradients(args) => gradients::run(args, context),
            Self::Differentiate(args) => differentiate::run(args, context),
            Self::Scores(args) => scores::run(args, context),
            Self::Tune(args) => tune::run(args, context),
            Self::Plan(args) => plan::run(args, context),
            Self::Trial(args) => trial::run(args, context),
            Self::Collect(args) => collect::run(args, context),
            Self::Study(args) => study::run(args, context),
            Self::Distil(args) => distil::run(args, context),
            Self::Quantize(args) => quantize::run(args, context),
            Self::Apply(args) => apply::run(args, context),
            Self::Evaluate(args) => evaluate::run(args, context),
            Self::Predict(args) => predict::run(args, context),
            Self::Extract(args) => surgery::extract(args, context),
            Self::Head(args) => surgery::head(args, context),
            Self::Rename(args) => surgery::rename(args, context),
            Self::Prune(args) => surgery::prune(args, context),
            Self::Fold(args) => surgery::fold(args, context),
            Self::Merge(args) => surgery::merge(args, context),
            Self::Batch(args) => surgery::batch(args, context),
            Self::Opset(args) => surgery::opset(args, context),
            Self::Precision(args) => surgery::precision(args, context),
            Self::Externalize(args) => surgery::externalize(args, context),
            Self::Internalize(args) => surgery::internalize(args, context),
            Self::List(args) => surgery::list(args, context),
            Self::Package(args) => package::run(args, context),
            Self::Serve(args) => serve::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::Demo(args) => demo::run(args, context),
            Self::Runtime(args) => runtime::run(args, context),
        };
        done.map(|()| SUCCESS)
    }
}

/// The commands as the help shows them, in groups.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Look at a model",
        &[
            "analyze", "list", "diff", "verify", "scores", "bench", "evaluate", "predict",
        ],
    ),
    (
        "Tune it",
        &[
            "tune", "study", "plan", "trial", "collect", "report", "apply",
        ],
    ),
    (
        "Change it",
        &[
            "extract",
            "head",
            "rename",
            "prune",
            "fold",
            "merge",
            "batch",
            "opset",
            "precision",
            "externalize",
            "internalize",
            "quantize",
            "distil",
        ],
    ),
    ("Ship it", &["package", "serve"]),
    ("Train it elsewhere", &["gradients", "differentiate"]),
    ("Begin", &["demo", "runtime", "help"]),
];

/// The command line, with the defaults of settings in its help, and its commands in groups.
fn command() -> clap::Command {
    let command = settings::with_defaults(Cli::command());
    // `help` is a command of a built one alone, whose flags have defaults of their own.
    let mut built = command.clone();
    built.build();
    let about = |name: &str| {
        let found = built.find_subcommand(name);
        let about = found.and_then(|c| c.get_about()).map(ToString::to_string);
        about.unwrap_or_default()
    };
    let mut groups = String::new();
    for (heading, names) in GROUPS {
        groups += &format!("\n{heading}:\n");
        for name in names {
            groups += &format!("  {name:13} {}\n", about(name));
        }
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\nOptions:\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}

/// Runs the command as a process of its own: its words, beginning with the name that it is called by, and the `program`
/// that others start to run it. Prints results and errors, listens to signals, and gives the exit code.
pub fn run(program: PathBuf, words: Vec<OsString>) -> u8 {
    let parsed = command().try_get_matches_from(&words);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(told) => {
            // Nobody is left to tell when the stream is closed.
            let _ = told.print();
            return u8::try_from(told.exit_code()).unwrap_or(2);
        }
    };
    crate::panics::hush_caught();
    signals::are_ours();
    context::start_log(cli.global.quiet, cli.global.verbose);
    match cli.command.run(&Context::new(cli.global, program, words)) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

#[cfg(test)]
mod guide;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_texts_leave_the_wrapping_to_the_terminal() {
        let command = command();
        for subcommand in command.get_subcommands() {
            let text = subcommand.get_after_long_help();
            let text = text.map(ToString::to_string).unwrap_or_default();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            let lines: Vec<&str> = text.lines().filter(|l| *l != "Examples:").collect();
            let broken = lines
                .windows(2)
                .find(|pair| is_prose(pair[0]) && is_prose(pair[1]));
            assert_eq!(broken, None, "{}", subcommand.get_name());
        }
    }

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let mut command = Cli::command();
        command.build();
        let mut all: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        all.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(all, grouped);
    }

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }
}
