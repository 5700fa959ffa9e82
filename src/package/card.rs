//! The model card: what is known of a model, how it came to be, and what it is worth, in Markdown.
//!
//! Source of the form: Mitchell et al. 2019, "Model Cards for Model Reporting"; the fields on top are those of Hugging Face.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::quantise::Quantised;
use crate::report::Proportion;
use crate::run::{HeldOut, RunError, RunFiles, RunRecord, StrategyResult, flags};
use crate::task::Task;

use super::facts::Facts;
use super::readme::{self, code, shown};

/// Classes that a card lists.
const LISTED: usize = 50;
/// Held-out samples of a class below which its figures say little.
const FEW: usize = 30;
/// Flags of a run that a card tells.
const RECIPE: [&str; 21] = [
    "optimizer",
    "lr",
    "head-lr",
    "layer-decay",
    "weight-decay",
    "momentum",
    "l2-sp",
    "schedule",
    "warmup",
    "epochs",
    "batch-size",
    "augment",
    "label-smoothing",
    "mixup",
    "cutmix",
    "class-weights",
    "ema",
    "bn",
    "head",
    "head-init",
    "seed",
];

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    /// The run that made it, and the entry of its results that is this model.
    pub run: Option<(RunFiles, StrategyResult)>,
    /// What it is worth as integers, and what it was worth before.
    pub quantised: Option<Quantised>,
    /// Under which licence it is.
    pub license: Option<String>,
    /// SHA-256 of the file that was packaged, in hexadecimal.
    pub sha256: String,
}

/// The run that made a model, and what it says of it: the run in the folder `run`, else that in whose folder `winners` the
/// file lies. `None` where there is none.
///
/// # Errors
/// When a run that is named is none, or has made no model of this hash.
pub fn of_winner(
    model: &Path,
    sha256: &str,
    run: Option<&Path>,
) -> Result<Option<(RunFiles, StrategyResult)>, RunError> {
    let own = || -> Option<PathBuf> {
        let folder = model.parent()?;
        let root = folder.parent().filter(|_| folder.ends_with("winners"))?;
        let root = match root.as_os_str().is_empty() {
            true => Path::new("."),
            false => root,
        };
        root.join("run.json").is_file().then(|| root.to_owned())
    };
    let Some(root) = run.map(Path::to_owned).or_else(own) else {
        return Ok(None);
    };
    let files = RunFiles::read(&root)?;
    let mut strategies = files.results.iter().flat_map(|results| &results.strategies);
    let made = strategies.find(|result| result.sha256.as_deref() == Some(sha256));
    let made = made.cloned();
    match (made, run) {
        (Some(made), _) => Ok(Some((files, made))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(RunError::NotOfRun {
            path: model.to_owned(),
            root,
        }),
    }
}

/// The card.
pub(super) fn card(facts: &Facts, origins: &Origins) -> String {
    let license = origins.license.as_deref().unwrap_or("unknown");
    let kind = match facts.task {
        Task::MultiLabel => "says of each of its classes whether it applies to a picture",
        _ => "says which of its classes a picture is of",
    };
    let mut text = format!(
        "---\nlicense: {}\npipeline_tag: image-classification\nlibrary_name: onnx\ntags: [onnx, image-classification]\n---\n\n\
         # {}\n\nAn ONNX model that {kind}: {} classes.\n\n\
         ```sh\npip install numpy onnxruntime pillow\npython classify.py photo.jpg\n```\n\n\
         `classify.py` needs nothing else; `classify.rs` is the same by the library that made this package.\n\n{}",
        serde_json::Value::from(license),
        shown(&facts.name),
        facts.classes.len(),
        readme::contract(facts)
    );
    classes(facts, &mut text);
    match &origins.run {
        Some((files, made)) => {
            data(&files.run, &mut text);
            tuning(&files.run, made, &mut text);
            figures(facts, made, &mut text);
        }
        None => text.push_str(
            "## Data, training, accuracy\n\nNothing is known of them here: the model was packaged without the run that made it.\n\n",
        ),
    }
    if let Some(quantised) = &origins.quantised {
        integers(quantised, &mut text);
    }
    limits(facts, origins, &mut text);
    let _ = writeln!(
        text,
        "## Licence\n\n{}\n\n## File\n\n`model.onnx`, made of a file of SHA-256 `{}` by ftsurgery {}.",
        match &origins.license {
            Some(license) => shown(license),
            None => "Not said. That of the backbone and of the data it was trained on may bind whoever uses it.".to_owned(),
        },
        origins.sha256,
        env!("CARGO_PKG_VERSION")
    );
    text
}

fn classes(facts: &Facts, text: &mut String) {
    let names = facts.classes.iter().take(LISTED).map(|name| shown(name));
    let names: Vec<String> = names.collect();
    let more = match facts.classes.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    let _ = writeln!(
        text,
        "## Classes\n\n{}{more}: a line each in `labels.txt`, in the order of the outputs.\n",
        names.join(", ")
    );
}

fn data(run: &RunRecord, text: &mut String) {
    let data = &run.data;
    let name = data.path.file_name().unwrap_or_default().to_string_lossy();
    let parts = &data.parts;
    let kind = if data.images { "images" } else { "samples" };
    let _ = writeln!(
        text,
        "## Data\n\n{} {kind} of {} classes ({}, fingerprint {}); {} files were left out.\n\n| part | {kind} | used for |\n| --- | --- | --- |\n\
         | search | {} | candidates are trained on it{} |\n| validation | {} | candidates and epochs are ranked on it |\n\
         | train | {} | the model is trained on it |\n| held out | {} | the figures below, and nothing else |\n",
        data.samples,
        data.classes.len(),
        code(&name),
        code(&data.fingerprint),
        data.skipped.len(),
        parts.search,
        match run.configuration.settings.split.search_apart {
            true => "",
            false => ", and the model",
        },
        parts.validation,
        parts.train,
        parts.held_out
    );
}

fn tuning(run: &RunRecord, made: &StrategyResult, text: &mut String) {
    let backbone = run.model.path.file_name().unwrap_or_default();
    let _ = writeln!(
        text,
        "## Training\n\nTuned of {} (SHA-256 `{}`) by strategy {}: {}, {} trained values in {} layers and the head.\n",
        code(&backbone.to_string_lossy()),
        run.model.sha256,
        code(&made.name.to_string()),
        code(made.candidate.as_deref().unwrap_or("no candidate")),
        made.trained_parameters.unwrap_or(0),
        made.layers.len()
    );
    if made.epochs == Some(0) {
        text.push_str(
            "The head was solved on what the frozen layers give; nothing else was trained.\n\n",
        );
        return;
    }
    let told = flags(&run.configuration.settings);
    let mut told: Vec<String> = told
        .into_iter()
        .filter(|(name, _)| RECIPE.contains(name))
        .filter_map(|(name, value)| Some(format!("--{name} {}", value.shown()?)))
        .collect();
    if let Some(rate) = made.rate {
        told.push(format!("learning rate as found {rate}"));
    }
    if let Some(epochs) = made.epochs {
        told.push(format!("{epochs} epochs trained"));
    }
    let told: Vec<String> = told.iter().map(|flag| code(flag)).collect();
    let _ = writeln!(text, "Recipe: {}.\n", told.join(", "));
}

fn figures(facts: &Facts, made: &StrategyResult, text: &mut String) {
    text.push_str("## Accuracy\n\n");
    let Some(held_out) = &made.held_out else {
        text.push_str("No sample was held out: nothing is known of pictures that it was not trained or chosen on.\n\n");
        return;
    };
    let score = &held_out.score;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let interval = Proportion::of(score.accuracy, score.count).map(|p| {
        let (low, high) = p.interval();
        format!(" (95 % interval {} to {})", percent(low), percent(high))
    });
    let what = match facts.task {
        Task::MultiLabel => "exact matches",
        _ => "accuracy",
    };
    let _ = writeln!(
        text,
        "On {} held-out samples:\n\n| | |\n| --- | --- |\n| {what} | {}{} |\n| balanced accuracy | {} |\n| macro F1 | {} |",
        score.count,
        percent(score.accuracy),
        interval.unwrap_or_default(),
        percent(score.balanced_accuracy),
        percent(score.macro_f1)
    );
    if let Some(precision) = score.average_precision {
        let _ = writeln!(text, "| mean average precision | {} |", percent(precision));
    }
    let _ = writeln!(text, "| loss | {:.4} |\n", score.loss);
    by_class(facts, held_out, text);
}

/// What both models are worth, of floats and of integers.
fn integers(quantised: &Quantised, text: &mut String) {
    let Quantised {
        to,
        calibrated_on,
        measured_on,
        accuracy,
        agreement,
        versions,
    } = quantised;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let _ = writeln!(
        text,
        "## Quantised to {}\n\nBy onnxruntime {}, with ranges of {calibrated_on} pictures. On {measured_on} others:\n\n\
         | | float | {0} |\n| --- | --- | --- |",
        shown(to),
        shown(&versions.onnxruntime)
    );
    match accuracy {
        Some([before, after]) => {
            let _ = writeln!(
                text,
                "| accuracy | {} | {} |",
                percent(*before),
                percent(*after)
            );
        }
        None => text.push_str("| accuracy | not measured | not measured |\n"),
    }
    let _ = writeln!(
        text,
        "\nBoth say the same of {} of them. Figures of training, where there are such above, are those of the float model.\n",
        percent(*agreement)
    );
}

fn by_class(facts: &Facts, held_out: &HeldOut, text: &mut String) {
    text.push_str(
        "| class | samples | precision | recall | F1 |\n| --- | --- | --- | --- | --- |\n",
    );
    for (name, class) in facts.classes.iter().zip(held_out.by_class()) {
        let _ = writeln!(
            text,
            "| {} | {} | {:.3} | {:.3} | {:.3} |",
            shown(name),
            class.support,
            class.precision,
            class.recall,
            class.f1
        );
    }
    text.push('\n');
}

fn limits(facts: &Facts, origins: &Origins, text: &mut String) {
    text.push_str("## Limits\n\n");
    if facts.task != Task::MultiLabel {
        text.push_str(
            "- Every picture is taken for one of the classes, also one that shows none of them.\n",
        );
    }
    text.push_str(
        "- The figures are of pictures like those that it was trained on; of other cameras, places or times nothing is known.\n\
         - Probabilities are not calibrated: 90 % does not mean that nine of ten are right.\n",
    );
    let held_out = origins
        .run
        .as_ref()
        .and_then(|(_, made)| made.held_out.as_ref());
    if let Some(held_out) = held_out {
        let scores = held_out.by_class();
        let few: Vec<String> = facts
            .classes
            .iter()
            .zip(&scores)
            .filter(|(_, class)| class.support < FEW)
            .map(|(name, _)| shown(name))
            .collect();
        if !few.is_empty() {
            let names = &few[..few.len().min(LISTED)];
            let more = match few.len() - names.len() {
                0 => String::new(),
                more => format!(" and {more} others"),
            };
            let _ = writeln!(
                text,
                "- Fewer than {FEW} samples were held out of {}{more}: their figures say little.",
                names.join(", ")
            );
        }
    }
    if let Some(why) = &facts.alone {
        let _ = writeln!(text, "- Run pictures one at a time: {}.", shown(why));
    }
    text.push('\n');
}
