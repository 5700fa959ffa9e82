//! One repetition of a run: graft, split, plan, take possession of the folder, train.

use std::num::NonZeroUsize;

use crate::classifier::{Inference, ModelCard};
use crate::data::{Seen, Split, SplitFile};
use crate::graph::Graph;
use crate::run::{Begin, Results, RunDir, RunRecord, Settings, unchanged};
use crate::strategy::{Network, StrategyName};
use crate::surgery::{Grafted, HeadKind, HeadSpec, graft, own_dropout};
use crate::training::{Lab, LabOptions, Trained};

use super::emit::Emitter;
use super::opened::Opened;
use super::plan::Plan;
use super::recorded::record;
use super::runner::Runner;
use super::state::Progress;
use super::watch::go_on;
use super::{Job, SearchError};

impl Opened<'_> {
    /// One repetition, from 1; the first takes possession of the run's folder.
    pub(super) fn run(
        &self,
        seed: u64,
        number: usize,
        root: &mut Option<RunDir>,
    ) -> Result<Results, SearchError> {
        let Job { out, begin, .. } = self.job;
        let mut settings = self.settings.clone();
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
            selection: &settings.train,
            ..Network::new(&self.analysis, &grafted, settings.head)
        };
        let lab = self.lab(&settings, &grafted)?;
        let several = |&strategy: &StrategyName| {
            let candidates = strategy.candidates(&network);
            candidates.is_ok_and(|c| c.len() > 1)
        };
        let searches = settings.strategies.iter().any(several);
        let batches = batches(&split, settings.batch_size, searches);
        let go_on = || go_on(self.watcher);
        let plan = Plan::new(&settings.strategies, &network, &split, &|sets| {
            lab.obstacles(&batches, settings.bn, sets, &go_on)
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
        let record = record(
            (self.job, &settings),
            self.runtime,
            &self.file,
            &self.analysis,
            (&self.dataset, &split),
            &self.input,
            &plan,
        );
        let (began, progress) = self.begin(run, record)?;
        run.keep_config(&began)?;
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
                batch_norm: settings.bn,
                card: self.card_of(&split),
            },
            watcher: self.watcher,
        }
        .run(&plan, progress)
    }

    /// Where the trials of a repetition with these settings run.
    fn lab<'l>(
        &'l self,
        settings: &Settings,
        grafted: &'l Grafted,
    ) -> Result<Lab<'l>, SearchError> {
        let memory_budget = settings.memory_budget.unwrap_or_default();
        Ok(Lab::new(
            self.runtime,
            grafted,
            &self.dataset,
            self.input.spec.clone(),
            LabOptions::default()
                .device(settings.device)
                .threads(settings.threads)
                .memory_budget(memory_budget.saturating_sub(self.dataset.bytes()))
                .feature_precision(settings.feature_precision)
                .spill_dir(self.job.out.clone())
                .operators(settings.operators)
                .augment(settings.augment)
                .views(settings.views.and_then(NonZeroUsize::new)),
        )?)
    }

    /// Writes what is run to its folder or, where that is resumed, compares it with what is there.
    /// Returns the record that is there then, and what has ended.
    fn begin(&self, run: &RunDir, record: RunRecord) -> Result<(RunRecord, Progress), SearchError> {
        let began = match self.job.begin {
            Begin::Resume => RunDir::read_run(run.root())?,
            // That of the earlier run is there until it is replaced.
            Begin::New | Begin::Replace => None,
        };
        let Some(began) = began else {
            run.begin(&record)?;
            return Ok((record, Progress::default()));
        };
        unchanged(&began, &record)?;
        let progress = Progress {
            trials: run.read_trials()?,
            strategies: run.read_results()?.strategies,
        };
        self.watcher.resumed(progress.trials.len());
        Ok((began, progress))
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
            batch_norm: self.job.settings.bn,
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
