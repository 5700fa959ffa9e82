//! `ftsurgery evaluate`: how good a classifier is on a data set.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use crate::classifier::{Judge, ModelCard, by_place, image_folder, listed};
use crate::data::{Augment, Dataset, Limits, Part, SplitFile, composed};
use crate::report;
use crate::search::{Doing, Watcher};
use crate::surgery::Scores;
use crate::task::Task;
use crate::training::TrainingError;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::classifier::{Classifier, ClassifierArgs};
use super::data::DataArgs;
use super::progress::Progress;
use super::{CliError, Context};

const EXAMPLES: &str = "\
Models that ftsurgery tuned know their preprocessing and classes, and some of other tools their classes; the \
classes of a folder are matched to them by name. Of other models the preprocessing is found where they let it be \
(see --preprocess), and they need --classes or as many classes as the folder has.

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
    /// The data: a folder with a sub-folder of images per class (or with `train`, `val` and `test`, each such a
    /// folder), a list of images (.csv, .tsv, .txt or .jsonl), or an .npz file with `x` and `y`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Use one part of this split only, as `tune` wrote it (RUN/split.json) or by hand
    #[arg(long, value_name = "FILE", requires = "part")]
    split: Option<PathBuf>,
    /// Which part: of --split, else of the data's own where they give parts (`train`, `val` and `test` folders, or
    /// as flags say) [default: all images; of data that give parts, what is held out, else what validates]
    #[arg(long, value_enum)]
    part: Option<Asked>,
    #[command(flatten)]
    sources: DataArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Asked {
    Search,
    #[value(alias = "val")]
    Validation,
    Train,
    #[value(alias = "test")]
    HeldOut,
    All,
}

impl Asked {
    /// The part; `None` of all images.
    fn part(self) -> Option<Part> {
        match self {
            Asked::Search => Some(Part::Search),
            Asked::Validation => Some(Part::Validation),
            Asked::Train => Some(Part::Train),
            Asked::HeldOut => Some(Part::HeldOut),
            Asked::All => None,
        }
    }
}

pub fn run(args: &EvaluateArgs, context: &Context) -> Result<(), CliError> {
    let mut classifier = Classifier::open(&args.model, &args.classifier)?;
    let runtime = context.runtime()?;
    let progress = Progress::new(context);
    let decoding = |done, total| {
        progress.doing("", Doing::Decoding, done, total);
        !progress.stopped()
    };
    let limits = Limits {
        threads: args.classifier.threads(),
        image_folder: image_folder(),
        classes: 1,
        ..Limits::default()
    };
    let mut sources = args.sources.sources();
    // What is told of data that do not say themselves, the model says.
    sources.task = sources
        .task
        .or(classifier.card.task.filter(|task| task.is_multi_label()));
    let data = (args.data.as_path(), &sources);
    let input = &classifier.input;
    let dataset = input.open(data, None, &limits, Augment::None.into(), Some(&decoding))?;
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    classifier.look_at(&dataset, &runtime, args.classifier.threads())?;
    let (card, input) = (&classifier.card, &classifier.input);
    if let Some(skipped) = dataset.skipped_summary() {
        progress.warning(&skipped);
    }
    for told in dataset.told() {
        context.note(told);
    }
    for note in dataset.notes() {
        progress.warning(note);
    }
    let (part, samples) = samples(args, &dataset)?;
    let images = dataset.is_images();
    let what = if images { "images" } else { "samples" };
    let of_part = part.map(|part| format!(", the part {part}"));
    let on = format!(
        "{} {what} of {}{}",
        samples.len(),
        args.data.display(),
        of_part.unwrap_or_default()
    );
    classifier.tell(images, &on, context);
    if (images || dataset.has_class_names()) && card.classes.is_none() {
        progress.warning(&by_place(dataset.classes()));
    }
    let known = card.overlap(&dataset, &samples);
    if let Some(known) = known.filter(|k| k.seen > 0 && !args.wants_trained()) {
        let about = if known.estimated { "about " } else { "" };
        progress.warning(&format!(
            "{about}{} of {} {what} were trained on, or helped to choose the epoch, when this model was \
             tuned or repaired: the figures are better than what new {what} will show. Use new ones, or what its run \
             held out: --split RUN/split.json --part held_out",
            known.seen, known.of
        ));
    }
    let several = dataset.sets().is_some();
    let excludes = matches!(
        inference.scores(),
        Scores::Probabilities | Scores::LogProbabilities
    );
    if several && excludes {
        return Err(CliError::usage(format!(
            "{} tells which one of its classes an image is of, and those of {} may have several labels",
            args.model.display(),
            args.data.display()
        ))
        .with_hint("--task single-label takes a cell of a list, or its one column of 1, for one class"));
    }
    let mut judge = Judge::new(inference.scores()).half(inference.is_half());
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
            progress.doing("", Doing::Classifying, range.end, samples.len());
            if progress.stopped() {
                return Err(CliError::failure("stopped"));
            }
            if several {
                let sets = samples[range].iter().map(|&i| {
                    let own = dataset.classes_of(i).filter_map(|class| of_data.get(class));
                    let mut own: Vec<u32> = own.filter_map(|&c| u32::try_from(c).ok()).collect();
                    own.sort_unstable();
                    own
                });
                judge.take_sets(rows, classes, &sets.collect::<Vec<_>>());
                return Ok(());
            }
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
    if let Some(mixes) = inference.mixes() {
        context.note(&format!("warning: {mixes}"));
    }
    let not_finite = judge.not_finite().to_vec();
    let thresholds = card.thresholds.clone().unwrap_or_default();
    let predictions = judge.end().with_thresholds(&thresholds);
    let (names, _) = matched.unwrap_or_default();
    let supports = predictions.class_scores();
    let absent = names.iter().zip(&supports).filter(|(_, s)| s.support == 0);
    let absent: Vec<String> = absent.map(|(name, _)| name.clone()).collect();
    if !absent.is_empty() {
        context.note(&format!(
            "{} of the model's {} classes have no {what} here, and no figures of their own: {}",
            absent.len(),
            names.len(),
            listed(&absent)
        ));
    }

    let mut out = context.stdout();
    if args.json {
        let score = predictions.score();
        let mut result = json!({
            "samples": score.count,
            "part": part,
            "trained_on": known.map(|k| k.seen),
            "preprocess": images.then_some(&input.spec.preprocess),
            "preprocess_from": images.then_some(input.origin),
            "preprocess_scores": input.witness(),
            "macro_f1": score.macro_f1,
            "loss": score.loss,
            "calibrated_loss": score.calibrated_loss,
            "not_finite": not_finite.len(),
            "skipped": dataset.skipped().iter()
                .map(|s| json!({ "path": s.path, "reason": s.reason }))
                .collect::<Vec<_>>(),
        });
        let further = match several {
            true => json!({
                "task": Task::MultiLabel,
                "exact_match": score.accuracy,
                "average_precision": score.average_precision,
                "micro_f1": score.micro_f1,
            }),
            false => json!({
                "accuracy": score.accuracy,
                "balanced_accuracy": score.balanced_accuracy,
                "confusion": predictions.confusion(),
            }),
        };
        let classes = names.iter().zip(&supports).map(|(name, s)| {
            let mut class = json!({
                "name": name,
                "precision": s.precision,
                "recall": s.recall,
                "f1": s.f1,
                "support": s.support,
            });
            if several {
                class["average_precision"] = json!(s.average_precision);
                class["threshold"] = json!(s.threshold);
            }
            class
        });
        result["classes"] = classes.collect();
        if let (Some(result), Some(further)) = (result.as_object_mut(), further.as_object()) {
            result.extend(further.clone());
        }
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
        let trained = [Asked::Search, Asked::Validation, Asked::Train];
        self.part.is_some_and(|part| trained.contains(&part))
    }
}

/// The samples to use, and which part they are, if one.
fn samples(args: &EvaluateArgs, dataset: &Dataset) -> Result<(Option<Part>, Vec<usize>), CliError> {
    let all = || (None, (0..dataset.len()).collect());
    let asked = args.part.map(Asked::part);
    let of_file = match &args.split {
        Some(path) => Some(SplitFile::read(path)?.resolve(dataset, path)?),
        None => None,
    };
    let of = args.split.as_ref().unwrap_or(&args.data).display();
    let (given, part) = match (of_file.as_ref().or(dataset.given()), asked) {
        (_, Some(None)) => return Ok(all()),
        (None, None) => return Ok(all()),
        (None, Some(Some(part))) => {
            return Err(CliError::usage(format!(
                "{of} gives no parts, of which --part could take {part}"
            ))
            .with_hint("give a split with --split RUN/split.json, or leave --part out"));
        }
        (Some(given), Some(Some(part))) => (given, part),
        (Some(given), None) => {
            let usual = [Part::HeldOut, Part::Validation, Part::Train];
            let there = |part: &Part| given.part(*part).is_some_and(|list| !list.is_empty());
            (given, usual.into_iter().find(there).unwrap_or(Part::Train))
        }
    };
    match given.part(part) {
        Some(samples) if !samples.is_empty() => Ok((Some(part), samples.to_vec())),
        _ => Err(CliError::usage(format!("the part {part} of {of} is empty"))),
    }
}

/// Names of the model's classes, and for each class of the data its place among them.
pub(super) fn match_classes(
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
        Some(names) if dataset.has_class_names() => {
            let mut known = HashMap::new();
            for (name, place) in names.iter().zip(0..) {
                known.entry(composed(name)).or_insert(place);
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
        None if dataset.has_class_names() && of_data.len() != outputs => {
            Err(CliError::usage(format!(
                "the data has {} classes, the model {outputs}; its metadata does not name them",
                of_data.len()
            )))
        }
        None if dataset.has_class_names() => Ok((of_data.to_vec(), by_place)),
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
