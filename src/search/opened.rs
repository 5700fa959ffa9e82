//! Model and data of a run, opened and checked once for all repetitions.

use crate::analysis::{Analysis, AnalyzeOptions};
use crate::classifier::{
    ClassifierError, ModelCard, ModelInput, Origin, at_image_size, image_folder,
};
use crate::data::{DataError, Dataset, ImageCache, Limits, Split, memory_limit, show_bytes};
use crate::graph::{Graph, normalise, refuse_untrainable};
use crate::onnx::Model;
use crate::run::Settings;
use crate::runtime::Runtime;
use crate::surgery::{Features, HeadKind};
use crate::training::TrainingError;

use super::head::{classes, features};
use super::watch::{Watcher, go_on};
use super::{Job, SearchError};

/// Model and data, which all repetitions share.
pub(super) struct Opened<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) job: &'a Job,
    /// With the number of threads and the memory in force.
    pub(super) settings: &'a Settings,
    pub(super) watcher: &'a dyn Watcher,
    pub(super) file: Model,
    pub(super) original: Model,
    pub(super) card: ModelCard,
    pub(super) classes: Vec<String>,
    pub(super) input: ModelInput,
    pub(super) analysis: Analysis,
    pub(super) features: Option<Features>,
    pub(super) dataset: Dataset,
}

impl<'a> Opened<'a> {
    /// `recorded`: who said how pixels are scaled when the run that is resumed began.
    pub(super) fn new(
        runtime: &'a Runtime,
        job: &'a Job,
        settings: &'a Settings,
        recorded: Option<Origin>,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, SearchError> {
        let file = Model::open(&job.model)?;
        file.ensure_fully_known()?;
        let original = at_image_size(&file, settings.image_size)?;
        let graph = Graph::from_model(&original)?;
        let card = ModelCard::read(&original)?;
        let mut input = ModelInput::of(
            &graph,
            &card,
            settings.image_size,
            settings.preprocess.as_ref(),
            settings.resize,
        )?;
        if let Some(origin) = recorded {
            input.origin = origin;
        }
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
            normalise(&mut graph.clone())?;
            Err(error)
        })?;
        let memory_budget = settings.memory_budget.unwrap_or_default();
        let limits = Limits {
            threads: settings.threads,
            // What cannot be elsewhere may take half of the memory, also beyond a smaller budget.
            bytes: match settings.image_cache {
                ImageCache::Auto if job.data.is_dir() => memory_budget,
                _ => memory_limit().map_or(u64::MAX, |all| memory_budget.max(all / 2)),
            },
            images: settings.image_cache,
            image_folder: image_folder(),
            min_per_class: settings.min_per_class,
        };
        let decoding = |done, total| {
            watcher.decoding(done, total);
            !watcher.stopped()
        };
        let dataset = match input.open(&job.data, &limits, settings.augment, Some(&decoding)) {
            Err(ClassifierError::Data(DataError::Stopped)) => {
                return Err(TrainingError::Stopped.into());
            }
            opened => opened?,
        };
        go_on(watcher)?;
        if let Some(skipped) = dataset.skipped_summary() {
            watcher.warning(&skipped);
        }
        for warning in input.warnings(&original, &graph, dataset.is_images()) {
            watcher.warning(&warning);
        }
        for note in dataset.notes() {
            watcher.warning(note);
        }
        if dataset.bytes() >= memory_budget {
            watcher.warning(&format!(
                "the {} samples take {} of memory and leave nothing of the memory budget ({}): outputs \
                 of frozen layers are kept in files in RUN or computed in every step, and trials run \
                 one after the other; --memory-budget raises it",
                dataset.len(),
                show_bytes(dataset.bytes()),
                show_bytes(memory_budget)
            ));
        }
        settings.augment.check(&dataset)?;
        let classes = classes(&graph, &dataset, &card, settings.head)?;
        Ok(Opened {
            runtime,
            job,
            settings,
            watcher,
            card: ModelCard {
                classes: Some(classes.clone()),
                preprocess: dataset
                    .is_images()
                    .then(|| input.spec.preprocess.clone())
                    .or(card.preprocess),
                image_size: Some((input.height, input.width)),
                trained_on: card.trained_on,
            },
            classes,
            file,
            original,
            input,
            analysis,
            features,
            dataset,
        })
    }

    /// What is run on what, in a line.
    pub(super) fn described(&self, split: &Split) -> String {
        let images = self.dataset.is_images();
        format!(
            "{}: {}, {} classes, {}; {} {}: search {}, validation {}, train {}, held out {}",
            self.job.model.display(),
            self.input.described(images),
            self.classes.len(),
            self.described_head(),
            self.dataset.len(),
            if images { "images" } else { "samples" },
            split.search.len(),
            split.validation.len(),
            split.train.len(),
            split.held_out.len()
        )
    }
    /// The head, what it stands on, and what it takes the place of.
    fn described_head(&self) -> String {
        let kind = self.settings.head;
        let Some(on) = self.features.as_ref().filter(|_| kind != HeadKind::Keep) else {
            return "its own head".to_owned();
        };
        let layers = self.analysis.weighted.iter();
        let replaced = layers.filter(|l| l.in_classifier).map(|l| l.name.as_str());
        let replaced: Vec<&str> = replaced.collect();
        format!(
            "head {kind} on `{}` ({} channels of {} × {}){}",
            on.value,
            on.channels,
            on.height,
            on.width,
            match replaced.as_slice() {
                [] => String::new(),
                [first, _, _, _, .., last] =>
                    format!(" in place of {} layers, {first} to {last}", replaced.len()),
                few => format!(" in place of {}", few.join(", ")),
            }
        )
    }
}
