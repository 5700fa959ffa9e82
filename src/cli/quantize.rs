//! `ftsurgery quantize`: an int8 model, by onnxruntime's own tool, with what it is worth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::classifier::{Inference, Outputs, argmax, image_folder};
use crate::data::{Augment, Dataset, Limits, Part, Sources, few};
use crate::onnx::{Model, encode, write_atomic};
use crate::quantise::{Calibration, QuantiseError, Quantised, Versions, quantise, with_metadata};
use crate::runtime::{Device, Runtime};
use crate::search::{Doing, Watcher};
use clap::Args;
use serde_json::json;

use super::classifier::Classifier;
use super::data::DataArgs;
use super::evaluate::match_classes;
use super::progress::Progress;
use super::values::{ImageArgs, OutputArg, ensure_writable, text_path};
use super::{CliError, Context, signals};

const EXAMPLES: &str = "\
The tool is onnxruntime's `quantize_static` for Python (QDQ, weights per channel, ranges by the least and the largest value), \
run in the Python that FTSURGERY_PYTHON names, else in python3, which needs onnx and onnxruntime. Pictures go through the \
preprocessing of the model, as with `evaluate`.

Ranges are calibrated on some pictures, and both models are measured on others: of a model that ftsurgery tuned on those it \
was not trained on, of data that give parts on what is held out or validates, else on what is left. The accuracies are printed \
and noted in the file's metadata (`ftsurgery.quantised`). Pictures without labels tell how often both models say the same.

Examples:
  ftsurgery quantize run/winners/auto.onnx --data photos --out small.onnx --max-drop 1
  ftsurgery quantize classifier.onnx --data photos --out small.onnx --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct QuantizeArgs {
    /// The ONNX model, of floats
    model: PathBuf,
    /// Pictures: as for `evaluate`, or a folder of images without class folders
    #[arg(long, value_name = "DIR", value_parser = text_path())]
    data: PathBuf,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Write nothing where the accuracy falls by more than so many percentage points
    #[arg(long, value_name = "POINTS", value_parser = points)]
    max_drop: Option<f64>,
    /// Pictures to calibrate by, drawn by --seed; half of those that may be used at most
    #[arg(long, value_name = "N", default_value_t = PICTURES)]
    pictures: usize,
    /// Seed of which pictures are calibrated by
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads that run the models to measure them [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    sources: DataArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    images: ImageArgs,
}

pub(super) fn points(text: &str) -> Result<f64, String> {
    let points: Option<f64> = text.parse().ok();
    points
        .filter(|points| (0.0..=100.0).contains(points))
        .ok_or_else(|| "expected a number of percentage points, 0 to 100".to_owned())
}

pub fn run(args: &QuantizeArgs, context: &Context) -> Result<(), CliError> {
    let mut classifier = Classifier::of(&args.model, &args.output, &args.images)?;
    ensure_writable(&args.out, "--out", &classifier.model.files(), args.force)?;
    let asked = Asked {
        data: &args.data,
        sources: args.sources.sources(),
        max_drop: args.max_drop,
        pictures: args.pictures,
        seed: args.seed,
        threads: args.threads.unwrap_or(0),
    };
    let runtime = context.runtime()?;
    let noted = quantised(&mut classifier, &asked, &args.out, &runtime, context)?;
    let bytes = [&args.model, &args.out].map(|file| fs::metadata(file).map_or(0, |m| m.len()));
    tell(args, &noted, bytes, context)
}

/// By what a model is quantised.
pub(super) struct Asked<'a> {
    /// The pictures, and what is said of them.
    pub data: &'a Path,
    pub sources: Sources,
    /// The most percentage points that its accuracy may fall by.
    pub max_drop: Option<f64>,
    /// Pictures to calibrate by, at most.
    pub pictures: usize,
    pub seed: u64,
    /// Threads that run both models; 0 for one per core.
    pub threads: usize,
}

/// Pictures to calibrate by, where nobody says how many.
pub(super) const PICTURES: usize = 200;

/// Writes an int8 model of a classifier to `out`, which its metadata tell with what both are worth. Nothing is written where its
/// accuracy falls by more than is allowed.
pub(super) fn quantised(
    classifier: &mut Classifier,
    asked: &Asked<'_>,
    out: &Path,
    runtime: &Runtime,
    context: &Context,
) -> Result<Quantised, CliError> {
    let threads = asked.threads;
    let progress = Progress::stoppable(context);
    let dataset = opened(asked, classifier, &progress)?;
    classifier.look_at(&dataset, runtime, threads)?;
    let (calibrated, measured) = shared_out(asked, classifier, &dataset)?;
    let images = dataset.is_images();
    let on = format!(
        "calibrated on {} and measured on {} pictures of {}",
        calibrated.len(),
        measured.len(),
        asked.data.display()
    );
    classifier.tell(images, &on, context);

    let mut unchecked = out.as_os_str().to_owned();
    unchecked.push(".unchecked");
    let unchecked = Unchecked(PathBuf::from(unchecked));
    progress.doing("", Doing::Calibrating, 0, 0);
    let versions = calibrate(classifier, (&dataset, &calibrated), &unchecked.0)?;
    stop_if_asked(&progress)?;
    let quantised = Model::open(&unchecked.0)?.with_scores(classifier.model.scores());
    let measure = |model: &Model| {
        let inference = Inference::new(runtime, model, Device::Cpu, threads)?;
        let mut inference = inference.of_task(classifier.card.task);
        progress.doing("", Doing::Classifying, 0, 0);
        let outputs = inference.run_dataset(&dataset, &measured, &classifier.input.spec)?;
        stop_if_asked(&progress)?;
        Ok::<Outputs, CliError>(outputs)
    };
    let outputs = [measure(&classifier.model)?, measure(&quantised)?];
    let labels = labels(
        asked,
        classifier,
        (&dataset, &measured),
        outputs[0].classes,
        context,
    )?;
    progress.finish();
    let noted = noted(&outputs, labels.as_deref(), calibrated.len(), versions);
    if let (Some(most), Some([before, after])) = (asked.max_drop, noted.accuracy)
        && 100.0 * (before - after) > most
    {
        return Err(CliError::failure(format!(
            "the accuracy falls by {:.2} points, from {}; at most {most} are allowed, and nothing is written",
            100.0 * (before - after),
            shown([before, after])
        ))
        .with_hint(
            "quantize without --max-drop, with more --pictures, and repair what it writes by `distil`",
        ));
    }
    let edited = with_metadata(
        &unchecked.0,
        &classifier.model,
        &[
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            (Quantised::KEY, serde_json::to_string(&noted)?),
        ],
    )?;
    let encoded = encode(&edited.proto)?;
    signals::before_stops(|| write_atomic(out, &encoded))
        .map_err(|e| CliError::cannot_write(out, &e))?;
    Ok(noted)
}

/// A file that goes when it is done with.
struct Unchecked(PathBuf);

impl Drop for Unchecked {
    fn drop(&mut self) {
        // It is no result; that it may stay behind is the lesser evil.
        let _ = fs::remove_file(&self.0);
    }
}

fn stop_if_asked(progress: &Progress) -> Result<(), CliError> {
    match progress.stopped() {
        true => Err(CliError::failure("stopped: nothing is written")),
        false => Ok(()),
    }
}

/// Opens the pictures, with labels where they have any.
fn opened(
    asked: &Asked<'_>,
    classifier: &Classifier,
    progress: &Progress,
) -> Result<Dataset, CliError> {
    let decoding = |done, total| {
        progress.doing("", Doing::Decoding, done, total);
        !progress.stopped()
    };
    let limits = Limits {
        threads: asked.threads,
        image_folder: image_folder(),
        classes: 1,
        ..Limits::default()
    };
    let open = |unlabelled: bool| {
        let mut sources = asked.sources.clone();
        sources.unlabelled = unlabelled;
        let data = (asked.data, &sources);
        let input = &classifier.input;
        input.open(data, None, &limits, Augment::None.into(), Some(&decoding))
    };
    let dataset = match open(false) {
        Err(error) if asked.data.is_dir() && !progress.stopped() => match open(true) {
            Ok(dataset) if asked.max_drop.is_none() => dataset,
            _ => return Err(error.into()),
        },
        opened => opened?,
    };
    if let Some(skipped) = dataset.skipped_summary() {
        progress.warning(&skipped);
    }
    Ok(dataset)
}

/// Samples to calibrate by, and samples to measure on, which are others.
fn shared_out(
    asked: &Asked<'_>,
    classifier: &Classifier,
    dataset: &Dataset,
) -> Result<(Vec<usize>, Vec<usize>), CliError> {
    let all: Vec<usize> = (0..dataset.len()).collect();
    if all.len() < 2 {
        return Err(CliError::usage(format!(
            "{} has {} pictures; some are calibrated by, and others measured on",
            asked.data.display(),
            all.len()
        )));
    }
    let drawn = |from: &[usize], most: usize| -> Vec<usize> {
        let places = few(from.len(), most.clamp(1, asked.pictures.max(1)), asked.seed);
        places.into_iter().map(|place| from[place]).collect()
    };
    let seen = |sample: &usize| {
        let trained_on = classifier.card.trained_on.as_ref();
        let digest = dataset.digest(*sample);
        trained_on
            .zip(digest)
            .is_some_and(|(seen, digest)| seen.may_have(&digest))
    };
    let (trained, others): (Vec<usize>, Vec<usize>) = all.iter().copied().partition(seen);
    if !trained.is_empty() && !others.is_empty() {
        return Ok((drawn(&trained, trained.len()), others));
    }
    if let Some(given) = dataset.given() {
        let part = |part: Part| given.part(part).unwrap_or_default().to_vec();
        let measured = [Part::HeldOut, Part::Validation].map(part);
        let measured = measured.into_iter().find(|samples| !samples.is_empty());
        let train = part(Part::Train);
        if let Some(measured) = measured.filter(|_| !train.is_empty()) {
            return Ok((drawn(&train, train.len()), measured));
        }
    }
    let calibrated = drawn(&all, all.len() / 2);
    let rest = all
        .into_iter()
        .filter(|sample| calibrated.binary_search(sample).is_err());
    let rest = rest.collect();
    Ok((calibrated, rest))
}

/// Has the tool write the int8 model.
fn calibrate(
    classifier: &Classifier,
    (dataset, samples): (&Dataset, &[usize]),
    out: &Path,
) -> Result<Versions, CliError> {
    let input = &classifier.input;
    let spec = &input.spec;
    let sample = spec.sample_dims(dataset.sample_shape());
    let mut fill = |range: std::ops::Range<usize>, values: &mut [f32]| {
        Ok(dataset.write_batch(&samples[range], &spec.preprocess, spec.layout, values)?)
    };
    let calibration = Calibration {
        input: &input.name,
        sample: &sample,
        batch: classifier.fixed_batch(),
        pictures: samples.len(),
        fill: &mut fill,
    };
    let model = classifier.model.path();
    quantise(&crate::python::program(), model, calibration, out).map_err(|error| match error {
        QuantiseError::Write { path, source } => CliError::cannot_write(&path, &source),
        error => error.into(),
    })
}

/// The place of each sample's class among the model's; `None` where the pictures do not tell.
fn labels(
    asked: &Asked<'_>,
    classifier: &Classifier,
    (dataset, samples): (&Dataset, &[usize]),
    classes: usize,
    context: &Context,
) -> Result<Option<Vec<i64>>, CliError> {
    if dataset.sets().is_some() {
        return Err(CliError::usage(
            "the accuracy of several labels per picture is not measured here; `evaluate` measures both models",
        ));
    }
    match match_classes(&classifier.card, dataset, classes) {
        Ok((_, places)) => {
            let labels = samples.iter().map(|&sample| {
                let label = usize::try_from(dataset.labels()[sample]).ok();
                label
                    .and_then(|label| places.get(label))
                    .copied()
                    .unwrap_or(-1)
            });
            Ok(Some(labels.collect()))
        }
        Err(error) if asked.max_drop.is_some() => Err(error),
        Err(error) => {
            context.note(&format!(
                "the accuracy is not measured: {}",
                error.message()
            ));
            Ok(None)
        }
    }
}

/// What both models came to.
fn noted(
    outputs: &[Outputs; 2],
    labels: Option<&[i64]>,
    calibrated_on: usize,
    versions: Versions,
) -> Quantised {
    let [before, after] = outputs.each_ref().map(tops);
    let share = |tops: &[i64], wanted: &[i64]| {
        let same = tops.iter().zip(wanted).filter(|(a, b)| a == b).count();
        same as f64 / wanted.len().max(1) as f64
    };
    Quantised {
        to: "int8".to_owned(),
        calibrated_on,
        measured_on: before.len(),
        accuracy: labels.map(|labels| [share(&before, labels), share(&after, labels)]),
        agreement: share(&after, &before),
        versions,
    }
}

fn shown([before, after]: [f64; 2]) -> String {
    format!("{:.2} % to {:.2} %", 100.0 * before, 100.0 * after)
}

/// The class that is first for each sample.
fn tops(outputs: &Outputs) -> Vec<i64> {
    let rows = outputs.values.chunks(outputs.classes.max(1));
    rows.map(|row| argmax(row) as i64).collect()
}

fn tell(
    args: &QuantizeArgs,
    noted: &Quantised,
    [before, after]: [u64; 2],
    context: &Context,
) -> Result<(), CliError> {
    let mut stdout = context.stdout();
    if args.json {
        let mut said = serde_json::to_value(noted)?;
        said["model"] = json!(args.out);
        said["bytes"] = json!([before, after]);
        serde_json::to_writer_pretty(&mut stdout, &said)?;
        writeln!(stdout)?;
    } else {
        let measured = noted.measured_on;
        if let Some(accuracy) = noted.accuracy {
            writeln!(
                stdout,
                "accuracy {} on {measured} pictures",
                shown(accuracy)
            )?;
        }
        writeln!(
            stdout,
            "both models say the same of {:.2} % of {measured} pictures; {before} bytes -> {after}",
            100.0 * noted.agreement
        )?;
    }
    stdout.flush()?;
    context.note(&format!("written to {}", args.out.display()));
    Ok(())
}
