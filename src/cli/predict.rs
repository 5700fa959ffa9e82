//! `ftsurgery predict`: the classes of images.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use ftsurgery::classifier::{Inference, ModelCard, ModelInput};
use ftsurgery::data::{DataError, load_image_and_note};
use ftsurgery::report::plain_line;
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
    /// How many classes to print per image
    #[arg(long, value_name = "N", default_value = "5", value_parser = values::count)]
    top: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

pub fn run(args: &PredictArgs, context: &Context) -> Result<(), CliError> {
    let classifier = Classifier::open(&args.model, &args.classifier)?;
    let (card, input) = (&classifier.card, &classifier.input);
    let runtime = context.runtime()?;
    let mut inference = classifier.load(&runtime, &args.classifier)?;
    classifier.tell(true, &format!("{} images", args.images.len()), context);

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
                if args.json {
                    let classes: Vec<_> = ranked
                        .iter()
                        .map(|(name, p)| json!({ "name": name, "probability": p }))
                        .collect();
                    list.push(json!({ "image": path.display().to_string(), "classes": classes }));
                } else {
                    let image = path.display().to_string();
                    writeln!(out, "{}", plain_line(&image))?;
                    for (name, probability) in ranked {
                        let name = plain_line(&name);
                        writeln!(out, "  {:6.2} %  {name}", 100.0 * probability)?;
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

/// The `top` most probable classes, by name, or by number where the model has no names for them.
fn ranked(probabilities: &[f64], card: &ModelCard, top: usize) -> Vec<(String, f64)> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let name = |i: usize| {
        let names = card
            .classes
            .as_ref()
            .filter(|n| n.len() == probabilities.len());
        names.map_or_else(|| i.to_string(), |n| n[i].clone())
    };
    order
        .into_iter()
        .take(top)
        .map(|i| (name(i), probabilities[i]))
        .collect()
}
