//! `ftsurgery differentiate --format web`: a page that fine-tunes in a browser.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::adapter::backbone_sha256;
use crate::analysis::{Analysis, AnalyzeOptions};
use crate::classifier::{ModelCard, ModelInput, Origin, at_image_size, feature_map};
use crate::data::{Preprocess, Resize};
use crate::graph::Graph;
use crate::onnx::messages::ModelProto;
use crate::onnx::{DataType, Model, Tensor, create_folder, encode, set_metadata, write_atomic};
use crate::package::PICTURES;
use crate::report::plain_line;
use crate::surgery::{HeadKind, HeadSpec, METADATA_PREFIX, export, graft};
use crate::task::Task;
use crate::training::{Objective, OptimizerKind, Parameters, differentiable};
use crate::training_graph::{Batch, Role, TrainingGraph, TrainingGraphError, training_graph};
use clap::Args;
use serde_json::{Value, json};

use super::told::{self, Section};
use super::training::{asked_value, ensure_apart, options};
use super::{DifferentiateArgs, sample_dims};
use crate::cli::gradients::no_gradient;
use crate::cli::{CliError, Context, runtime_web, signals, values};

const MODEL: &str = "model.onnx";
const TRAINING: &str = "training.onnx";
const STATE: &str = "state.safetensors";
const CONTRACT: &str = "contract.json";
/// What the page itself is.
const PAGE: [(&str, &str); 6] = [
    ("index.html", include_str!("page/index.html")),
    ("style.css", include_str!("page/style.css")),
    ("app.js", include_str!("page/app.js")),
    ("train.js", include_str!("page/train.js")),
    ("pictures.js", PICTURES),
    ("files.js", include_str!("page/files.js")),
];

/// Flags of a page.
#[derive(Args)]
#[command(next_help_heading = "Page for a browser")]
pub struct WebArgs {
    /// With --format web, which has to be told it: the classes of the new head, by name or how many. The page lets them be
    /// named otherwise
    #[arg(long, value_name = "A,B,…|N")]
    classes: Option<Classes>,
    /// How the page makes the model's input of pixels: `unit`, `signed`, `imagenet`, `caffe` or `raw`, with `-bgr` or `-rgb`
    /// behind it for the other order of the colours [default: what the model's metadata say]
    #[arg(long, value_name = "PRESET", value_parser = values::preprocess, requires = "classes")]
    preprocess: Option<Preprocess>,
    /// How the page brings pictures to the input's size: `squash`, `crop`, `crop:SHARE` or `letterbox` [default: what the
    /// model's metadata say, else squash]
    #[arg(long, value_name = "RULE", value_parser = values::option::<Resize>, requires = "classes")]
    resize: Option<Resize>,
    /// The folder `dist` of npm's package onnxruntime-web, of which the page needs some files [default: that of the package
    /// where node would find it]
    #[arg(long, value_name = "DIR", requires = "classes")]
    runtime_web: Option<PathBuf>,
}

/// Classes by name, or how many.
#[derive(Clone, Debug)]
struct Classes(Vec<String>);

impl FromStr for Classes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = match text.parse::<usize>() {
            // A page with more boxes is of no use.
            Ok(count @ 2..=1000) => (1..=count).map(|n| format!("class {n}")).collect(),
            Ok(_) => return Err("expected 2 to 1000 classes".to_owned()),
            Err(_) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let twice = |(i, name): (usize, &String)| names[..i].contains(name);
        if names.len() < 2 || names.contains(&String::new()) {
            return Err(
                "expected two names or more with commas between them, or a number".to_owned(),
            );
        }
        match names.iter().enumerate().any(twice) {
            true => Err("a name is there twice".to_owned()),
            false => Ok(Classes(names)),
        }
    }
}

pub fn run(args: &DifferentiateArgs, context: &Context) -> Result<(), CliError> {
    let Some(Classes(classes)) = &args.web.classes else {
        return Err(CliError::usage("--format web wants --classes")
            .with_hint("give names, as --classes cats,dogs, or how many, as --classes 2"));
    };
    refuse_others(args)?;
    let file = Model::open(&args.model)?;
    let page = PAGE.iter().map(|(name, _)| *name);
    for name in page.chain([MODEL, TRAINING, STATE, CONTRACT]) {
        values::ensure_new(&args.out.join(name), "--out", &file.files(), args.force)?;
    }
    let runtime = runtime_web::find(args.web.runtime_web.as_deref())?;

    let model = at_image_size(&file, args.image_size)?;
    let input = input_of(&model, args)?;
    let (template, output) = with_head(&model, args, (&input, classes.len()))?;
    let sample = sample_dims(&template, args.image_size)?;
    let objective = Objective::Task(Task::SingleLabel);
    let kind = args.step.optimizer.unwrap_or(OptimizerKind::Adamw);
    let options = options(args, kind, objective)?.batch(Batch::Any);
    let all = Parameters::of(&template, &sample, objective)?;
    let names = args.trainable.of(all, context)?;
    let template = in_file(template, &names)?;
    let backbone = backbone_sha256(&template)?;
    let made = training_graph(&template, &backbone, &names, &sample, &options);
    let made = made.map_err(|error| match error {
        TrainingGraphError::Training(error) => {
            let left = || differentiable(&template, &names, 2, &sample, objective);
            no_gradient(error, left)
        }
        error => error.into(),
    })?;
    if made.freed.is_some() {
        ensure_apart(&template, &sample, objective, context)?;
    }
    let told = Told {
        input: &input,
        classes,
        output: &output,
    };
    let contract = told.contract(&template, &made)?;
    let contract = serde_json::to_vec_pretty(&contract)?;
    let training = encode(&made.model)?;
    signals::before_stops(|| -> Result<(), CliError> {
        create_folder(&args.out).map_err(|e| CliError::cannot_write(&args.out, &e))?;
        let page = PAGE.iter().map(|(name, text)| (*name, text.as_bytes()));
        let models = [
            (MODEL, template.file_bytes().as_ref()),
            (TRAINING, &training),
            (CONTRACT, &contract),
        ];
        for (name, bytes) in models.into_iter().chain(page) {
            let path = args.out.join(name);
            write_atomic(&path, bytes).map_err(|e| CliError::cannot_write(&path, &e))?;
        }
        made.state.write(&args.out.join(STATE))?;
        match &runtime {
            Some(from) => runtime_web::copy(from, &args.out),
            None => Ok(()),
        }
    })?;
    tell(args, &names, runtime.as_deref(), context)
}

/// Refuses flags of which a page would be told in vain.
fn refuse_others(args: &DifferentiateArgs) -> Result<(), CliError> {
    let step = &args.step;
    let in_vain = [
        ("--state", step.state.is_some()),
        ("--output", asked_value(args)?.is_some()),
        (
            "--batch-size",
            !matches!(args.batch_size, Batch::Fixed(1) | Batch::Any),
        ),
        (
            "--task",
            args.task
                .asked()
                .is_some_and(|task| task != Task::SingleLabel),
        ),
        ("--loss", step.has_loss()),
    ];
    match in_vain.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError::usage(format!(
            "{flag} is not taken with --format web: the page trains a new head, of one class for each picture, with batches \
             of any size"
        ))),
        None => Ok(()),
    }
}

/// How pictures become the model's input.
fn input_of(model: &Model, args: &DifferentiateArgs) -> Result<ModelInput, CliError> {
    let (graph, card) = (Graph::from_model(model)?, ModelCard::read(model)?);
    let web = &args.web;
    if card.embedded.is_some() {
        return Err(CliError::usage(
            "the model has its preprocessing inside: take the one that it was packaged of",
        ));
    }
    let input = ModelInput::of(
        &graph,
        &card,
        args.image_size,
        web.preprocess.as_ref(),
        web.resize,
    )?;
    if input.origin == Origin::Guess {
        return Err(
            CliError::usage("the model does not say how its input is made of pixels")
                .with_hint("say it with --preprocess"),
        );
    }
    if ![1, 3].contains(&input.channels) {
        return Err(CliError::usage(format!(
            "the model takes {} channels; a page makes 1 or 3 of a picture",
            input.channels
        )));
    }
    Ok(input)
}

/// The model with a new head and the metadata of what will be trained with it, and the head's output.
fn with_head(
    model: &Model,
    args: &DifferentiateArgs,
    (input, classes): (&ModelInput, usize),
) -> Result<(Model, String), CliError> {
    let analysis = AnalyzeOptions {
        image_size: args.image_size,
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(model, &analysis)?;
    let backbone = analysis
        .backbone()
        .map_err(|e| CliError::usage(e.to_string()))?;
    let Some(features) = feature_map(backbone) else {
        return Err(CliError::usage(format!(
            "the size of the feature map `{}` is not known; a head cannot be built on it",
            backbone.features
        )));
    };
    let grafted = graft(
        model,
        Some(&features),
        &HeadSpec::new(HeadKind::Linear, classes, 0),
    )?;
    let preprocess = serde_json::to_string(&input.spec.preprocess)?;
    let size = format!("{}x{}", input.height, input.width);
    let mut proto = export(grafted.editor(model)?, &[], &[])?.proto;
    // What it says of how the backbone was trained is not true of what the page makes.
    let ours = |key: &str| key.starts_with(METADATA_PREFIX);
    proto
        .metadata_props
        .retain(|entry| !entry.key.as_deref().is_some_and(ours));
    for (key, value) in [
        ("preprocess", preprocess.as_str()),
        ("image_size", &size),
        ("task", &Task::SingleLabel.to_string()),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        set_metadata(&mut proto, &format!("{METADATA_PREFIX}{key}"), value);
    }
    Ok((model.with_proto(proto), grafted.output))
}

/// The model as read from the file that it becomes, in which each of these tensors has its own bytes.
fn in_file(model: Model, names: &[String]) -> Result<Model, CliError> {
    let mut proto: ModelProto = model.proto;
    let tensors = proto
        .graph
        .iter_mut()
        .flat_map(|graph| &mut graph.initializer);
    for tensor in tensors.filter(|tensor| tensor.raw_data.is_none()) {
        let Some(name) = tensor.name.clone().filter(|name| names.contains(name)) else {
            continue;
        };
        *tensor = Tensor::from_proto(tensor)?.to_proto(&name);
    }
    Ok(Model::decode(encode(&proto)?.into(), Path::new(MODEL))?)
}

/// What the page is told.
struct Told<'a> {
    input: &'a ModelInput,
    classes: &'a [String],
    output: &'a str,
}

impl Told<'_> {
    /// Names of files, inputs and outputs, how pictures become the input, and where in the model's file the values that are
    /// trained stand.
    fn contract(&self, template: &Model, made: &TrainingGraph) -> Result<Value, CliError> {
        let graph = Graph::from_model(template)?;
        let mut trained = Vec::new();
        for (name, tensor) in made.state.trained() {
            let own = graph.initializers.get(name).map(|tensor| tensor.dtype);
            if let Some(other) = own.filter(|dtype| *dtype != DataType::Float) {
                return Err(CliError::usage(format!(
                    "`{name}` is {other:?}; a page writes float32 alone"
                )));
            }
            let place = template.place_of(name);
            let place = place.filter(|place| place.len() == tensor.data.len());
            let Some(place) = place else {
                return Err(CliError::usage(format!(
                    "the values of `{name}` have no bytes of their own in the model's file, into which a page could write"
                )));
            };
            let role = match made.state.has_averages() {
                true => Role::Average(name.to_owned()),
                false => match made.state.get(&Role::Running(name.to_owned())) {
                    Some(_) => Role::Running(name.to_owned()),
                    None => Role::Parameter(name.to_owned()),
                },
            };
            trained.push(json!({
                "state": role.to_string(),
                "offset": place.start,
                "bytes": place.len(),
            }));
        }
        let contract = &made.contract;
        let labels = contract.labels.as_ref().map(|labels| &labels.name);
        let logits = contract.logits.as_ref().map(|logits| &logits.name);
        let preprocess = &self.input.spec.preprocess;
        Ok(json!({
            "model": MODEL,
            "training": TRAINING,
            "state": STATE,
            "classes": self.classes,
            "input": {
                "name": self.input.name,
                "channels": self.input.channels,
                "height": self.input.height,
                "width": self.input.width,
                "layout": self.input.spec.layout,
                "preprocess": preprocess,
            },
            "probabilities": self.output,
            "labels": labels,
            "logits": logits,
            "learning_rate": contract.learning_rate,
            "loss": contract.loss,
            "trained": trained,
        }))
    }
}

fn tell(
    args: &DifferentiateArgs,
    names: &[String],
    runtime: Option<&Path>,
    context: &Context,
) -> Result<(), CliError> {
    let trained = Section {
        heading: "trained in the page",
        lines: Vec::new(),
        many: names
            .iter()
            .map(|name| plain_line(name).into_owned())
            .collect(),
    };
    told::tell(&[trained], context)?;
    if runtime.is_none() {
        context.note(&runtime_web::how_to_get(&args.out));
    }
    context.note(&format!(
        "written to {}; a file server shows it, such as `python3 -m http.server --directory {}`",
        args.out.display(),
        args.out.display()
    ));
    Ok(())
}
