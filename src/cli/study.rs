//! `ftsurgery study`: the same run on several models.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::report;
use crate::run::{Begin, REPORT, RunDir, RunError, Study, absolute, path_of_bytes};
use crate::search::{StudyJob, Subject, study};
use clap::Args;

use super::progress::Progress;
use super::settings::SettingsArgs;
use super::tune::readable;
use super::values::set;
use super::{CliError, Context, config, values};

const EXAMPLES: &str = "\
Every model is tuned as by `tune`, in a folder of its own below --out, by the preprocessing that stands \
behind it in --models, else by the one that its metadata name, else by --preprocess, else by the one that is \
found; --resize is for all of them. The table has a row per model and a column per strategy, with the accuracy on the held-out part \
(of images with several labels the share whose labels are all right), and mean and variance over the models.

Files in DIR: report.html, study.md, study.csv, study.json, and a run's folder per model. Ctrl-C stops \
after the current step; `study --resume DIR` goes on from there.

Examples:
  ftsurgery study --models vgg16.onnx,mobilenet_v2.onnx --data photos --out study --strategies all
  ftsurgery study --models mobilenet.onnx:signed,vgg16.onnx:caffe --data photos --out study
  ftsurgery study --models a.onnx --models 'b, c.onnx' --data photos --out study --repeats 3
  ftsurgery study --resume study";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct StudyArgs {
    /// The ONNX models, separated by commas; repeat it for a file that has a comma in its name. Behind a
    /// model may stand how its pixels are scaled: `vgg16.onnx:caffe` (see --preprocess)
    #[arg(long, value_name = "LIST", required_unless_present_any = ["resume", "config"])]
    models: Vec<PathBuf>,
    /// The data: a folder with a sub-folder of images per class (or with `train`, `val` and `test`, each such a
    /// folder), a list of images (.csv, .tsv, .txt or .jsonl), or an .npz file with `x` (N,C,H,W: float32, used as it is, or
    /// uint8, pixels) and `y` (N whole numbers from 0)
    #[arg(long, value_name = "DATA", required_unless_present_any = ["resume", "config"])]
    data: Option<PathBuf>,
    /// The folder for the results; new or empty
    #[arg(long, value_name = "DATA", required_unless_present_any = ["resume", "config"])]
    out: Option<PathBuf>,
    /// Replace an earlier study in --out
    #[arg(long)]
    force: bool,
    /// Go on with the study in this folder where it was interrupted, with the models, the data and
    /// the settings that it has recorded
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "force"])]
    resume: Option<PathBuf>,
    /// Take the flags that are not given from this TOML file, by their long names: `models = ["a.onnx",
    /// "b.onnx:caffe"]`
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &StudyArgs, context: &Context) -> Result<(), CliError> {
    let job = job(args, context.words())?;
    args.settings.tell_unused(&job.settings, context);
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let outcome = study(&runtime, &job, progress.watcher(), &|study, root| {
        if RunDir::check(root, Begin::Resume).is_ok()
            && let Some(lack) = report::write(root)?
        {
            context.note(&format!("warning: {lack}"));
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
        writeln!(out, "{}", report::study(&study, context.is_terminal()))?;
        writeln!(out, "report in {}", job.out.join(REPORT).display())?;
    }
    out.flush()?;
    ending(&study, &job.out)
}

fn job(args: &StudyArgs, words: &[OsString]) -> Result<StudyJob, CliError> {
    if let Some(file) = &args.config {
        args.settings.without_recipe()?;
        let idle = |args: &StudyArgs| Some(args.settings.idle(args.data.as_deref())?.0);
        return job(&config::with("study", file, words, idle)?, words);
    }
    if let Some(root) = &args.resume {
        let mut job = StudyJob::resume(root)?;
        same_models(&job.models, &subjects(&args.models)?)?;
        set(&mut job.data, &args.data);
        args.settings.without_recipe()?;
        args.settings.apply(&mut job.settings)?;
        return Ok(job);
    }
    let models = subjects(&args.models)?;
    if models.is_empty() {
        return Err(config::missing("--models"));
    }
    let begin = match args.force {
        true => Begin::Replace,
        false => Begin::New,
    };
    let data = config::given(&args.data, "--data")?;
    let out = config::given(&args.out, "--out")?;
    let settings = args.settings.settings(&data)?;
    Ok(StudyJob::new(models, data, out)
        .begin(begin)
        .command(readable(words))
        .settings(settings))
}

/// The models that are listed. A value that is the name of a file is not split at its commas.
fn subjects(values: &[PathBuf]) -> Result<Vec<Subject>, CliError> {
    let mut subjects = Vec::new();
    for value in values {
        match is_one(value) {
            true => subjects.push(subject(value.clone())?),
            // Names may be any bytes.
            false => {
                let bytes = value.as_os_str().as_encoded_bytes();
                for item in bytes.split(|&byte| byte == b',') {
                    subjects.push(subject(path_of_bytes(item.to_vec()))?);
                }
            }
        }
    }
    Ok(subjects)
}

/// Whether a value is a file, or a file with a preprocessing behind it.
fn is_one(value: &Path) -> bool {
    let of_file = |(file, name): (PathBuf, String)| file.is_file() && !name.contains(',');
    value.is_file() || parted(value).is_some_and(of_file)
}

/// What is in front of the last colon, and what is behind it.
fn parted(value: &Path) -> Option<(PathBuf, String)> {
    let bytes = value.as_os_str().as_encoded_bytes();
    let at = bytes.iter().rposition(|&byte| byte == b':')?;
    let behind = String::from_utf8_lossy(&bytes[at + 1..]);
    Some((path_of_bytes(bytes[..at].to_vec()), behind.into_owned()))
}

/// `FILE` or `FILE:PREPROCESSING`.
fn subject(item: PathBuf) -> Result<Subject, CliError> {
    if item.to_str().is_some_and(|item| item.trim().is_empty()) {
        return Err(CliError::usage(
            "--models has an empty name among its models",
        ));
    }
    let plain = Subject {
        path: item,
        preprocess: None,
    };
    match parted(&plain.path) {
        Some((file, name)) if !plain.path.is_file() => match values::preprocess(&name) {
            Ok(preprocess) => Ok(Subject {
                path: file,
                preprocess: Some(preprocess),
            }),
            Err(expected) if file.is_file() => Err(CliError::usage(format!(
                "`{name}` behind `{}` is no preprocessing: {expected}",
                file.display()
            ))),
            Err(_) => Ok(plain),
        },
        _ => Ok(plain),
    }
}

/// Fails where --models is given with --resume, and names other models than the study has.
fn same_models(recorded: &[Subject], given: &[Subject]) -> Result<(), CliError> {
    let absolute = |subject: &Subject| (absolute(&subject.path), subject.preprocess.clone());
    if given.is_empty() || given.iter().map(absolute).eq(recorded.iter().map(absolute)) {
        return Ok(());
    }
    let names = |subjects: &[Subject]| {
        let names = subjects.iter().map(|s| s.path.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    Err(RunError::Changed {
        what: "--models".to_owned(),
        was: names(recorded),
        is: names(given),
    }
    .into())
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
            "some models could not be tuned\n  {}",
            failed.join("\n  ")
        ))),
    }
}
