//! `ftsurgery quantize`: an int8 model, by onnxruntime's own tool, with what it is worth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::classifier::{Inference, Outputs, image_folder};
use crate::data::{Augment, Dataset, Limits, Part, few};
use crate::onnx::{Model, encode, write_atomic};
use crate::quantise::{Calibration, QuantiseError, Versions, quantise, with_metadata};
use crate::runtime::Device;
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
    #[arg(long, value_name = "N", default_value_t = 200)]
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

fn points(text: &str) -> Result<f64, String> {
    let points: Option<f64> = text.parse().ok();
    points
        .filter(|points| (0.0..=100.0).contains(points))
        .ok_or_else(|| "expected a number of percentage points, 0 to 100".to_owned())
}

pub fn run(args: &QuantizeArgs, context: &Context) -> Result<(), CliError> {
    ensure_writable(&args.out, "--out", &[&args.model], args.force)?;
    let threads = args.threads.unwrap_or(0);
    let mut classifier = Classifier::of(&args.model, &args.output, &args.images)?;
    let runtime = context.runtime()?;
    let progress = Progress::stoppable(context);
    let dataset = opened(args, &classifier, &progress)?;
    classifier.look_at(&dataset, &runtime, threads)?;
    let (calibrated, measured) = shared_out(args, &classifier, &dataset)?;
    let images = dataset.is_images();
    let on = format!(
        "calibrated on {} and measured on {} pictures of {}",
        calibrated.len(),
        measured.len(),
        args.data.display()
    );
    classifier.tell(images, &on, context);

    let mut unchecked = args.out.as_os_str().to_owned();
    unchecked.push(".unchecked");
    let unchecked = Unchecked(PathBuf::from(unchecked));
    progress.doing("", Doing::Calibrating, 0, 0);
    let versions = calibrate(&classifier, (&dataset, &calibrated), &unchecked.0)?;
    stop_if_asked(&progress)?;
    let quantised = Model::open(&unchecked.0)?.with_scores(classifier.model.scores());
    let measure = |model: &Model| {
        let inference = Inference::new(&runtime, model, Device::Cpu, threads)?;
        let mut inference = inference.of_task(classifier.card.task);
        progress.doing("", Doing::Classifying, 0, 0);
        let outputs = inference.run_dataset(&dataset, &measured, &classifier.input.spec)?;
        stop_if_asked(&progress)?;
        Ok::<Outputs, CliError>(outputs)
    };
    let outputs = [measure(&classifier.model)?, measure(&quantised)?];
    let labels = labels(
        args,
        &classifier,
        (&dataset, &measured),
        outputs[0].classes,
        context,
    )?;
    let figures = Figures::of(&outputs, labels.as_deref());
    progress.finish();
    if let (Some(most), Some(drop)) = (args.max_drop, figures.drop())
        && drop > most
    {
        return Err(CliError::failure(format!(
            "the accuracy falls by {drop:.2} points, from {}; at most {most} are allowed, and nothing is written",
            figures.accuracies()
        ))
        .with_hint("more --pictures may find better ranges; `distil` repairs what is left in float"));
    }
    let bytes = [&args.model, &unchecked.0].map(|file| fs::metadata(file).map_or(0, |m| m.len()));
    let noted = figures.noted(calibrated.len(), &versions);
    let edited = with_metadata(
        &unchecked.0,
        &classifier.model,
        &[
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("quantised", noted.to_string()),
        ],
    )?;
    let encoded = encode(&edited.proto)?;
    signals::before_stops(|| write_atomic(&args.out, &encoded))
        .map_err(|e| CliError::cannot_write(&args.out, &e))?;
    tell(args, (&figures, noted), bytes, context)
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
    args: &QuantizeArgs,
    classifier: &Classifier,
    progress: &Progress,
) -> Result<Dataset, CliError> {
    let decoding = |done, total| {
        progress.doing("", Doing::Decoding, done, total);
        !progress.stopped()
    };
    let limits = Limits {
        threads: args.threads.unwrap_or(0),
        image_folder: image_folder(),
        classes: 1,
        ..Limits::default()
    };
    let open = |unlabelled: bool| {
        let mut sources = args.sources.sources();
        sources.unlabelled = unlabelled;
        let data = (args.data.as_path(), &sources);
        let input = &classifier.input;
        input.open(data, None, &limits, Augment::None.into(), Some(&decoding))
    };
    let dataset = match open(false) {
        Err(error) if args.data.is_dir() && !progress.stopped() => match open(true) {
            Ok(dataset) if args.max_drop.is_none() => dataset,
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
    args: &QuantizeArgs,
    classifier: &Classifier,
    dataset: &Dataset,
) -> Result<(Vec<usize>, Vec<usize>), CliError> {
    let all: Vec<usize> = (0..dataset.len()).collect();
    if all.len() < 2 {
        return Err(CliError::usage(format!(
            "{} has {} pictures; some are calibrated by, and others measured on",
            args.data.display(),
            all.len()
        )));
    }
    let drawn = |from: &[usize], most: usize| -> Vec<usize> {
        let places = few(from.len(), most.clamp(1, args.pictures.max(1)), args.seed);
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
    args: &QuantizeArgs,
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
        Err(error) if args.max_drop.is_some() => Err(error),
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
struct Figures {
    measured: usize,
    /// Shares of pictures that are right, before and after.
    accuracy: Option<[f64; 2]>,
    /// The share of pictures for which both say the same.
    agreement: f64,
}

impl Figures {
    fn of(outputs: &[Outputs; 2], labels: Option<&[i64]>) -> Self {
        let [before, after] = outputs.each_ref().map(tops);
        let share = |same: usize| same as f64 / before.len().max(1) as f64;
        let right = |tops: &[i64], labels: &[i64]| {
            share(
                tops.iter()
                    .zip(labels)
                    .filter(|(top, label)| top == label)
                    .count(),
            )
        };
        let agreement = before.iter().zip(&after).filter(|(a, b)| a == b).count();
        Figures {
            measured: before.len(),
            accuracy: labels.map(|labels| [right(&before, labels), right(&after, labels)]),
            agreement: share(agreement),
        }
    }

    /// By how many points the accuracy falls.
    fn drop(&self) -> Option<f64> {
        self.accuracy
            .map(|[before, after]| 100.0 * (before - after))
    }

    fn accuracies(&self) -> String {
        match self.accuracy {
            Some([before, after]) => format!("{:.2} % to {:.2} %", 100.0 * before, 100.0 * after),
            None => "what is not known".to_owned(),
        }
    }

    fn noted(&self, calibrated: usize, versions: &Versions) -> serde_json::Value {
        json!({
            "to": "int8",
            "calibrated_on": calibrated,
            "measured_on": self.measured,
            "accuracy": self.accuracy,
            "agreement": self.agreement,
            "onnxruntime": versions.onnxruntime,
            "onnx": versions.onnx,
        })
    }
}

/// The class that is first for each sample.
fn tops(outputs: &Outputs) -> Vec<i64> {
    let rows = outputs.values.chunks(outputs.classes.max(1));
    let top = |row: &[f32]| {
        let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
        (0..row.len()).reduce(better).map_or(-1, |top| top as i64)
    };
    rows.map(top).collect()
}

fn tell(
    args: &QuantizeArgs,
    (figures, mut noted): (&Figures, serde_json::Value),
    [before, after]: [u64; 2],
    context: &Context,
) -> Result<(), CliError> {
    let mut stdout = context.stdout();
    if args.json {
        noted["model"] = json!(args.out);
        noted["bytes"] = json!([before, after]);
        serde_json::to_writer_pretty(&mut stdout, &noted)?;
        writeln!(stdout)?;
    } else {
        if figures.accuracy.is_some() {
            writeln!(
                stdout,
                "accuracy {} on {} pictures",
                figures.accuracies(),
                figures.measured
            )?;
        }
        writeln!(
            stdout,
            "both models say the same of {:.2} % of {} pictures; {before} bytes -> {after}",
            100.0 * figures.agreement,
            figures.measured
        )?;
    }
    stdout.flush()?;
    context.note(&format!("written to {}", args.out.display()));
    Ok(())
}
