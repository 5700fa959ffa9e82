//! `ftsurgery package`: a folder of a model for those who run it elsewhere.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::classifier::{Inference, Outputs};
use crate::data::Sources;
use crate::graph::Graph;
use crate::hex;
use crate::layout::Layout;
use crate::onnx::{Model, create_folder};
use crate::package::{
    Embedded, Facts, Format, Origins, Package, embedded, name_of, of_winner, prepared,
};
use crate::quantise::Quantised;
use crate::report::plain_line;
use crate::runtime::Runtime;
use clap::{Args, ValueEnum};

use super::classifier::{Classifier, ClassifierArgs};
use super::quantize::{Asked, PICTURES, points, quantised};
use super::values::text_path;
use super::{CliError, Context, runtime_web, signals, values};

pub mod check;

const EXAMPLES: &str = "\
Examples:
  ftsurgery package run/winners/auto.onnx --format plain --out flowers
  ftsurgery package run/winners/auto.onnx --format triton --name flowers --out repository
  ftsurgery package run/winners/auto.onnx --format kserve --embed-preprocessing --out flowers
  ftsurgery package run/winners/auto.onnx --format web --out page
  ftsurgery package run/winners/auto.onnx --format plain --quantize int8 --data photos --max-drop 1 --out small";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PackageArgs {
    /// The ONNX model
    model: PathBuf,
    /// For whom
    #[arg(long, value_name = "FORMAT")]
    format: Kind,
    /// The folder to write: a new one, or an empty one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the package calls the model: letters, digits, `-`, `_` and `.` [default: the name of its file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Put the preprocessing into the model, and probabilities behind it: it then takes pictures as they are, uint8, of any
    /// size, RGB, with their axes as `nhwc` or `nchw`
    #[arg(long, value_name = "AXES", num_args = 0..=1, require_equals = true, default_missing_value = "nhwc")]
    embed_preprocessing: Option<Axes>,
    /// Package an int8 model that `quantize` makes of it, calibrated and measured on pictures of --data
    #[arg(long, value_name = "TYPE", requires = "data")]
    quantize: Option<To>,
    /// Of --quantize: pictures, as for `quantize`
    #[arg(long, value_name = "DIR", value_parser = text_path(), requires = "quantize")]
    data: Option<PathBuf>,
    /// Of --quantize: package nothing where the accuracy falls by more than so many percentage points
    #[arg(long, value_name = "POINTS", value_parser = points, requires = "quantize")]
    max_drop: Option<f64>,
    /// Of the model card of `plain`: the run that made the model [default: that in whose folder `winners` it lies]
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Of the model card of `plain`: the licence
    #[arg(long, value_name = "NAME")]
    license: Option<String>,
    /// Of `web`: the folder `dist` of npm's package onnxruntime-web, of which the page needs some files [default: that of the
    /// package where node would find it]
    #[arg(long, value_name = "DIR")]
    runtime_web: Option<PathBuf>,
    /// Write into a folder that is not empty, over the files that have these names
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

/// For whom a package is.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    /// A model repository of NVIDIA's Triton Inference Server
    Triton,
    /// The same with what KServe is given, and the metadata of the Open Inference Protocol
    Kserve,
    /// The model, labels, a model card, and programs in Python and Rust that classify pictures
    Plain,
    /// A page that classifies pictures in a browser
    Web,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum To {
    Int8,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Axes {
    Nhwc,
    Nchw,
}

pub fn run(args: &PackageArgs, context: &Context) -> Result<(), CliError> {
    refuse_in_vain(args)?;
    ensure_empty(args)?;
    let runtime_files = match args.format {
        Kind::Web => runtime_web::find(args.runtime_web.as_deref())?,
        _ => None,
    };
    let mut classifier = Classifier::open(&args.model, &args.classifier)?;
    let runtime = context.runtime()?;
    let read = classifier.model.files();
    if let (Some(To::Int8), Some(data)) = (args.quantize, &args.data) {
        quantise(&mut classifier, data, args, (&runtime, context))?;
    }
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    classifier.ensure_told(&runtime, &args.classifier, ", and a package has to")?;
    if classifier.input.takes_pictures {
        return Err(CliError::usage(
            "the model has its preprocessing inside already: it is packaged",
        )
        .with_hint("package the model that it was made of"));
    }
    classifier.tell(true, "to be packaged", context);
    let tried = check::outputs(&mut inference, &classifier.input)?;
    let facts = facts(args, &classifier, &inference, &tried, context)?;
    let origins = origins(args, &classifier, context)?;
    let (edited, facts) = match args.embed_preprocessing {
        None => (
            prepared(&classifier.model, &classifier.graph, &facts)?,
            facts,
        ),
        Some(axes) => {
            let layout = match axes {
                Axes::Nhwc => Layout::Nhwc,
                Axes::Nchw => Layout::Nchw,
            };
            let Embedded { edited, facts } =
                embedded(&classifier.model, &classifier.graph, &facts, layout)?;
            (edited, facts)
        }
    };
    let model = classifier.model.with_proto(edited.proto);
    check::same(&runtime, (&model, &facts), (&mut inference, &classifier))?;
    let format = match args.format {
        Kind::Triton => Format::Triton,
        Kind::Kserve => Format::Kserve,
        Kind::Plain => Format::Plain,
        Kind::Web => Format::Web,
    };
    let package = Package::of(format, &facts, &origins)?;
    for path in package.paths() {
        values::ensure_not_read(&args.out.join(path), &read)?;
    }
    signals::before_stops(|| -> Result<(), CliError> {
        create_folder(&args.out).map_err(|e| CliError::cannot_write(&args.out, &e))?;
        package.write(model.proto.clone(), &args.out)?;
        match &runtime_files {
            Some(from) => runtime_web::copy(from, &args.out),
            None => Ok(()),
        }
    })?;
    let mut out = context.stdout();
    for path in package.paths() {
        writeln!(
            out,
            "{}",
            plain_line(&args.out.join(path).display().to_string())
        )?;
    }
    out.flush()?;
    if args.format == Kind::Web && runtime_files.is_none() {
        context.note(&runtime_web::how_to_get(&args.out));
    }
    Ok(())
}

/// Puts an int8 model in the place of a classifier's.
fn quantise(
    classifier: &mut Classifier,
    data: &Path,
    args: &PackageArgs,
    (runtime, context): (&Runtime, &Context),
) -> Result<(), CliError> {
    let asked = Asked {
        data,
        sources: Sources::default(),
        max_drop: args.max_drop,
        pictures: PICTURES,
        seed: 0,
        threads: args.classifier.threads(),
    };
    let failed = |e: std::io::Error| CliError::cannot_write(&std::env::temp_dir(), &e);
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("int8.onnx");
    quantised(classifier, &asked, &path, runtime, context)?;
    let model = &classifier.model;
    let bytes = std::fs::read(&path).map_err(failed)?;
    let scores = model.scores().map(str::to_owned);
    classifier.model = Model::decode(bytes.into(), model.path())?.with_scores(scores.as_deref());
    classifier.graph = Graph::from_model(&classifier.model)?;
    Ok(())
}

/// Refuses flags of which a package would be told in vain.
fn refuse_in_vain(args: &PackageArgs) -> Result<(), CliError> {
    let plain = args.format == Kind::Plain;
    let idle = [
        ("--run", args.run.is_some() && !plain, "plain"),
        ("--license", args.license.is_some() && !plain, "plain"),
        (
            "--runtime-web",
            args.runtime_web.is_some() && args.format != Kind::Web,
            "web",
        ),
    ];
    match idle.into_iter().find(|(_, idle, _)| *idle) {
        Some((flag, _, format)) => Err(CliError::usage(format!(
            "{flag} does nothing here: it is of --format {format}"
        ))),
        None => Ok(()),
    }
}

/// Refuses a folder in which something is.
fn ensure_empty(args: &PackageArgs) -> Result<(), CliError> {
    let out = &args.out;
    if !out.exists() || args.force {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(out).map_err(|e| CliError::cannot_write(out, &e))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(CliError::usage(format!("{} is not empty", out.display()))
            .with_hint("choose another folder with --out, or write into it with --force")),
    }
}

fn facts(
    args: &PackageArgs,
    classifier: &Classifier,
    inference: &Inference,
    tried: &Outputs,
    context: &Context,
) -> Result<Facts, CliError> {
    let stem = args.model.file_stem().unwrap_or_default();
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&stem.to_string_lossy()),
    };
    let (card, input) = (&classifier.card, &classifier.input);
    let facts = Facts::of(&name, &classifier.graph, (card, input), inference, tried)?;
    if !facts.is_named {
        context.note(&format!(
            "warning: the model does not name its {} classes, which are numbers in the package; name them with --classes",
            tried.classes
        ));
    }
    let changed = facts
        .lines()
        .iter()
        .zip(&facts.classes)
        .any(|(line, name)| line != name);
    if changed {
        context.note(
            "warning: names of classes with line ends have spaces in their place in labels.txt",
        );
    }
    if let Some(why) = &facts.alone {
        context.note(&format!("warning: {why}"));
    }
    Ok(facts)
}

/// Where the model comes from.
fn origins(
    args: &PackageArgs,
    classifier: &Classifier,
    context: &Context,
) -> Result<Origins, CliError> {
    let read =
        |e: std::io::Error| CliError::usage(format!("cannot read {}: {e}", args.model.display()));
    let sha256 = hex::file_sha256(&args.model).map_err(read)?;
    let run = match (
        of_winner(&args.model, &sha256, args.run.as_deref()),
        &args.run,
    ) {
        (Ok(run), _) => run,
        (Err(error), Some(_)) => return Err(error.into()),
        (Err(error), None) => {
            context.note(&format!(
                "warning: the model card says nothing of the run: {error}"
            ));
            None
        }
    };
    Ok(Origins {
        run,
        license: args.license.clone(),
        quantised: Quantised::of(&classifier.model),
        sha256,
    })
}
