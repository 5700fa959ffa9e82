//! A whole run: from a model and data to tuned models.

use std::num::NonZeroUsize;

use crate::analysis::{Analysis, AnalyzeOptions, image_input};
use crate::data::{
    DataError, Dataset, Limits, Seen, Split, SplitFile, default_memory_budget, memory_limit,
    show_bytes,
};
use crate::graph::{Dim, Graph, normalise, refuse_untrainable};
use crate::onnx::Model;
use crate::runtime::{self, Runtime};
use crate::strategy::{Network, Strategy};
use crate::surgery::{Features, Grafted, HeadKind, HeadSpec, graft, own_dropout, with_input_size};
use crate::training::{Inference, Lab, LabOptions, Trained, TrainingError};

use super::emit::Emitter;
use super::outside::outside;
use super::plan::Plan;
use super::record::{RunRecord, skipped_summary};
use super::repeats;
use super::results::Results;
use super::resume::{same_settings, unchanged};
use super::rundir::{Begin, RunDir};
use super::runner::Runner;
use super::state::Progress;
use super::watch::{Watcher, go_on};
use super::{Job, ModelCard, ModelInput, SearchError, Settings};

/// Tunes a model by every strategy asked for.
///
/// A strategy that fails, for instance by a loss that is not a number, is recorded in the results,
/// and the others go on. A run that is resumed comes to the same results as one that was never
/// interrupted, and to the same models, byte by byte.
///
/// # Errors
/// When model, data and settings do not fit, or are not those of the run that is resumed; the run's
/// folder cannot be written or is in use; or no strategy works for this input.
pub fn tune(runtime: &Runtime, job: &Job, watcher: &dyn Watcher) -> Result<Results, SearchError> {
    outside(&job.out, &job.data)?;
    RunDir::check(&job.out, job.begin)?;
    let began = match job.begin {
        Begin::Resume => RunDir::read_run(&job.out)?,
        Begin::New | Begin::Replace => None,
    };
    let settings = &Settings {
        threads: threads(job.settings.threads, began.as_ref()),
        memory_budget: Some(memory_budget(job.settings.memory_budget, began.as_ref())),
        ..job.settings.clone()
    };
    if let Some(began) = &began {
        same_settings(&began.configuration, settings)?;
        let now = runtime::instructions();
        let was = &began.versions.instructions;
        if was != now {
            watcher.warning(&format!(
                "the run began on another kind of processor ({}, and this one has {now}): its \
                 results may differ in their last bits from those of a run that stayed there",
                if was.is_empty() { "unknown" } else { was }
            ));
        }
    }
    settings.device.check(runtime)?;
    if settings.split.train_fraction <= 0.0 {
        return Err(SearchError::Setting(
            "the train fraction is 0: there is nothing to train on".to_owned(),
        ));
    }
    let opened = Opened::new(runtime, job, settings, watcher)?;
    let mut root: Option<RunDir> = None;
    let mut results = Results::default();
    for number in 1..=settings.repeats.max(1) {
        let seed = settings.split.seed.wrapping_add(number as u64 - 1);
        if settings.repeats > 1 {
            watcher.repetition(number, settings.repeats, seed);
        }
        let came_to = opened.run(seed, number, &mut root)?;
        let interrupted = came_to.interrupted;
        if settings.repeats > 1 {
            repeats::add(&mut results, came_to, seed, number);
            if let Some(root) = &root {
                root.write_results(&results)?;
            }
        } else {
            results = came_to;
        }
        if interrupted {
            break;
        }
    }
    Ok(results)
}

/// Model and data, which all repetitions share.
struct Opened<'a> {
    runtime: &'a Runtime,
    job: &'a Job,
    /// With the number of threads and the memory in force.
    settings: &'a Settings,
    watcher: &'a dyn Watcher,
    file: Model,
    original: Model,
    card: ModelCard,
    classes: Vec<String>,
    input: ModelInput,
    analysis: Analysis,
    features: Option<Features>,
    dataset: Dataset,
}

impl<'a> Opened<'a> {
    fn new(
        runtime: &'a Runtime,
        job: &'a Job,
        settings: &'a Settings,
        watcher: &'a dyn Watcher,
    ) -> Result<Self, SearchError> {
        let file = Model::open(&job.model)?;
        file.ensure_fully_known()?;
        let original = at_image_size(&file, settings.image_size)?;
        let graph = Graph::from_model(&original)?;
        let card = ModelCard::read(&original)?;
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
            normalise(&mut graph.clone())?;
            Err(error)
        })?;
        let memory_budget = settings.memory_budget.unwrap_or_default();
        let limits = Limits {
            threads: settings.threads,
            // Half of the memory, or more where more is asked for; a smaller budget is for features.
            bytes: memory_limit().map_or(u64::MAX, |all| memory_budget.max(all / 2)),
            min_per_class: settings.min_per_class,
        };
        let decoding = |done, total| {
            watcher.decoding(done, total);
            !watcher.stopped()
        };
        let dataset = match input.open(&job.data, &limits, Some(&decoding)) {
            Err(SearchError::Data(DataError::Stopped)) => Err(TrainingError::Stopped.into()),
            opened => opened,
        }?;
        go_on(watcher)?;
        if let Some(skipped) = skipped_summary(&dataset) {
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

    /// One repetition, from 1; the first takes possession of the run's folder.
    fn run(
        &self,
        seed: u64,
        number: usize,
        root: &mut Option<RunDir>,
    ) -> Result<Results, SearchError> {
        let Job { out, begin, .. } = self.job;
        let mut settings = self.settings.clone();
        let memory_budget = settings.memory_budget.unwrap_or_default();
        settings.split.seed = seed;
        if number > 1 {
            settings.repeats = 1;
        }
        let head = HeadSpec {
            dropout: settings.dropout,
            ..HeadSpec::new(settings.head, self.classes.len(), seed)
        };
        let grafted = graft(&self.original, self.features.as_ref(), &head)?;
        if number == 1 {
            // What onnxruntime cannot load and run now, it could not as a winner.
            let (runtime, device) = (self.runtime, settings.device);
            let mut untrained = Inference::new(runtime, &grafted.model, device, settings.threads)?;
            untrained.run_dataset(&self.dataset, &[0], &self.input.spec, &mut |_| {})?;
        }
        let split = Split::of(&self.dataset, &settings.split)?;
        if settings.early_stopping.is_some() && split.validation.is_empty() {
            return Err(SearchError::Setting(
                "early stopping watches the validation part, which is empty".to_owned(),
            ));
        }
        if number == 1 {
            self.watcher.begin(&self.described(&split));
            if let Some(known) = self.card.overlap(&self.dataset, &split.held_out)
                && known.seen > 0
            {
                self.watcher.warning(&format!(
                    "{} of the {} held-out samples were trained on when the model itself was tuned: the \
                     held-out figures will be better than what new ones would show",
                    known.seen, known.of
                ));
            }
        }
        let network = Network {
            seed,
            selection: &settings.selection,
            ..Network::new(&self.analysis, &grafted, settings.head)
        };
        let lab = Lab::new(
            self.runtime,
            &grafted,
            &self.dataset,
            self.input.spec.clone(),
            LabOptions {
                device: settings.device,
                threads: settings.threads,
                memory_budget: memory_budget.saturating_sub(self.dataset.bytes()),
                feature_precision: settings.feature_precision,
                spill_dir: out.clone(),
                operators: settings.operators,
                augment: settings.augment,
                views: settings.views.and_then(NonZeroUsize::new),
            },
        )?;
        let several = |&strategy: &Strategy| {
            let candidates = strategy.candidates(&network);
            candidates.is_ok_and(|c| c.len() > 1)
        };
        let searches = settings.strategies.iter().any(several);
        let batches = batches(&split, settings.batch_size, searches);
        let go_on = || go_on(self.watcher);
        let plan = Plan::new(&settings.strategies, &network, &split, &|sets| {
            lab.obstacles(&batches, settings.batch_norm, sets, &go_on)
        })?;
        if number == 1 {
            self.warn(&plan, &lab, &grafted)?;
            for note in split.notes(&self.dataset) {
                self.watcher.warning(&note);
            }
        }
        let run = match root {
            None => root.insert(RunDir::take(out, *begin)?),
            Some(root) => &mut root.repetition(number)?,
        };
        let record = RunRecord::new(
            (self.job, &settings),
            self.runtime,
            &self.file,
            &self.analysis,
            (&self.dataset, &split),
            &self.input,
            &plan,
        );
        let began = match begin {
            Begin::Resume => RunDir::read_run(run.root())?,
            // That of the earlier run is there until it is replaced.
            Begin::New | Begin::Replace => None,
        };
        let mut progress = Progress::default();
        match began {
            Some(began) => {
                unchanged(&began, &record)?;
                progress = Progress {
                    trials: run.read_trials()?,
                    strategies: run.read_results()?.strategies,
                };
                self.watcher.resumed(progress.trials.len());
            }
            None => run.begin(&record)?,
        }
        run.keep_split(&SplitFile::new(&split, &self.dataset))?;
        Runner {
            lab: &lab,
            network: &network,
            split: &split,
            settings: &settings,
            run,
            emitter: Emitter {
                runtime: self.runtime,
                device: settings.device,
                threads: settings.threads,
                original: &self.original,
                grafted: &grafted,
                dataset: &self.dataset,
                input: &self.input.spec,
                batch_norm: settings.batch_norm,
                card: self.card_of(&split),
            },
            watcher: self.watcher,
        }
        .run(&plan, progress)
    }

    /// What the tuned models say of themselves.
    fn card_of(&self, split: &Split) -> ModelCard {
        let samples = [&split.search, &split.validation, &split.train];
        let digests = samples.into_iter().flatten();
        let seen = Seen::of(digests.filter_map(|&i| self.dataset.digest(i)));
        let before = self.card.trained_on.as_ref();
        ModelCard {
            trained_on: Some(before.map_or_else(|| seen.clone(), |before| before.union(&seen))),
            ..self.card.clone()
        }
    }

    /// What is run on what, in a line.
    fn described(&self, split: &Split) -> String {
        let images = self.dataset.is_images();
        format!(
            "{}: {}, {} classes; {} {}: search {}, validation {}, train {}, held out {}",
            self.job.model.display(),
            self.input.described(images),
            self.classes.len(),
            self.dataset.len(),
            if images { "images" } else { "samples" },
            split.search.len(),
            split.validation.len(),
            split.train.len(),
            split.held_out.len()
        )
    }

    fn warn(&self, plan: &Plan, lab: &Lab<'_>, grafted: &Grafted) -> Result<(), SearchError> {
        for strategy in &plan.strategies {
            if let Some(first) = strategy.skipped.first() {
                self.watcher.warning(&format!(
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
            batch_norm: self.job.settings.batch_norm,
        };
        if let Some(note) = lab.batch_norm_note(trained)? {
            self.watcher.warning(&note);
        }
        let graph = Graph::from_model(&grafted.model)?;
        let kept = self.job.settings.head == HeadKind::Keep;
        let features = self.features.as_ref().filter(|_| kept);
        let idle = own_dropout(&graph, features.map(|f| f.value.as_str()))?.idle;
        if !idle.is_empty() {
            self.watcher.warning(&format!(
                "the model's own Dropout does not run in training at {}: it is before the head, or on no \
                 vector per image",
                idle.join(", ")
            ));
        }
        Ok(())
    }
}

/// The number of threads of a run: as asked for, else as it `began`, else all cores. More than there
/// are cores only take longer; another number would change the last bits.
fn threads(asked: usize, began: Option<&RunRecord>) -> usize {
    match (asked, began) {
        (0, Some(began)) => began.configuration.threads,
        (0, None) => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        (threads, _) => threads,
    }
}

/// Bytes for samples and features: as asked for, else as the run `began`, else the default.
fn memory_budget(asked: Option<u64>, began: Option<&RunRecord>) -> u64 {
    let began = began.and_then(|began| began.configuration.memory_budget);
    asked.or(began).unwrap_or_else(default_memory_budget)
}

/// The numbers of samples in a step, of whole batches and of what is left over: first that of the
/// winners' training; those of the search if it `searches`.
fn batches(split: &Split, size: usize, searches: bool) -> Vec<usize> {
    let of = |samples: usize| {
        let whole = size.clamp(1, samples.max(1));
        [whole, samples % whole]
    };
    let mut batches = of(split.retraining().len()).to_vec();
    if searches && !split.search.is_empty() {
        batches.extend(of(split.search.len()));
    }
    batches.retain(|&samples| samples > 0);
    batches
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
