//! `ftsurgery study`: the same run on several models.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ftsurgery::report;
use ftsurgery::search::{Begin, REPORT, RunDir, SearchError, Study, StudyJob, study};

use super::progress::Progress;
use super::settings::SettingsArgs;
use super::{CliError, Context, resume};

const EXAMPLES: &str = "\
Every model is tuned as by `tune`, in a folder of its own below --out, by the preprocessing that its
metadata name, else by that of the flags. The table has a row per model and a column per strategy, with
the accuracy on the held-out part, and mean and variance over the models.

Files in DIR: report.html, study.md, study.csv, study.json, and a run's folder per model. Ctrl-C stops
after the current step; `study --resume DIR` goes on from there.

Examples:
  ftsurgery study --models vgg16.onnx,mobilenet_v2.onnx --data photos --out study --strategies all
  ftsurgery study --models 'a.onnx,b.onnx' --data photos --out study --repeats 3
  ftsurgery study --resume study";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct StudyArgs {
    /// The ONNX models, separated by commas
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        required_unless_present = "resume"
    )]
    models: Vec<PathBuf>,
    /// The data: a folder with a sub-folder of JPEG or PNG images per class, or an .npz file with
    /// `x` (N,C,H,W float32, used as it is) and `y` (N, int64, from 0)
    #[arg(long, value_name = "DATA", required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// The folder for the results; new or empty
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Replace an earlier study in --out
    #[arg(long)]
    force: bool,
    /// Go on with the study in this folder where it was interrupted, with the models, the data and
    /// the flags it began with
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "force"])]
    resume: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &StudyArgs, context: &Context) -> Result<(), CliError> {
    let job = job(args)?;
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let outcome = study(&runtime, &job, &progress, &|study, root| {
        if RunDir::check(root, Begin::Resume).is_ok() {
            report::write(root)?;
        }
        report::write_study(&job.out, study)?;
        Ok::<(), CliError>(())
    });
    progress.finish();
    let study = outcome?;

    let mut out = context.stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &study)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", report::study(&study, out.is_terminal()))?;
        writeln!(out, "report in {}", job.out.join(REPORT).display())?;
    }
    out.flush()?;
    ending(&study, &job.out)
}

fn job(args: &StudyArgs) -> Result<StudyJob, CliError> {
    if let Some(root) = &args.resume {
        let study =
            Study::read(root)?.ok_or_else(|| SearchError::NotARun { path: root.clone() })?;
        let began: StudyArgs = resume::began("study", &study.command, root)?;
        return Ok(StudyJob {
            models: study.models.into_iter().map(|m| m.model).collect(),
            data: args.data.clone().unwrap_or(study.data),
            out: root.clone(),
            begin: Begin::Resume,
            command: study.command,
            settings: began.settings.settings()?,
        });
    }
    // clap asks for both.
    let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    Ok(StudyJob {
        models: args.models.clone(),
        data: path(&args.data),
        out: path(&args.out),
        begin: match args.force {
            true => Begin::Replace,
            false => Begin::New,
        },
        command: std::env::args().collect(),
        settings: args.settings.settings()?,
    })
}

/// An error for what the study lacks.
fn ending(study: &Study, root: &Path) -> Result<(), CliError> {
    if study.interrupted {
        let text = format!("stopped; {} holds what was finished", root.display());
        let hint = format!("go on with `ftsurgery study --resume {}`", root.display());
        return Err(CliError::failure(text).with_hint(hint));
    }
    let failed: Vec<String> = study
        .models
        .iter()
        .filter_map(|m| Some(format!("{}: {}", m.name, m.error.as_ref()?)))
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(CliError::failure(format!(
            "some models could not be tuned\n{}",
            failed.join("\n")
        ))),
    }
}
