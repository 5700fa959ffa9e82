//! One repetition of a run: graft, split, plan, take possession of the folder, train.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::classifier::{Inference, ModelCard};
use crate::data::{Augment, Dataset, Fold, Split, SplitFile, SplitOptions, memory_limit};
use crate::onnx::LARGEST_FILE;
use crate::run::{
    Begin, Phase, Results, RunDir, RunError, RunRecord, Settings, TrialRequest, extended,
    same_input, unchanged,
};
use crate::strategy::{Depths, Network, StrategyError, StrategyName};
use crate::surgery::{Grafted, HeadKind, HeadSpec, graft};
use crate::training::{FreedFile, Lab, LabOptions, Trained};

use super::clock::Clock;
use super::emit::Emitter;
use super::executor::Executor;
use super::opened::Opened;
use super::plan::Plan;
use super::recorded::record;
use super::room::ensure_room;
use super::round::{After, Round, Site};
use super::runner::Runner;
use super::scores::Found;
use super::state::Progress;
use super::trial::Done;
use super::tune::step_maker;
use super::watch::{Doing, go_on};
use super::{Job, SearchError};

/// What the trials of a repetition are made of.
pub(super) struct Ready {
    pub settings: Settings,
    pub grafted: Grafted,
    pub depths: Depths,
    pub split: Split,
}

impl Opened<'_> {
    /// Settings, network and split of a repetition, from 1.
    pub(super) fn ready(&self, number: usize) -> Result<Ready, SearchError> {
        let mut settings = self.settings.clone();
        settings.split = self.split_options(number);
        if number > 1 {
            settings.repeats = 1;
            settings.folds = None;
        }
        let head = HeadSpec {
            dropout: settings.dropout,
            task: settings.task(),
            logits: settings.logits,
            ..HeadSpec::new(settings.head, self.classes.len(), settings.split.seed)
        };
        let grafted = graft(&self.original, self.features.as_ref(), &head)?;
        Ok(Ready {
            depths: Depths::of(&self.analysis, &grafted, settings.head),
            grafted,
            split: self.split(&settings.split)?,
            settings,
        })
    }

    /// How the parts of a repetition, from 1, are made.
    fn split_options(&self, number: usize) -> SplitOptions {
        SplitOptions {
            seed: self.seed(number),
            fold: self.fold(number),
            ..self.settings.split.clone()
        }
    }

    /// The parts of the data of a repetition, from 1.
    pub(super) fn split_of(&self, number: usize) -> Result<Split, SearchError> {
        self.split(&self.split_options(number))
    }

    /// The fold that a repetition, from 1, holds out.
    pub(super) fn fold(&self, number: usize) -> Option<Fold> {
        let first = self.settings.split.fold?;
        Some(Fold {
            number: first.number + number - 1,
            ..first
        })
    }

    /// The parts of the data. What the model was trained on when it was tuned itself is not held out.
    fn split(&self, options: &SplitOptions) -> Result<Split, SearchError> {
        Ok(match &self.card.trained_on {
            Some(seen) => Split::unseen(&self.dataset, options, seen)?,
            None => Split::of(&self.dataset, options)?,
        })
    }

    /// What the candidates of a repetition are made of.
    pub(super) fn network<'n>(&'n self, ready: &'n Ready) -> Result<Network<'n>, SearchError> {
        let Ready {
            settings, grafted, ..
        } = ready;
        if let Some(list) = &settings.freeze_list {
            let analysis = &self.analysis;
            let all = analysis.blocks.iter().flat_map(|b| analysis.tensors(b));
            let all: Vec<&str> = all.map(|(name, ..)| name).collect();
            if let Some(idle) = list.idle(all.into_iter()) {
                return Err(StrategyError::FreezeList {
                    path: list.path.clone(),
                    reason: format!("`{idle}` is the name of no parameter of the model"),
                }
                .into());
            }
        }
        Ok(Network {
            seed: settings.split.seed,
            freeze: settings.freeze_list.as_ref(),
            selection: &settings.train,
            lora_alpha: settings.lora_alpha,
            adafilter: settings.adafilter.clone(),
            spottune: settings.spottune.clone(),
            ..Network::new(&self.analysis, grafted, settings.head)?
        })
    }

    /// The seed of a repetition, from 1.
    pub(super) fn seed(&self, number: usize) -> u64 {
        let first = self.settings.split.seed;
        if self.settings.split.fold.is_some() {
            // Folds of one drawing, which differ in nothing else.
            return first;
        }
        first.wrapping_add(number as u64).wrapping_sub(1)
    }

    /// One repetition, from 1; the first takes possession of the run's folder. `false` where it was stopped, or
    /// others have to end their trials first.
    pub(super) fn run(
        &self,
        number: usize,
        root: &mut Option<RunDir>,
        executor: &dyn Executor,
    ) -> Result<Results, SearchError> {
        let Job { out, begin, .. } = self.job;
        let begun = match number {
            1 => self.begun,
            _ => Instant::now(),
        };
        self.watcher.doing("", Doing::Planning, 0, 0);
        let ready = &self.ready(number)?;
        let Ready {
            settings,
            grafted,
            split,
            ..
        } = ready;
        if number == 1 {
            // What onnxruntime cannot load and run now, it could not as a winner.
            let (runtime, device) = (self.runtime, settings.device);
            let mut untrained = Inference::new(runtime, &grafted.model, device, settings.threads)?;
            untrained.run_dataset(&self.dataset, &[0], &self.input.spec)?;
        }
        if settings.patience().is_some() && split.validation.is_empty() {
            return Err(SearchError::Setting(
                "early stopping watches the validation part, which is empty".to_owned(),
            ));
        }
        if number == 1 {
            self.tell(settings, split)?;
        }
        let mut network = self.network(ready)?;
        let lab = self.lab(settings, grafted)?;
        let found = self.look_for_promising(number, (ready, &lab), &mut network)?;
        let several = |&strategy: &StrategyName| {
            let candidates = strategy.candidates(&network);
            candidates.is_ok_and(|c| c.len() > 1)
        };
        let searches = settings.strategies.iter().any(several);
        let batches = batches(split, settings.batch_size, searches);
        let go_on = || go_on(self.watcher);
        let mut plan = Plan::new(
            &settings.strategies,
            &network,
            (split, settings.method()),
            &|candidates| {
                let of = candidates.iter().map(|candidate| Trained {
                    parameters: &candidate.trainable,
                    batch_norm: settings.batch_norm(),
                    rewrite: &candidate.rewrite,
                });
                lab.obstacles(&batches, &of.collect::<Vec<_>>(), &go_on)
            },
        )?;
        let others = executor.has_others();
        if let Some(limit) = memory_limit().filter(|_| !others) {
            let planned = plan.strategies.iter();
            let trials = planned.flat_map(|p| p.candidates.iter().map(|c| (p.strategy, c)));
            ensure_room(trials, grafted, settings, limit)?;
        }
        if !others && settings.solves_head() && settings.head == HeadKind::Linear {
            let samples = split.retraining().len().max(split.search.len());
            lab.ensure_room_to_solve(samples)?;
        }
        self.allow(number, (ready, &lab), &network, &mut plan)?;
        if number == 1 {
            self.warn(&plan, &lab, grafted)?;
            for note in split.notes(&self.dataset) {
                self.watcher.warning(&note);
            }
        }
        let run = match root {
            None if others => root.insert(RunDir::take_beside(out, *begin)?),
            None => root.insert(RunDir::take(out, *begin)?),
            Some(root) => &mut root.repetition(number, others)?,
        };
        let (began, progress) = self.begin(run, self.record(settings, split, &plan), begun)?;
        let progress = Progress {
            clock: progress.clock.filter(|_| !others),
            ..progress
        };
        run.keep_config(&began)?;
        run.keep_split(&SplitFile::new(split, &self.dataset))?;
        let site = self.site(&lab, ready, run, number);
        if let Some(Found { scores, head }) = &found {
            run.keep_scores(scores)?;
            if let Some(head) = head {
                site.keep_head(Phase::Search, &split.search, head)?;
            }
        }
        Runner {
            site,
            network: &network,
            emitter: Emitter {
                runtime: self.runtime,
                device: settings.device,
                threads: settings.threads,
                original: &self.original,
                grafted,
                dataset: &self.dataset,
                input: &self.input.spec,
                batch_norm: settings.batch_norm(),
                card: self.card_of(split),
                restated: self.restated(),
                freed: match settings.keep_batch {
                    true => None,
                    // That it cannot be was told.
                    false => FreedFile::of(&grafted.model).ok().flatten(),
                },
                largest_file: self.job.largest_file.unwrap_or(LARGEST_FILE),
                kept: self.kept(settings)?,
            },
            executor,
        }
        .run(&plan, progress)
    }

    /// Carries out trials of one repetition for another process, which reads what they came to in its folder.
    pub(super) fn carry_out(
        &self,
        number: usize,
        run: &RunDir,
        ids: &[String],
    ) -> Result<(), SearchError> {
        let ready = &self.ready(number)?;
        let Ready {
            settings,
            grafted,
            split,
            ..
        } = ready;
        let began = RunDir::read_run(run.root())?.ok_or_else(|| RunError::NotARun {
            path: run.root().to_owned(),
        })?;
        let no_plan = Plan {
            strategies: Vec::new(),
            method: settings.method(),
        };
        same_input(&began, &self.record(settings, split, &no_plan))?;
        let asked = run.read_requests()?;
        // Of a trial that is asked to go on, the last request counts.
        let request = |id: &String| {
            let request = asked.iter().rfind(|r| r.id == *id);
            request.ok_or_else(|| RunError::NotAsked {
                path: run.root().to_owned(),
                id: id.clone(),
            })
        };
        let wanted = ids.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        let mut open: BTreeMap<usize, Vec<TrialRequest>> = BTreeMap::new();
        let mut locks = Vec::new();
        for request in wanted {
            locks.push(run.lock_trial(&request.id)?);
            let of_round = open.entry(request.round).or_default();
            if !of_round.contains(request) && run.read_reply(request)?.is_none() {
                of_round.push(request.clone());
            }
        }
        if let Some(limit) = memory_limit() {
            let trials = open.values().flatten().map(|r| (r.strategy, &r.candidate));
            ensure_room(trials, grafted, settings, limit)?;
        }
        let lab = self.lab(settings, grafted)?;
        let site = self.site(&lab, ready, run, number);
        let total: usize = open.values().map(Vec::len).sum();
        let begun = AtomicUsize::new(0);
        let begin = || (begun.fetch_add(1, Ordering::Relaxed) + 1, total);
        let end = |request: &TrialRequest, Done { record, parameters }: Done| {
            go_on(self.watcher)?;
            run.write_reply(request, &record, parameters.as_ref())?;
            self.watcher.trial_end(&record);
            Ok(())
        };
        for (number, requests) in open
            .into_iter()
            .filter(|(_, requests)| !requests.is_empty())
        {
            let round = Round::new(site, &asked, number)?;
            let ended = begun.load(Ordering::Relaxed);
            self.watcher
                .round(&round.start(&requests, (ended, total), After::default()));
            round.carry_out(&requests, &begin, &end)?;
        }
        Ok(())
    }

    /// What the rounds of a repetition, from 1, are carried out with.
    fn site<'s>(
        &'s self,
        lab: &'s Lab<'s>,
        Ready {
            settings,
            depths,
            split,
            ..
        }: &'s Ready,
        run: &'s RunDir,
        repetition: usize,
    ) -> Site<'s> {
        Site {
            lab,
            original: &self.original,
            split,
            settings,
            depths,
            run,
            repetition,
            watcher: self.watcher,
        }
    }

    fn record(&self, settings: &Settings, split: &Split, plan: &Plan) -> RunRecord {
        record(
            (self.job, settings),
            self.runtime,
            &self.file,
            &self.analysis,
            (&self.dataset, split),
            &self.input,
            plan,
        )
    }

    /// Where the trials of a repetition with these settings run.
    pub(super) fn lab<'l>(
        &'l self,
        settings: &Settings,
        grafted: &'l Grafted,
    ) -> Result<Lab<'l>, SearchError> {
        self.lab_on(settings, grafted, &self.dataset)
    }

    /// As [`Opened::lab`], on other samples.
    pub(super) fn lab_on<'l>(
        &'l self,
        settings: &Settings,
        grafted: &'l Grafted,
        dataset: &'l Dataset,
    ) -> Result<Lab<'l>, SearchError> {
        let memory_budget = settings.memory_budget.unwrap_or_default();
        Ok(Lab::new(
            self.runtime,
            grafted,
            dataset,
            self.input.spec.clone(),
            LabOptions::default()
                .device(settings.device)
                .threads(settings.threads)
                .memory_budget(memory_budget.saturating_sub(self.dataset.bytes()))
                .feature_precision(settings.feature_precision)
                .spill_dir(self.job.out.clone())
                .operators(settings.operators)
                .tf32(settings.tf32)
                .augment(settings.augment.or(Augment::None))
                .views(settings.views.and_then(NonZeroUsize::new)),
        )?
        .with_steps_by(step_maker(self.runtime, settings)?))
    }

    /// Writes what is run to its folder or, where that is resumed, compares it with what is there.
    /// Returns the record that is there then, and what has ended before this session, which `begun` then.
    fn begin(
        &self,
        run: &RunDir,
        record: RunRecord,
        begun: Instant,
    ) -> Result<(RunRecord, Progress), SearchError> {
        let began = match self.job.begin {
            Begin::Resume => RunDir::read_run(run.root())?,
            // That of the earlier run is there until it is replaced.
            Begin::New | Begin::Replace => None,
        };
        let Some(began) = began else {
            run.begin(&record)?;
            let progress = Progress {
                clock: Clock::new(begun, &Results::default(), []),
                ..Progress::default()
            };
            return Ok((record, progress));
        };
        unchanged(&began, &record)?;
        let began = match extended(&began, &record) {
            None => began,
            Some(extended) => {
                run.begin(&extended)?;
                extended
            }
        };
        let trials = run.read_trials()?;
        let results = run.read_results()?;
        let progress = Progress {
            requests: run.read_requests()?,
            clock: Clock::new(begun, &results, trials.values().map(|t| t.clock)),
            trials,
            strategies: results.strategies,
        };
        self.watcher.resumed(progress.trials.len());
        Ok((began, progress))
    }

    /// What the tuned models say of themselves.
    fn card_of(&self, split: &Split) -> ModelCard {
        let samples = [&split.search, &split.validation, &split.train];
        let samples = samples.into_iter().flatten();
        ModelCard {
            trained_on: Some(self.card.having_seen(&self.dataset, samples)),
            ..self.card.clone()
        }
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
