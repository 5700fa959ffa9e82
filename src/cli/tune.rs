//! `ftsurgery tune`: from a model and data to tuned models.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::report;
use crate::run::{Begin, REPORT, Results, RunFiles};
use crate::search::{Doing, Job, Watcher, tune};
use clap::Args;

use super::executor::{Cluster, ExecutorArgs};
use super::progress::Progress;
use super::settings::SettingsArgs;
use super::values::set;
use super::{CliError, Context, config, signals};

const EXAMPLES: &str = "\
Every candidate of a strategy is trained for --search-epochs on the search part of the data, the best \
on the validation part is then trained for --epochs on the search and the training part and written to \
RUN/winners/STRATEGY.onnx: the original model with the new head, tuned weights replaced, everything \
else untouched. What is in none of these parts is held out for the final figures.

Files in RUN: report.html, results.json, winners/, trials.csv, tensorboard/, run.json, config.toml, \
split.json, trials.jsonl, trials/ID/metrics.jsonl. Ctrl-C stops after the current step; `tune --resume RUN` goes \
on from there, also after a crash, and comes to the same results.

Examples:
  ftsurgery tune mobilenet_v2.onnx --data photos --out run --preprocess signed
  ftsurgery tune vgg16.onnx --data photos --out run --strategies head,blocks --preprocess caffe
  ftsurgery tune model.onnx --data x.npz --out run --head keep --strategies full \\
      --search-fraction 0 --train-fraction 1 --no-shuffle --epochs 1 --log-steps
  ftsurgery tune model.onnx --data photos --out run --strategies all --repeats 3
  ftsurgery tune model.onnx --data photos --out run --strategies select --train 'block5,**/fc1'
  ftsurgery tune --config run/config.toml --out again --epochs 8
  ftsurgery tune model.onnx --data photos --out run --executor slurm --slurm-options '--partition=cpu'
  ftsurgery tune --resume run
  ftsurgery tune --resume run --strategies layers,windows --repeats 3";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TuneArgs {
    #[command(flatten)]
    pub job: JobArgs,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// What to tune, on what, and how.
#[derive(Args)]
pub struct JobArgs {
    /// The ONNX model
    #[arg(required_unless_present_any = ["resume", "config"])]
    model: Option<PathBuf>,
    /// The data: a folder with a sub-folder of images per class (or with `train`, `val` and `test`, each such a
    /// folder), a list of images (.csv, .tsv, .txt or .jsonl), or an .npz file with `x` (N,C,H,W: float32, used as it is, or
    /// uint8, pixels) and `y` (N whole numbers from 0)
    #[arg(long, value_name = "DATA", required_unless_present_any = ["resume", "config"])]
    data: Option<PathBuf>,
    /// The folder for the results; new or empty
    #[arg(long, value_name = "RUN", required_unless_present_any = ["resume", "config"])]
    out: Option<PathBuf>,
    /// Replace an earlier run in --out
    #[arg(long)]
    force: bool,
    /// Go on with the run in this folder where it was interrupted, with the model, the data and the
    /// settings that it has recorded; with other --strategies or more --repeats also of a finished run,
    /// which then does these as well
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force"])]
    resume: Option<PathBuf>,
    /// Take the flags that are not given from this TOML file, by their long names, the model as `model`;
    /// RUN/config.toml is such a file
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub settings: SettingsArgs,
}

pub fn run(args: &TuneArgs, context: &Context) -> Result<(), CliError> {
    let cluster = args.executor.cluster(context)?;
    let job = job("tune", &args.job, context.words())?;
    args.job.settings.tell_unused(&job.settings, context);
    match cluster {
        None => run_job(&job, args.json, context),
        Some(cluster) => run_on(cluster, &job, args.json, context),
    }
}

/// The job that these flags of a subcommand ask for; `words`: those that parse to them.
pub fn job(subcommand: &str, args: &JobArgs, words: &[OsString]) -> Result<Job, CliError> {
    if let Some(file) = &args.config {
        args.settings.without_recipe()?;
        let idle = |args: &JobArgs| Some(args.settings.idle(args.data.as_deref())?.0);
        let args = config::with(subcommand, file, words, idle)?;
        return job(subcommand, &args, words);
    }
    if let Some(root) = &args.resume {
        args.settings.without_recipe()?;
        let mut job = Job::resume(root)?;
        set(&mut job.model, &args.model);
        set(&mut job.data, &args.data);
        args.settings.apply(&mut job.settings)?;
        return Ok(job);
    }
    let given = |path: &Option<PathBuf>, name: &str| config::given(path, name);
    let begin = match args.force {
        true => Begin::Replace,
        false => Begin::New,
    };
    let data = given(&args.data, "--data")?;
    let settings = args.settings.settings(&data)?;
    let (model, out) = (given(&args.model, "the model")?, given(&args.out, "--out")?);
    let job = Job::new(model, data, out).begin(begin);
    Ok(job.command(readable(words)).settings(settings))
}

/// Words for people to read: a name that is not UTF-8 is not in them as it is.
pub fn readable(words: &[OsString]) -> Vec<String> {
    let readable = |word: &OsString| word.to_string_lossy().into_owned();
    words.iter().map(readable).collect()
}

/// Does the job, and prints what it came to.
pub fn run_job(job: &Job, json: bool, context: &Context) -> Result<(), CliError> {
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let results = tune(&runtime, job, progress.watcher())?;
    end(&results, job, json, (context, &progress))
}

/// Has a cluster do the job, and prints what it came to.
fn run_on(cluster: Cluster, job: &Job, json: bool, context: &Context) -> Result<(), CliError> {
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let ended = match cluster {
        Cluster::Slurm(slurm) => slurm.tune(&runtime, job, progress.watcher()),
        Cluster::Ray(ray) => ray.tune(&runtime, job, progress.watcher()),
    };
    ended?;
    let results = RunFiles::read(&job.out)?.results;
    end(
        &results.unwrap_or_default(),
        job,
        json,
        (context, &progress),
    )
}

/// Writes the report, and prints what a run came to.
fn end(
    results: &Results,
    job: &Job,
    json: bool,
    (context, progress): (&Context, &Progress),
) -> Result<(), CliError> {
    signals::end_at_once();
    progress.doing("", Doing::Reporting, 0, 0);
    let written = report::write(&job.out);
    progress.finish();
    if let Some(lack) = written? {
        context.note(&format!("warning: {lack}"));
    }
    show(results, &job.out, json, context)?;
    outcome(results, &job.out)
}

/// Prints what a run came to.
fn show(results: &Results, root: &Path, json: bool, context: &Context) -> Result<(), CliError> {
    let mut out = context.stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, results)?;
        writeln!(out)?;
    } else if !results.strategies.is_empty() {
        writeln!(out, "{}", report::results(results, context.is_terminal()))?;
        let verdict = report::verdict(&RunFiles::read(root)?);
        if !verdict.is_empty() {
            writeln!(out, "{verdict}")?;
        }
        writeln!(out, "report in {}", root.join(REPORT).display())?;
    }
    Ok(out.flush()?)
}

/// An error for what the results lack.
pub fn outcome(results: &Results, root: &Path) -> Result<(), CliError> {
    if results.interrupted {
        let text = format!("stopped; {} holds what was finished", root.display());
        let hint = format!("go on with `ftsurgery tune --resume {}`", root.display());
        return Err(CliError::failure(text).with_hint(hint));
    }
    let failed: Vec<String> = results.failed().map(|s| s.name.to_string()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::failure(format!(
        "no model for {}; see {}",
        failed.join(", "),
        root.join("results.json").display()
    )))
}
