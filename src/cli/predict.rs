//! `ftsurgery predict`: the classes of images.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use crate::classifier::{Inference, ModelInput, Origin, Picture, Pictures, Ranked};
use crate::data::{DataError, Preprocess, load_image};
use crate::report::plain_line;
use crate::runtime::Runtime;
use crate::task::Task;
use clap::Args;
use serde_json::json;

use super::classifier::{Classifier, ClassifierArgs};
use super::{CliError, Context, values};

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
        if context.stopped() {
            return Err(CliError::failure("stopped"));
        }
        let loaded = input.picture(path);
        if let Ok(Picture {
            note: Some(note), ..
        }) = &loaded
        {
            context.note(&format!("{}: {note}", path.display()));
        }
        let classified = match loaded {
            // What the model fails at, or wants, is no fault of the image.
            Ok(picture) => classify(&mut inference, &picture)?.ok_or_else(|| {
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
                let ranked = card.ranked(&probabilities, args.top);
                let image = path.display().to_string();
                if args.json {
                    let classes: Vec<_> = ranked.iter().map(Ranked::json).collect();
                    let mut entry = json!({ "image": image, "classes": classes });
                    if card.task.is_some_and(Task::is_multi_label) {
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
                        let below = match class.threshold.filter(|_| !class.applies()) {
                            Some(threshold) => format!("  (below {:.2} %)", 100.0 * threshold),
                            None => String::new(),
                        };
                        writeln!(out, "  {percent:6.2} %  {name}{below}")?;
                    }
                }
            }
            Err(error) => {
                broken += 1;
                context.tell(&error);
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
    let mut two = images.iter().filter_map(|path| input.picture(path).ok());
    let (Some(one), Some(other)) = (two.next(), two.next()) else {
        return Ok(None);
    };
    // Pictures of two sizes cannot be in one batch.
    if one.sample != other.sample {
        return Ok(None);
    }
    let two = [&one, &other];
    inference.run(&one.sample, two.len(), &mut |range, values| {
        let each = values.len() / range.len().max(1);
        for (picture, values) in two[range].iter().zip(values.chunks_exact_mut(each)) {
            picture.write(values)?;
        }
        Ok(())
    })?;
    Ok(inference.mixes().map(str::to_owned))
}

/// The probabilities of the classes; `None` where they are not finite.
fn classify(
    inference: &mut Inference,
    picture: &Picture<'_>,
) -> Result<Option<Vec<f64>>, CliError> {
    let outputs = inference.run(&picture.sample, 1, &mut |_, values| {
        Ok(picture.write(values)?)
    })?;
    let probabilities = outputs.probabilities().next().unwrap_or_default();
    Ok(outputs.not_finite().is_empty().then_some(probabilities))
}
