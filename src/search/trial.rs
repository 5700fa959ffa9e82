//! Running one trial of a plan, with its metrics, its checkpoint and its record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::choice::Choice;
use crate::classifier::Predictions;
use crate::run::{
    MetricsFile, Parameters, Phase, Ranking, RunDir, Settings, StepLoss, TrialRecord, TrialRequest,
};
use crate::strategy::{Candidate, Depths};
use crate::training::{
    Checkpointing, EpochMetrics, FeatureBank, HeadInit, Lab, Observer, Optimizer, SolvedHead,
    Start, TrainingError, TrialOutcome, TrialSpec,
};

use super::SearchError;
use super::effort::Effort;
use super::watch::{Doing, Stop, TrialStart};

/// What the trials of a phase have in common.
pub(super) struct Bench<'a> {
    pub lab: &'a Lab<'a>,
    pub bank: &'a FeatureBank<'a>,
    pub train: &'a [usize],
    pub validation: &'a [usize],
    /// What candidates are ranked on; empty where none is.
    pub ranking: &'a [usize],
    pub settings: &'a Settings,
    pub depths: &'a Depths,
    pub run: &'a RunDir,
    /// The head with which they begin, where it is found beforehand.
    pub head: Option<&'a SolvedHead>,
    pub stop: Stop<'a>,
}

/// A trial that has ended by itself, well or badly.
pub(super) struct Done {
    pub record: TrialRecord,
    /// What a winner has trained; `None` of a trial of the search, and of one that failed.
    pub parameters: Option<Parameters>,
}

impl Bench<'_> {
    /// Runs a trial whose step takes `flops`, from its checkpoint if it has one. An error ends the run; that of a trial which
    /// [failed](SearchError::failure) is in its record.
    pub fn run(
        &self,
        trial: &TrialRequest,
        stage: usize,
        (threads, flops): (usize, Option<u64>),
        (place, effort): ((usize, usize), Effort),
    ) -> Result<Done, SearchError> {
        let start = Instant::now();
        let spec = self.spec(trial, threads);
        self.stop.watcher.trial(&TrialStart {
            id: &trial.id,
            number: place.0,
            total: place.1,
            epochs: spec.epochs,
            work: effort.work(),
            frozen: effort.frozen_share(),
            done: effort.done,
        });
        let mut recorder = Recorder {
            trial: &trial.id,
            metrics: self.run.metrics(&trial.id)?,
            log_steps: self.settings.log_steps,
            stop: self.stop,
            scoring: Doing::Validation,
            earlier: 0.0,
        };
        let outcome = match self.train(trial, stage, &spec, &mut recorder) {
            Err(TrainingError::Checkpoint {
                path,
                reason,
                is_damaged: true,
            }) => {
                self.stop.watcher.warning(&format!(
                    "{} is not used, and its trial begins anew: {reason}",
                    path.display()
                ));
                self.run.remove_checkpoint(&trial.id)?;
                recorder.metrics = self.run.metrics(&trial.id)?;
                self.train(trial, stage, &spec, &mut recorder)
            }
            outcome => outcome,
        };
        let (outcome, ranking) = match outcome {
            Ok((outcome, ranking)) => (Ok(outcome), ranking),
            Err(error) => (Err(SearchError::from(error)), None),
        };
        // What is in its record must not outlast a crash longer than what it was measured by.
        recorder.metrics.sync()?;
        let outcome = match outcome {
            Err(error) if error.failure().is_none() => return Err(error),
            outcome => outcome,
        };
        if let Some(predictions) = &ranking {
            self.run
                .write_ranking(&trial.id, &Ranking::of(predictions))?;
        }
        // Where nothing is left to train, finding the head is what it took.
        let head = self.head.filter(|_| spec.epochs == 0);
        let earlier = recorder.earlier + head.map_or(0.0, |h| h.figures.seconds);
        let failure = outcome.as_ref().err().and_then(SearchError::failure);
        let done = outcome.as_ref().ok();
        let record = TrialRecord {
            id: trial.id.clone(),
            strategy: trial.strategy,
            phase: trial.phase,
            candidate: trial.candidate.label.clone(),
            layers: trial.candidate.layers.clone(),
            trained_parameters: done.map(|o| o.trained_parameters),
            added_parameters: done.map_or(0, |o| o.added_parameters),
            flops,
            validation: done.and_then(TrialOutcome::validation),
            ranking: ranking.as_ref().map(Predictions::score),
            best_epoch: done.map_or(0, |o| o.best_epoch),
            epochs: done.map_or(0, TrialOutcome::trained_epochs),
            still_improving: done.is_some_and(|o| o.still_improving(spec.monitor, spec.epochs)),
            rate: trial.rate.or(done.and_then(|o| o.found_rate)),
            tried_rates: done.map_or_else(Vec::new, |o| o.tried_rates.clone()),
            abandoned_epochs: done.map_or(0, |o| o.abandoned_epochs),
            seconds: earlier + start.elapsed().as_secs_f64(),
            clock: None,
            same_as: None,
            error: outcome.as_ref().err().map(ToString::to_string),
            failure,
            rung: trial.rung,
        };
        let parameters = outcome.ok().map(|outcome| outcome.parameters);
        Ok(Done {
            record,
            parameters: parameters.filter(|_| trial.phase == Phase::Train),
        })
    }

    fn train(
        &self,
        trial: &TrialRequest,
        stage: usize,
        spec: &TrialSpec,
        recorder: &mut Recorder<'_>,
    ) -> Result<(TrialOutcome, Option<Predictions>), TrainingError> {
        let features = match spec.epochs {
            // The samples that are looked at are read once, others not at all: nothing is kept.
            0 => Arc::new(self.lab.live_features(spec.trained())?),
            _ => self.bank.features(stage, recorder)?,
        };
        let checkpoint = Checkpointing {
            path: self.run.checkpoint(&trial.id),
            every: Duration::from_secs_f64(self.settings.checkpoint_every),
            at_end: trial.goes_on,
        };
        let mut outcome = self.lab.run(
            spec,
            self.train,
            self.validation,
            &features,
            Some(&checkpoint),
            recorder,
        )?;
        recorder.scoring = Doing::Ranking;
        let mut judge = |samples: &[usize]| {
            let of = (samples, &*features);
            self.lab
                .predict_trained(spec, &outcome.parameters, of, recorder)
        };
        let ranking = match (self.ranking.strip_prefix(self.validation), self.ranking) {
            (_, []) => None,
            // The validation samples were scored while it was trained, unless in an earlier session.
            (Some(others), _) => {
                let mut all = match outcome.validated.take() {
                    Some(validated) => validated,
                    None => judge(self.validation)?,
                };
                if !others.is_empty() {
                    all.extend(judge(others)?);
                }
                Some(all)
            }
            (None, samples) => Some(judge(samples)?),
        };
        Ok((outcome, ranking))
    }

    fn spec(&self, trial: &TrialRequest, threads: usize) -> TrialSpec {
        let of = (&trial.candidate, trial.phase, trial.epochs);
        let spec = trial_spec(self.settings, self.depths, of);
        TrialSpec {
            threads,
            optimizer: Optimizer {
                learning_rate: match trial.rate {
                    Some(found) => Choice::Given(found),
                    None => spec.optimizer.learning_rate,
                },
                ..spec.optimizer
            },
            start: self.head.map_or_else(Start::default, |h| h.start.clone()),
            ..spec
        }
    }
}

/// How a candidate is trained in a phase for so many epochs, on all threads and from the head as it stands in the
/// model.
pub(super) fn trial_spec(
    settings: &Settings,
    depths: &Depths,
    (candidate, phase, epochs): (&Candidate, Phase, usize),
) -> TrialSpec {
    TrialSpec {
        trainable: candidate.trainable.clone(),
        rewrite: candidate.rewrite.clone(),
        batch_norm: settings.batch_norm(),
        epochs,
        batch_size: settings.batch_size,
        optimizer: settings.optimizer,
        rates: depths.rates(
            &candidate.trainable,
            settings.head_factor(),
            settings.layer_decay,
        ),
        clip_norm: settings.clip_norm,
        ema: settings.ema,
        l2_sp: settings.l2_sp,
        group_filters: settings.group_filters,
        optimizer_in_graph: settings.updates_in_graph(),
        monitor: match phase {
            Phase::Search => settings.ranks_by(),
            Phase::Train => settings.watched(),
        },
        schedule: settings.schedule,
        warmup: settings.warmup,
        // At the end of a rung the rate has fallen, so that what a trial has come to shows.
        cycles: match phase {
            Phase::Search => settings.rungs(),
            Phase::Train => vec![settings.most_epochs()],
        },
        early_stopping: settings.patience(),
        class_weights: settings.class_weights,
        sampler: settings.sampler,
        label_smoothing: settings.label_smoothing,
        mixup: settings.mixup,
        cutmix: settings.cutmix,
        seed: settings.split.seed,
        shuffle: settings.split.shuffle,
        threads: settings.threads,
        // What training begins with is then worth something. Of a candidate it would hide how the training went: all
        // that get worse at first would be equal.
        score_start: settings.head_init == HeadInit::Solved
            && (phase == Phase::Train || epochs == 0),
        is_deep: depths.are_deep(&candidate.trainable),
        start: Start::default(),
    }
}

/// Writes a trial's metrics, passes its progress on, and stops it when asked to.
struct Recorder<'a> {
    trial: &'a str,
    metrics: MetricsFile,
    log_steps: bool,
    stop: Stop<'a>,
    /// What samples are scored for.
    scoring: Doing,
    /// Seconds of the sessions before this one.
    earlier: f64,
}

impl Observer for Recorder<'_> {
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let Stop { watcher, .. } = self.stop;
        watcher.doing(self.trial, Doing::Features, done, total);
        self.stop.go_on()
    }

    fn earlier(&mut self, seconds: f64) {
        self.earlier = seconds;
    }

    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        self.metrics.rewind(step, epochs)?;
        Ok(())
    }

    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        if self.log_steps {
            self.metrics.line(&StepLoss { step, loss })?;
        }
        self.stop.watcher.step(self.trial, step, total, loss);
        self.stop.go_on()
    }

    fn trying_rate(&mut self, _: f32, done: usize, total: usize) -> Result<(), TrainingError> {
        let Stop { watcher, .. } = self.stop;
        watcher.doing(self.trial, Doing::Rates, done, total);
        self.stop.go_on()
    }

    fn begins_anew(&mut self, rate: f32) -> Result<(), TrainingError> {
        let Stop { watcher, .. } = self.stop;
        watcher.begin(&format!(
            "{}: training came to nothing with a learning rate of {rate:e}, and begins anew with a lower one",
            self.trial
        ));
        self.stop.go_on()
    }

    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let Stop { watcher, .. } = self.stop;
        watcher.doing(self.trial, self.scoring, done, total);
        self.stop.go_on()
    }

    fn saving(&mut self) -> Result<(), TrainingError> {
        Ok(self.metrics.sync()?)
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.metrics.line(metrics)?;
        self.metrics.flush()?;
        self.stop.watcher.epoch(self.trial, metrics);
        Ok(())
    }
}
