//! Model and data of a run, opened and checked once for all repetitions.

use std::time::Instant;

use crate::adapter::{Preparation, Prepared};
use crate::analysis::{Analysis, AnalyzeOptions};
use crate::choice::{AUTO, Choice};
use crate::classifier::{
    Beside, ClassifierError, ModelCard, ModelInput, Origin, by_place, image_folder,
};
use crate::data::{
    Augment, DataError, Dataset, ImageCache, Limits, Part, Resize, Split, are_images, memory_limit,
    show_bytes,
};
use crate::graph::{Graph, normalise, refuse_untrainable};
use crate::onnx::Model;
use crate::run::{FlagValue, Settings, flags};
use crate::runtime::Runtime;
use crate::surgery::{Features, HeadKind, takes_new_head};
use crate::task::Task;
use crate::training::{OwnHead, TrainingError};

use super::head::{classes, features, task, told_task};
use super::pixels::Wanted;
use super::told::{in_floats, of_head, output_name, told_inferring};
use super::watch::{Doing, Watcher, go_on};
use super::{Job, SearchError};

/// Model and data, which all repetitions share.
pub(super) struct Opened<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) job: &'a Job,
    /// With the number of threads and the memory in force, and what follows from the data.
    pub(super) settings: Settings,
    pub(super) watcher: &'a dyn Watcher,
    pub(super) file: Model,
    pub(super) original: Model,
    pub(super) card: ModelCard,
    pub(super) classes: Vec<String>,
    pub(super) input: ModelInput,
    pub(super) analysis: Analysis,
    pub(super) features: Option<Features>,
    /// The name of the class scores, where these are an output of the file.
    scores: Option<String>,
    pub(super) dataset: Dataset,
    /// When this session began.
    pub(super) begun: Instant,
}

impl<'a> Opened<'a> {
    /// `recorded`: who said how pixels are scaled when the run that is resumed began.
    pub(super) fn new(
        runtime: &'a Runtime,
        job: &'a Job,
        settings: &Settings,
        recorded: Option<Origin>,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, SearchError> {
        let begun = Instant::now();
        watcher.doing("", Doing::Opening, 0, 0);
        let file = Model::open(&job.model)?.with_scores(settings.output.as_deref());
        let Prepared {
            model: original,
            dequantised,
            inferring,
        } = preparation(settings).of(&file)?;
        let told = dequantised.map(in_floats).into_iter();
        for warning in told.chain(inferring.map(told_inferring)) {
            watcher.warning(&warning);
        }
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
            takes_new_head(&original)?;
            let mut scores = graph.clone();
            scores.only_scores(&[]);
            refuse_untrainable(&scores)?;
            normalise(&mut scores)?;
            Err(error)
        })?;
        let memory_budget = settings.memory_budget.unwrap_or_default();
        let limits = Limits {
            few: None,
            classes: 2,
            threads: settings.threads,
            // What cannot be elsewhere may take half of the memory, also beyond a smaller budget.
            bytes: match settings.image_cache {
                ImageCache::Auto if are_images(&job.data) => memory_budget,
                _ => memory_limit().map_or(u64::MAX, |all| memory_budget.max(all / 2)),
            },
            images: settings.image_cache,
            image_folder: image_folder(),
            min_per_class: settings.min_per_class,
        };
        let decoding = |done, total| {
            watcher.doing("", Doing::Decoding, done, total);
            !watcher.stopped()
        };
        let data = (job.data.as_path(), &settings.sources);
        let kept = settings.head == HeadKind::Keep;
        let names = card.classes.as_deref().filter(|_| kept);
        let open = |input: &ModelInput, augment| match input.open(
            data,
            names,
            &limits,
            augment,
            Some(&decoding),
        ) {
            Err(ClassifierError::Data(DataError::Stopped)) => {
                Err(SearchError::from(TrainingError::Stopped))
            }
            opened => Ok(opened?),
        };
        let wanted = Wanted::of(&input, settings, are_images(&job.data));
        if wanted.resize {
            input.spec.preprocess.resize = Resize::CROP;
        }
        let dataset = open(&input, wanted.opens(settings))?;
        watcher.doing("", Doing::Planning, 0, 0);
        go_on(watcher)?;
        if let Some(skipped) = dataset.skipped_summary() {
            watcher.warning(&skipped);
        }
        if recorded.is_none() {
            let subject = (&original, &graph);
            input.find_preprocess_on(runtime, subject, settings.threads, &dataset)?;
        }
        for warning in input.warnings(&original, &graph, dataset.is_images()) {
            watcher.warning(&warning);
        }
        for note in of_head(&original, &graph, &analysis, settings) {
            watcher.warning(&note);
        }
        for told in dataset.told() {
            watcher.begin(told);
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
        if kept
            && names.is_none()
            && settings.sources.classes.is_none()
            && dataset.has_class_names()
        {
            watcher.warning(&by_place(dataset.classes()));
        }
        if kept && card.beside.classes.is_some() {
            let file = card.beside.classes_of.display();
            watcher.begin(&format!("the classes of the model are named by {file}"));
        }
        settings.augment.or(Augment::None).check(&dataset)?;
        let sample = input.spec.sample_dims(dataset.sample_shape());
        let asked = (settings.head, settings.sources.task);
        let own = match kept {
            true => Some(OwnHead::of(&original, &graph, &sample)?),
            false => None,
        };
        let task = task(&dataset, asked, own)?;
        settings.fit(task)?;
        if let Some(note) = told_task(task, settings.sources.task, kept) {
            watcher.begin(&note);
        }
        let outputs = own.map(|own| own.outputs);
        let classes = classes(outputs, task, &dataset, &card)?;
        let apart = match settings.depends_on_distance() {
            true => input.apart_on(runtime, &original, settings.threads, &dataset)?,
            false => None,
        };
        tracing::debug!(?apart, "distance of the data from what is stored of them");
        let mut settings = of_data(settings, &dataset, apart);
        if task != Task::SingleLabel {
            settings.sources.task = Some(task);
        }
        if task.is_multi_label() {
            // What is watched by default follows from it.
            let asked = Settings {
                monitor: job.settings.monitor,
                rank_by: job.settings.rank_by,
                ..settings.clone()
            };
            settings.monitor = Some(asked.watched());
            settings.rank_by = Some(asked.ranks_by());
        }
        let declared = original.graph().output.iter();
        let declared: Vec<&str> = declared.filter_map(|o| o.name.as_deref()).collect();
        let scores = graph.outputs.first().map(|scores| scores.name.clone());
        let scores = scores.filter(|name| declared.contains(&name.as_str()));
        let mut opened = Opened {
            runtime,
            job,
            settings,
            watcher,
            card: ModelCard {
                embedded: None,
                classes: Some(classes.clone()),
                preprocess: card.preprocess,
                image_size: Some((input.height, input.width)),
                trained_on: card.trained_on,
                task: Some(task),
                thresholds: None,
                beside: Beside::default(),
            },
            classes,
            file,
            original,
            input,
            analysis,
            features,
            scores,
            dataset,
            begun,
        };
        let found = opened.find_pixels(wanted)?;
        opened.settings.augment = Choice::Given(found.augment);
        if wanted.resize {
            opened.settings.resize = Some(found.resize);
        }
        let opened_by = std::mem::replace(&mut opened.input.spec.preprocess.resize, found.resize);
        if opened_by != found.resize || opened.dataset.has_photos() != found.augment.crops() {
            opened.dataset = open(&opened.input, found.augment.into())?;
        }
        if opened.dataset.is_images() {
            opened.card.preprocess = Some(opened.input.spec.preprocess.clone());
        }
        Ok(opened)
    }

    /// What is run on what, in a line.
    pub(super) fn described(&self, split: &Split) -> String {
        let images = self.dataset.is_images();
        let part = |part: Part, list: &[usize]| match self.settings.split.fold {
            Some(fold) if part == Part::HeldOut => {
                format!("{part} {} (fold 1 of {})", list.len(), fold.of)
            }
            _ if self.settings.split.gives(part) => format!("{part} {} (given)", list.len()),
            _ => format!("{part} {}", list.len()),
        };
        format!(
            "{}: {}, {} classes{}, {}; {} {}: {}, {}, {}, {}",
            self.job.model.display(),
            self.input.described(images),
            self.classes.len(),
            match self.settings.task() {
                Task::SingleLabel => "",
                Task::MultiLabel => ", several to a sample",
                Task::Binary => " by one output",
            },
            self.described_head(),
            self.dataset.len(),
            if images { "images" } else { "samples" },
            part(Part::Search, &split.search),
            part(Part::Validation, &split.validation),
            part(Part::Train, &split.train),
            part(Part::HeldOut, &split.held_out)
        )
    }

    /// What was found for settings that were left open, as flags; `None` where none was.
    pub(super) fn found(&self) -> Option<String> {
        let (asked, settings) = (&self.job.settings, &self.settings);
        let (before, after) = (flags(asked), flags(settings));
        let open = FlagValue::Text(AUTO.to_owned());
        let was_open = |name: &str| before.iter().any(|(n, value)| *n == name && *value == open);
        // Where the data give the search part, its share makes nothing.
        let idle = |name: &str| name == "search-fraction" && settings.split.gives(Part::Search);
        let found = after
            .iter()
            .filter(|(name, value)| *value != open && was_open(name) && !idle(name));
        let found = found.filter_map(|(name, value)| Some(format!("--{name} {}", value.shown()?)));
        let found: Vec<String> = found.collect();
        (!found.is_empty()).then(|| format!("found: {}", found.join(", ")))
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
        let new = output_name(&self.settings);
        let renamed = self.scores.as_ref().filter(|old| *old != new);
        let renamed = renamed.map(|old| format!(", with the output `{new}` for `{old}`"));
        let renamed = renamed.unwrap_or_default();
        format!(
            "head {kind} on `{}` ({} channels of {} × {}){}{renamed}",
            on.value,
            on.channels,
            on.height,
            on.width,
            match replaced.as_slice() {
                [] => ", in place of nothing: all layers stay".to_owned(),
                [first, _, _, _, .., last] =>
                    format!(" in place of {} layers, {first} to {last}", replaced.len()),
                few => format!(" in place of {}", few.join(", ")),
            }
        )
    }
}

/// What is made of a model's file before its head.
pub(super) fn preparation(settings: &Settings) -> Preparation {
    Preparation {
        output: settings.output.clone(),
        image_size: settings.image_size,
        dequantise: settings.dequantise,
        inference_mode: settings.inference_mode,
    }
}

/// Settings with what the data decide where they do not say. It is the same for all repetitions.
fn of_data(settings: &Settings, dataset: &Dataset, apart: Option<f64>) -> Settings {
    let given = dataset.given();
    let mut samples = given.map_or(dataset.len(), |given| given.train.len());
    let mut split = settings.split.clone();
    split.given_parts = dataset.given_parts();
    if let Some(fold) = split.fold {
        samples -= samples / fold.of.max(1);
        split.given_parts.push(Part::HeldOut);
    }
    let mut split = split.resolved(samples, dataset.classes().len());
    let of = |share: f64| (share * samples as f64).round() as usize;
    let mut trained = of(split.winners_fraction());
    let mut searched = of(split.searched_fraction());
    if let Some((given, list)) = given.and_then(|given| Some((given, given.search.as_ref()?))) {
        searched = list.len();
        split.search_apart = given.search_apart;
        trained = match given.search_apart {
            true => samples,
            false => samples + searched,
        };
    }
    let (search, search_epochs) = settings.search_on(searched);
    Settings {
        search: Some(search),
        search_epochs: Choice::Given(search_epochs),
        epochs: Choice::Given(settings.epochs_for(trained, apart)),
        bn: Choice::Given(settings.batch_norm_for(apart)),
        split,
        ..settings.clone()
    }
}
