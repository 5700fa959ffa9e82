//! A whole run: from a model and data to tuned models.

use std::path::PathBuf;

use crate::analysis::{Analysis, AnalyzeOptions, Delimiters, image_input};
use crate::autodiff::Operators;
use crate::data::{Augment, Dataset, FeaturePrecision, Preprocess, Split, SplitFile, SplitOptions};
use crate::graph::{Dim, Graph, refuse_untrainable};
use crate::onnx::Model;
use crate::runtime::{Device, Runtime};
use crate::strategy::{Network, Strategy};
use crate::surgery::{Features, HeadKind, HeadSpec, graft, with_input_size};
use crate::training::{
    BatchNormMode, ClassWeights, Lab, LabOptions, Optimizer, Plateau, Trained, TrainingError,
};

use super::emit::Emitter;
use super::plan::Plan;
use super::record::{RunRecord, skipped_summary};
use super::results::Results;
use super::rundir::RunDir;
use super::runner::Runner;
use super::watch::Watcher;
use super::{ModelCard, ModelInput, SearchError};

/// How to tune.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The strategies, in the order they are run.
    pub strategies: Vec<Strategy>,
    /// Patterns of the layers of strategy `select`: layers, parameters or blocks by name.
    pub selection: Vec<String>,
    /// The head.
    pub head: HeadKind,
    /// Share of values dropped in the head, 0 to 1.
    pub dropout: f32,
    /// Value to take as the last feature map; `None` to search for it.
    pub features: Option<String>,
    /// What ends a block.
    pub delimiters: Delimiters,
    /// How pixels become input; `None` for the model's own, else the default.
    pub preprocess: Option<Preprocess>,
    /// Height and width of images, for models that leave it open.
    pub image_size: Option<(usize, usize)>,
    /// Random changes to the images that are trained on.
    pub augment: Augment,
    /// Augmented views of each image that are made once and kept; `None` makes new ones in every
    /// epoch.
    pub views: Option<usize>,
    /// How often the whole run is done, each time with the next seed; at least 1.
    pub repeats: usize,
    /// Parts of the data, order and seed; the seed is also that of the head, of batch order and of
    /// dropout, and the order is also that of batches.
    pub split: SplitOptions,
    /// Which statistics a BatchNormalization takes while it is trained.
    pub batch_norm: BatchNormMode,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning-rate schedule.
    pub plateau: Option<Plateau>,
    /// Epochs without a better validation score after which a trial ends; `None` trains all.
    pub early_stopping: Option<usize>,
    /// How much the samples of each class count in the loss.
    pub class_weights: ClassWeights,
    /// Samples per step.
    pub batch_size: usize,
    /// Epochs of a winner.
    pub epochs: usize,
    /// Epochs of a candidate in the search.
    pub search_epochs: usize,
    /// Threads; 0 for all cores.
    pub threads: usize,
    /// What step graphs may be made of.
    pub operators: Operators,
    /// The device.
    pub device: Device,
    /// Bytes of cached features in memory.
    pub memory_budget: u64,
    /// The type in which cached features are kept.
    pub feature_precision: FeaturePrecision,
    /// Whether the metrics get a line per step.
    pub log_steps: bool,
}

/// What to tune, and where the results go.
#[derive(Clone, Debug)]
pub struct Job {
    /// The model's file.
    pub model: PathBuf,
    /// The image folder or `.npz` file.
    pub data: PathBuf,
    /// The run's folder.
    pub out: PathBuf,
    /// Whether that folder may hold an earlier run, which is then replaced.
    pub force: bool,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// How.
    pub settings: Settings,
}

/// Tunes a model by every strategy asked for.
///
/// A strategy that fails, for instance by a loss that is not a number, is recorded in the results,
/// and the others go on.
///
/// # Errors
/// When model, data and settings do not fit, the run's folder cannot be written, or no strategy
/// works for this input.
pub fn tune(runtime: &Runtime, job: &Job, watcher: &dyn Watcher) -> Result<Results, SearchError> {
    let settings = &job.settings;
    RunDir::check(&job.out, job.force)?;
    settings.device.check(runtime)?;
    if settings.split.train_fraction <= 0.0 {
        return Err(SearchError::Setting(
            "the train fraction is 0: there is nothing to train on".to_owned(),
        ));
    }
    let file = Model::open(&job.model)?;
    file.ensure_fully_known()?;
    let original = at_image_size(&file, settings.image_size)?;
    let graph = Graph::from_model(&original)?;
    let mut card = ModelCard::read(&original)?;
    let input = ModelInput::of(
        &graph,
        &card,
        settings.image_size,
        settings.preprocess.as_ref(),
    )?;
    let analysis = Analysis::of(
        &original,
        &AnalyzeOptions {
            delimiters: settings.delimiters.clone(),
            features: settings.features.clone(),
            image_size: Some((input.height, input.width)),
            ..AnalyzeOptions::default()
        },
    )?;
    let features = features(&analysis, settings.head).or_else(|error| {
        // Where no feature map is found because of what no model may have, that is the news.
        refuse_untrainable(&graph)?;
        Err(error)
    })?;

    let dataset = input.open(
        &job.data,
        Some(&|done, total| watcher.decoding(done, total)),
    )?;
    if watcher.stopped() {
        return Err(TrainingError::Stopped.into());
    }
    if let Some(skipped) = skipped_summary(&dataset) {
        watcher.warning(&skipped);
    }
    let classes = classes(&graph, &dataset, &card, settings.head)?;
    let head = HeadSpec {
        dropout: settings.dropout,
        ..HeadSpec::new(settings.head, classes.len(), settings.split.seed)
    };
    let grafted = graft(&original, features.as_ref(), &head)?;
    let split = Split::of(&dataset, &settings.split)?;
    let network = Network {
        seed: settings.split.seed,
        selection: &settings.selection,
        ..Network::new(&analysis, &grafted, settings.head)
    };
    card = ModelCard {
        classes: Some(classes),
        preprocess: dataset
            .is_images()
            .then(|| input.spec.preprocess.clone())
            .or(card.preprocess),
        image_size: Some((input.height, input.width)),
    };
    let lab = Lab::new(
        runtime,
        &grafted,
        &dataset,
        input.spec.clone(),
        LabOptions {
            device: settings.device,
            threads: settings.threads,
            memory_budget: settings.memory_budget,
            spill_dir: job.out.clone(),
            feature_precision: Default::default(),
            augment: Default::default(),
            views: None,
            operators: settings.operators,
        },
    )?;

    let batch = settings.batch_size.clamp(1, split.train.len().max(1));
    let plan = Plan::new(&settings.strategies, &network, &split, &|sets| {
        lab.obstacles(batch, sets)
    })?;
    for strategy in &plan.strategies {
        if let Some(first) = strategy.skipped.first() {
            watcher.warning(&format!(
                "{} of {} candidates of `{}` are left out, the first, {}, because {}",
                strategy.skipped.len(),
                strategy.skipped.len() + strategy.candidates.len(),
                strategy.strategy,
                first.id,
                first.reason
            ));
        }
    }
    let candidates = plan.strategies.iter().flat_map(|s| &s.candidates);
    let all: Vec<String> = candidates.flat_map(|c| c.trainable.clone()).collect();
    let trained = Trained {
        parameters: &all,
        batch_norm: settings.batch_norm,
    };
    if let Some(note) = lab.batch_norm_note(trained)? {
        watcher.warning(&note);
    }

    let run = RunDir::create(&job.out, job.force)?;
    run.write_run(&RunRecord::new(
        job, runtime, &file, &analysis, &dataset, &split, &input, &plan,
    ))?;
    run.write_split(&SplitFile::new(&split, &dataset))?;
    Runner {
        lab: &lab,
        split: &split,
        settings,
        run: &run,
        emitter: Emitter {
            runtime,
            device: settings.device,
            threads: settings.threads,
            original: &original,
            grafted: &grafted,
            dataset: &dataset,
            input: &input.spec,
            batch_norm: settings.batch_norm,
            card,
        },
        watcher,
        begun: 0,
        total: plan.trials(),
    }
    .run(&plan)
}

/// The model made for the image size asked for, where it declares another.
///
/// # Errors
/// When its graph is malformed.
pub fn at_image_size(model: &Model, size: Option<(usize, usize)>) -> Result<Model, SearchError> {
    let input = image_input(&Graph::from_model(model)?);
    Ok(match (size, input) {
        (Some((height, width)), Some(input)) => {
            let axes = match input.layout {
                crate::analysis::Layout::Nchw => [2, 3],
                crate::analysis::Layout::Nhwc => [1, 2],
            };
            with_input_size(model, &input.name, axes, [height, width])
        }
        _ => model.with_proto(model.proto.clone()),
    })
}

/// The feature map that a new head is grafted on. The model's own head does without.
fn features(analysis: &Analysis, head: HeadKind) -> Result<Option<Features>, SearchError> {
    let backbone = match analysis.backbone() {
        Ok(backbone) => backbone,
        Err(_) if head == HeadKind::Keep => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (Some(height), Some(width)) = (backbone.height, backbone.width) else {
        if head == HeadKind::Keep {
            return Ok(None);
        }
        return Err(SearchError::Setting(format!(
            "the size of the feature map `{}` is not known; a head cannot be built on it",
            backbone.features
        )));
    };
    Ok(Some(Features {
        value: backbone.features.clone(),
        channels: backbone.channels,
        height,
        width,
        nhwc: backbone.layout == crate::analysis::Layout::Nhwc,
    }))
}

/// Names of the classes, in the order of the outputs: those of the data, for a new head; a kept
/// head needs as many as it has outputs, or of an array at most as many.
fn classes(
    graph: &Graph,
    dataset: &Dataset,
    card: &ModelCard,
    head: HeadKind,
) -> Result<Vec<String>, SearchError> {
    let of_data = dataset.classes();
    if head != HeadKind::Keep {
        return Ok(of_data.to_vec());
    }
    let outputs = graph.outputs.first().and_then(|o| o.dims.as_ref());
    let own = match outputs.and_then(|d| d.get(1)) {
        Some(Dim::Known(n)) => *n,
        _ => of_data.len(),
    };
    // Folders have names, so only a model of the same classes can be meant.
    if dataset.is_images() {
        let fits = match &card.classes {
            Some(names) => names == of_data,
            None => of_data.len() == own,
        };
        if fits {
            return Ok(of_data.to_vec());
        }
        let names = card
            .classes
            .as_ref()
            .map(|n| format!(" ({})", n.join(", ")));
        return Err(SearchError::Setting(format!(
            "the model has {own} classes{}, the data {} ({}); a new head (--head paper or linear) \
             fits any",
            names.unwrap_or_default(),
            of_data.len(),
            of_data.join(", ")
        )));
    }
    if of_data.len() > own {
        return Err(SearchError::Setting(format!(
            "the largest label of the data is {}, but the model has {own} classes (0 to {})",
            of_data.len() - 1,
            own.saturating_sub(1)
        )));
    }
    Ok(match &card.classes {
        Some(names) if names.len() == own => names.clone(),
        _ => (0..own).map(|c| c.to_string()).collect(),
    })
}
