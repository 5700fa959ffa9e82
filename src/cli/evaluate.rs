//! `ftsurgery evaluate`: how good a classifier is on a data set.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ftsurgery::classifier::{Judge, ModelCard, image_folder};
use ftsurgery::data::{Augment, Dataset, Limits, SplitFile};
use ftsurgery::report;
use ftsurgery::search::Watcher;
use ftsurgery::training::TrainingError;
use serde_json::json;

use super::classifier::{Classifier, ClassifierArgs};
use super::progress::Progress;
use super::{CliError, Context};

const EXAMPLES: &str = "\
Models that ftsurgery tuned know their preprocessing and classes; the classes of a folder are matched \
to them by name. Other models need --preprocess, and as many classes as the folder has.

Images that a model was trained on say little of what it is worth on others. Tuned models know theirs \
(by eight characters an image in their metadata): a warning says how many of them are in the data.

Examples:
  ftsurgery evaluate run/winners/blocks.onnx --data photos --split run/split.json --part held_out
  ftsurgery evaluate run/winners/blocks.onnx --data new-photos
  ftsurgery evaluate classifier.onnx --data photos --preprocess signed --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct EvaluateArgs {
    /// The ONNX model
    model: PathBuf,
    /// The data: a folder with a sub-folder of images per class, or an .npz file with `x` and `y`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Use one part of this split only, as `tune` wrote it (RUN/split.json)
    #[arg(long, value_name = "FILE", requires = "part")]
    split: Option<PathBuf>,
    /// Which part
    #[arg(long, value_enum, requires = "split")]
    part: Option<Part>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Part {
    Search,
    Validation,
    Train,
    HeldOut,
}

pub fn run(args: &EvaluateArgs, context: &Context) -> Result<(), CliError> {
    let classifier = Classifier::open(&args.model, &args.classifier)?;
    let (card, input) = (&classifier.card, &classifier.input);
    let runtime = context.runtime()?;
    let progress = Progress::new(context);
    let decoding = |done, total| {
        progress.count("decoding", done, total);
        true
    };
    let limits = Limits {
        threads: args.classifier.threads(),
        image_folder: image_folder(),
        ..Limits::default()
    };
    let dataset = input.open(&args.data, &limits, Augment::None, Some(&decoding))?;
    if let Some(skipped) = dataset.skipped_summary() {
        progress.warning(&skipped);
    }
    for note in dataset.notes() {
        progress.warning(note);
    }
    let samples = samples(args, &dataset)?;
    let images = dataset.is_images();
    let what = if images { "images" } else { "samples" };
    let on = format!("{} {what} of {}", samples.len(), args.data.display());
    classifier.tell(images, &on, context);
    if images && card.classes.is_none() {
        progress.warning(&format!(
            "the model does not name its classes: its outputs are taken for the data's, in this order: {}",
            listed(dataset.classes())
        ));
    }
    let known = card.overlap(&dataset, &samples);
    if let Some(known) = known.filter(|k| k.seen > 0 && !args.wants_trained()) {
        let about = if known.estimated { "about " } else { "" };
        progress.warning(&format!(
            "{about}{} of {} {what} were trained on, or helped to choose the epoch, when this model was \
             tuned: the figures are better than what new {what} will show. Use new ones, or what its run \
             held out: --split RUN/split.json --part held_out",
            known.seen, known.of
        ));
    }
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    let mut judge = Judge::new(inference.scores());
    let mut matched = None;
    let judged = inference.each_batch(
        &dataset,
        &samples,
        &input.spec,
        &mut |range, rows, classes| {
            // How many classes the model has, its first outputs tell.
            let (_, of_data) = match &mut matched {
                Some(matched) => matched,
                none => none.insert(match_classes(card, &dataset, classes)?),
            };
            progress.count("classifying", range.end, samples.len());
            let labels = samples[range].iter().map(|&i| {
                let label = usize::try_from(dataset.labels()[i]).unwrap_or(usize::MAX);
                of_data.get(label).copied().ok_or(TrainingError::Label {
                    name: dataset.name(i),
                    label: dataset.labels()[i],
                    classes,
                })
            });
            judge.take(rows, classes, &labels.collect::<Result<Vec<i64>, _>>()?);
            Ok::<(), CliError>(())
        },
    );
    progress.finish();
    judged?;
    let not_finite = judge.not_finite().to_vec();
    let predictions = judge.end();
    let (names, _) = matched.unwrap_or_default();

    let mut out = context.stdout();
    if args.json {
        let score = predictions.score();
        let scores = predictions.class_scores();
        let classes: Vec<_> = names
            .iter()
            .zip(&scores)
            .map(|(name, s)| {
                json!({
                    "name": name,
                    "precision": s.precision,
                    "recall": s.recall,
                    "f1": s.f1,
                    "support": s.support,
                })
            })
            .collect();
        let result = json!({
            "samples": score.count,
            "trained_on": known.map(|k| k.seen),
            "preprocess": images.then_some(&input.spec.preprocess),
            "preprocess_from": images.then_some(input.origin),
            "accuracy": score.accuracy,
            "balanced_accuracy": score.balanced_accuracy,
            "macro_f1": score.macro_f1,
            "loss": score.loss,
            "not_finite": not_finite.len(),
            "classes": classes,
            "confusion": predictions.confusion(),
            "skipped": dataset.skipped().iter()
                .map(|s| json!({ "path": s.path, "reason": s.reason }))
                .collect::<Vec<_>>(),
        });
        serde_json::to_writer_pretty(&mut out, &result)?;
        writeln!(out)?;
    } else {
        let text = report::evaluation(&predictions, &names, context.is_terminal());
        writeln!(out, "{text}")?;
    }
    out.flush()?;
    match not_finite.first() {
        None => Ok(()),
        Some(&first) => Err(CliError::failure(format!(
            "the model's outputs for {} of {} samples are not finite numbers, which count as wrong; \
             the first: {}",
            not_finite.len(),
            samples.len(),
            dataset.name(samples[first])
        ))),
    }
}

impl EvaluateArgs {
    /// Whether a part that was trained on is asked for by name.
    fn wants_trained(&self) -> bool {
        matches!(
            self.part,
            Some(Part::Search | Part::Validation | Part::Train)
        )
    }
}

/// The samples to use.
fn samples(args: &EvaluateArgs, dataset: &Dataset) -> Result<Vec<usize>, CliError> {
    let (Some(path), Some(part)) = (&args.split, args.part) else {
        return Ok((0..dataset.len()).collect());
    };
    let split = SplitFile::read(path)?.resolve(dataset, path)?;
    let samples = match part {
        Part::Search => split.search,
        Part::Validation => split.validation,
        Part::Train => split.train,
        Part::HeldOut => split.held_out,
    };
    if samples.is_empty() {
        return Err(CliError::usage(format!(
            "that part of {} is empty",
            path.display()
        )));
    }
    Ok(samples)
}

/// Names in a sentence: of many, the first.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 100;
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len() - names.len().min(SHOWN) {
        0 => first,
        more => format!("{first} and {more} others"),
    }
}

/// Names of the model's classes, and for each class of the data its place among them.
fn match_classes(
    card: &ModelCard,
    dataset: &Dataset,
    outputs: usize,
) -> Result<(Vec<String>, Vec<i64>), CliError> {
    let of_data = dataset.classes();
    if let Some(names) = &card.classes
        && names.len() != outputs
    {
        return Err(CliError::usage(format!(
            "the model names {} classes in its metadata, but has {outputs} outputs",
            names.len()
        )));
    }
    let by_place = (0..).take(of_data.len()).collect();
    match &card.classes {
        Some(names) if dataset.is_images() => {
            let mut known = HashMap::new();
            for (name, place) in names.iter().zip(0..) {
                known.entry(name).or_insert(place);
            }
            let places = of_data.iter().map(|class| {
                known.get(class).copied().ok_or_else(|| {
                    CliError::usage(format!(
                        "the data has a class {class:?}, which is none of the model's: {}",
                        listed(names)
                    ))
                })
            });
            Ok((names.clone(), places.collect::<Result<_, _>>()?))
        }
        None if dataset.is_images() && of_data.len() != outputs => Err(CliError::usage(format!(
            "the data has {} classes, the model {outputs}; its metadata does not name them",
            of_data.len()
        ))),
        None if dataset.is_images() => Ok((of_data.to_vec(), by_place)),
        names => {
            let numbers = || (0..outputs).map(|n| n.to_string()).collect();
            if of_data.len() > outputs {
                return Err(CliError::usage(format!(
                    "the largest label of the data is {}, but the model has {outputs} classes",
                    of_data.len() - 1
                )));
            }
            Ok((names.clone().unwrap_or_else(numbers), by_place))
        }
    }
}
