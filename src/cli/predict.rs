//! `ftsurgery predict`: the classes of images.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use ftsurgery::classifier::{Inference, ModelCard, ModelInput, Origin, Pictures};
use ftsurgery::data::{DataError, Preprocess, load_image, load_image_and_note};
use ftsurgery::report::plain_line;
use ftsurgery::runtime::Runtime;
use ftsurgery::task::Task;
use serde_json::json;

use super::classifier::{Classifier, ClassifierArgs};
use super::{CliError, Context, values};

/// Classes that are printed of a model that tells which one applies.
const TOP: usize = 5;

const EXAMPLES: &str = "\
Examples:
  ftsurgery predict run/winners/blocks.onnx rose.jpg tulip.png
  ftsurgery predict classifier.onnx photo.jpg --preprocess signed --top 1 --json";

#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PredictArgs {
    /// The ONNX model
    model: PathBuf,
    /// Images: JPEG, PNG, WebP, GIF, BMP or TIFF
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many classes to print per image [default: 5; of a model that tells each class by itself, those that reach
    /// their threshold]
    #[arg(long, value_name = "N", value_parser = values::count)]
    top: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

pub fn run(args: &PredictArgs, context: &Context) -> Result<(), CliError> {
    let mut classifier = Classifier::open(&args.model, &args.classifier)?;
    let runtime = context.runtime()?;
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    look(&mut classifier, &runtime, args)?;
    let (card, input) = (&classifier.card, &classifier.input);
    let on = match args.images.len() {
        1 => "1 image".to_owned(),
        count => format!("{count} images"),
    };
    classifier.tell(true, &on, context);
    if let Some(mixes) = beside_others(&mut inference, input, &args.images)? {
        context.note(&format!("warning: {mixes}"));
    }

    let mut out = context.stdout();
    let mut list = Vec::new();
    let mut broken = 0;
    for path in &args.images {
        let resize = input.spec.preprocess.resize;
        let (height, width) = (input.height, input.width);
        let loaded = load_image_and_note(path, height, width, input.channels, resize);
        if let Ok((_, Some(note))) = &loaded {
            context.note(&format!("{}: {note}", path.display()));
        }
        let classified = match loaded {
            // What the model fails at, or wants, is no fault of the image.
            Ok((pixels, _)) => classify(&mut inference, input, &pixels)?.ok_or_else(|| {
                CliError::failure(format!(
                    "{}: the model's output is not a finite number",
                    path.display()
                ))
            }),
            Err(error @ DataError::Option { .. }) => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match classified {
            Ok(probabilities) => {
                let ranked = ranked(&probabilities, card, args.top);
                let image = path.display().to_string();
                if args.json {
                    let classes: Vec<_> = ranked.iter().map(Ranked::json).collect();
                    let mut entry = json!({ "image": image, "classes": classes });
                    if is_multi_label(card) {
                        entry["task"] = json!(Task::MultiLabel);
                    }
                    list.push(entry);
                } else {
                    writeln!(out, "{}", plain_line(&image))?;
                    if ranked.is_empty() {
                        let count = probabilities.len();
                        writeln!(out, "  none of {count} classes reaches its threshold")?;
                    }
                    for class in ranked {
                        let (name, percent) = (plain_line(&class.name), 100.0 * class.probability);
                        let below = match class.threshold.filter(|t| class.probability < *t) {
                            Some(threshold) => format!("  (below {:.2} %)", 100.0 * threshold),
                            None => String::new(),
                        };
                        writeln!(out, "  {percent:6.2} %  {name}{below}")?;
                    }
                }
            }
            Err(error) => {
                broken += 1;
                eprint!("{error}");
                if args.json {
                    list.push(json!({
                        "image": path.display().to_string(),
                        "error": error.message(),
                    }));
                }
            }
        }
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &list)?;
        writeln!(out)?;
    }
    out.flush()?;
    match broken {
        0 => Ok(()),
        _ => Err(CliError::failure(format!(
            "{broken} of {} images could not be classified",
            args.images.len()
        ))),
    }
}

/// Finds out how the model wants its pixels, where nobody says it, by the first images that can be read.
fn look(
    classifier: &mut Classifier,
    runtime: &Runtime,
    args: &PredictArgs,
) -> Result<(), CliError> {
    let input = &classifier.input;
    if !input.is_open() {
        return Ok(());
    }
    let (size, layout) = ([input.height, input.width], input.spec.layout);
    let (channels, resize) = (input.channels, input.spec.preprocess.resize);
    let load = |path: &PathBuf| load_image(path, size[0], size[1], channels, resize).ok();
    let looked_at = match input.origin {
        Origin::Guess => Pictures::MOST,
        _ => 0,
    };
    let pixels = args.images.iter().filter_map(load).take(looked_at);
    let pixels: Vec<Vec<u8>> = pixels.collect();
    let mut write = |preprocess: &Preprocess, range: Range<usize>, out: &mut [f32]| {
        let images = &pixels[range];
        let each = out.len() / images.len().max(1);
        for (image, out) in images.iter().zip(out.chunks_exact_mut(each)) {
            preprocess.write(image, channels, layout, out)?;
        }
        Ok(())
    };
    let mut pictures = Pictures {
        count: pixels.len(),
        write: &mut write,
    };
    classifier.look_at_pictures(&mut pictures, runtime, &args.classifier)
}

/// That a model says something else of an image beside others, if it does of the first two that can be read.
fn beside_others(
    inference: &mut Inference,
    input: &ModelInput,
    images: &[PathBuf],
) -> Result<Option<String>, CliError> {
    // What the graph tells of it needs no telling where each is run alone anyway.
    if images.len() < 2 || inference.mixes().is_some() {
        return Ok(None);
    }
    let (size, resize) = ([input.height, input.width], input.spec.preprocess.resize);
    let load = |path: &PathBuf| load_image(path, size[0], size[1], input.channels, resize).ok();
    let two: Vec<Vec<u8>> = images.iter().filter_map(load).take(2).collect();
    let sample = input
        .spec
        .sample_dims([input.channels, input.height, input.width]);
    inference.run(&sample, two.len(), &mut |range, values| {
        let (preprocess, layout) = (&input.spec.preprocess, input.spec.layout);
        let images = &two[range];
        let each = values.len() / images.len().max(1);
        for (image, values) in images.iter().zip(values.chunks_exact_mut(each)) {
            preprocess.write(image, input.channels, layout, values)?;
        }
        Ok(())
    })?;
    Ok(inference.mixes().map(str::to_owned))
}

/// The probabilities of the classes; `None` where they are not finite.
fn classify(
    inference: &mut Inference,
    input: &ModelInput,
    pixels: &[u8],
) -> Result<Option<Vec<f64>>, CliError> {
    let sample = input
        .spec
        .sample_dims([input.channels, input.height, input.width]);
    let outputs = inference.run(&sample, 1, &mut |_, values| {
        let (preprocess, layout) = (&input.spec.preprocess, input.spec.layout);
        Ok(preprocess.write(pixels, input.channels, layout, values)?)
    })?;
    let probabilities = outputs.probabilities().next().unwrap_or_default();
    Ok(outputs.not_finite().is_empty().then_some(probabilities))
}

/// Whether a model tells each class by itself, by its metadata.
fn is_multi_label(card: &ModelCard) -> bool {
    card.task.is_some_and(Task::is_multi_label)
}

/// A class with its probability.
struct Ranked {
    /// Its name, or its number where the model has no names.
    name: String,
    probability: f64,
    /// Where each class is told by itself, the probability from which on it applies.
    threshold: Option<f64>,
}

impl Ranked {
    fn json(&self) -> serde_json::Value {
        let mut class = json!({ "name": self.name, "probability": self.probability });
        if let Some(threshold) = self.threshold {
            class["threshold"] = json!(threshold);
            class["applies"] = json!(self.probability >= threshold);
        }
        class
    }
}

/// The `top` most probable classes; where each is told by itself and no number is given, those that reach their
/// threshold.
fn ranked(probabilities: &[f64], card: &ModelCard, top: Option<usize>) -> Vec<Ranked> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let name = |i: usize| {
        let names = card
            .classes
            .as_ref()
            .filter(|n| n.len() == probabilities.len());
        names.map_or_else(|| i.to_string(), |n| n[i].clone())
    };
    let several = is_multi_label(card);
    let of = |i: usize| Ranked {
        name: name(i),
        probability: probabilities[i],
        threshold: several.then(|| {
            let chosen = card.thresholds.as_ref().and_then(|all| all.get(i));
            chosen.copied().unwrap_or(0.5)
        }),
    };
    let all = order.into_iter().map(of);
    match top {
        None if several => all
            .filter(|class| class.threshold.is_some_and(|t| class.probability >= t))
            .collect(),
        top => all.take(top.unwrap_or(TOP)).collect(),
    }
}
