//! The frozen values of all trials of one phase, each computed once and shared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::data::{Augment, Augmenter, FeatureStore, View};

use super::chain::Chain;
use super::features::{Features, Kept, Pass, Versions};
use super::lab::{EVALUATION_BATCH, Lab};
use super::live::Live;
use super::stages::{Room, Stage, Stages, Way};
use super::{Observer, Trained, TrainingError};

/// What a [`FeatureBank`] is to know besides trials and samples.
#[derive(Clone, Copy, Debug)]
pub struct BankOptions {
    /// Seed of the augmentation; what is changed is one of the [`LabOptions`](super::LabOptions).
    pub seed: u64,
    /// Threads of a session that computes frozen values within a trial, where they are not kept;
    /// 0 for all cores. Those that are kept are computed with the threads of the lab.
    pub threads: usize,
    /// Whether trials mix the samples that they train on.
    pub mixed: bool,
}

/// Owner of the frozen values of one phase.
///
/// The values at which the trained parts begin are its *stages*, in order from the input to the
/// output. Each is computed from the one before it that determines it, in batches of the same
/// samples, along the same chain of stages from the input, whichever of them are kept: a stage has
/// the same values to the bit in a run that was resumed.
///
/// A stage is kept while a trial has it, and the last one that was computed, as the base of the
/// next. Stores in memory stay within the lab's budget, others go to files. A stage that could never
/// be in memory and that is computed faster than read from a file is not kept; nor are the values of
/// training samples that each epoch augments anew or each step mixes, nor those without a row per sample. They are
/// computed in every step.
///
/// Where a file finds no room on the disk, [`FeatureBank::features`] fails: to compute the values
/// in every step instead would let the time and the last bits of a run depend on the disk.
pub struct FeatureBank<'a> {
    lab: &'a Lab<'a>,
    stages: Stages,
    versions: Versions,
    threads: usize,
    /// The views whose values are kept, in the order of their rows.
    views: Vec<View>,
    rows: Arc<HashMap<View, usize>>,
    made: Mutex<Made>,
    /// Held while a stage is computed.
    computing: Mutex<()>,
}

/// The stages that exist now.
#[derive(Default)]
struct Made {
    used: HashMap<usize, Weak<Features>>,
    last: Option<Arc<Features>>,
}

impl<'a> FeatureBank<'a> {
    /// A bank for trials that train these sets of parameters on the samples `train` and are watched
    /// on the samples `validation`. Nothing is computed yet.
    ///
    /// # Errors
    /// When the network cannot be brought to normal form.
    pub fn new(
        lab: &'a Lab<'a>,
        sets: &[Trained<'_>],
        train: &[usize],
        validation: &[usize],
        options: BankOptions,
    ) -> Result<Self, TrainingError> {
        let versions = Versions {
            augmenter: Augmenter {
                augment: lab.options.augment,
                seed: options.seed,
            },
            views: lab.options.views,
            mixed: options.mixed,
        };
        Self::with(lab, sets, (train, validation), versions, options.threads)
    }

    pub(super) fn with(
        lab: &'a Lab<'a>,
        sets: &[Trained<'_>],
        (train, validation): (&[usize], &[usize]),
        versions: Versions,
        threads: usize,
    ) -> Result<Self, TrainingError> {
        let mut all = Vec::new();
        match versions.views {
            _ if versions.mixed => {}
            _ if versions.plain() => all.extend(versions.views(train, Pass::Plain)),
            Some(views) => {
                for epoch in 1..=views.get() {
                    all.extend(versions.views(train, Pass::Train { epoch }));
                }
            }
            // Each epoch has its own.
            None => {}
        }
        all.extend(versions.views(validation, Pass::Plain));
        let mut rows = HashMap::with_capacity(all.len());
        let mut views = Vec::with_capacity(all.len());
        for view in all {
            let next = rows.len();
            if *rows.entry(view).or_insert(next) == next {
                views.push(view);
            }
        }
        let room = Room {
            rows: views.len(),
            precision: lab.options.feature_precision,
            budget: lab.budget.total(),
        };
        let batch = EVALUATION_BATCH.min(views.len().max(1));
        Ok(FeatureBank {
            stages: Stages::new(lab, sets, batch, &room)?,
            lab,
            versions,
            threads,
            views,
            rows: Arc::new(rows),
            made: Mutex::default(),
            computing: Mutex::default(),
        })
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.stages.stages.len()
    }

    /// The stage at which the trained part of set number `set` begins; `None` if there is no such
    /// set. Trials in the order of their stages have each computed from the one before it.
    pub fn stage_of(&self, set: usize) -> Option<usize> {
        self.stages.of_set.get(set).copied()
    }

    /// Whether frozen layers are computed in every step that trains.
    pub fn is_live(&self) -> bool {
        let Versions { views, mixed, .. } = self.versions;
        mixed || (!self.versions.plain() && views.is_none())
    }

    /// What the log should say: that augmentation or mixing keeps frozen values from being kept.
    pub fn note(&self) -> Option<String> {
        let Versions {
            augmenter,
            views,
            mixed,
        } = self.versions;
        let frozen = self.stages.stages.iter().any(|s| s.way != Way::Input);
        if mixed && frozen {
            let note =
                "frozen layers are computed anew in every step because of --mixup or --cutmix";
            return Some(note.to_owned());
        }
        (augmenter.augment != Augment::None && views.is_none() && frozen).then(|| {
            format!(
                "frozen layers are computed anew in every epoch because of --augment {}; --views N \
                 keeps N views of each image",
                augmenter.augment
            )
        })
    }

    /// The values of a stage: those that exist, or else they are computed, which one thread does at
    /// a time.
    ///
    /// # Errors
    /// When there is no such stage, there is no room for its values, the observer asks to stop, or
    /// the runtime fails.
    pub fn features(
        &self,
        stage: usize,
        observer: &mut dyn Observer,
    ) -> Result<Arc<Features>, TrainingError> {
        if let Some(features) = self.existing(stage) {
            return Ok(features);
        }
        let Some(description) = self.stages.stages.get(stage) else {
            return Err(TrainingError::Mismatch(format!(
                "there are {} stages, and none numbered {stage}",
                self.stages()
            )));
        };
        let _computing = self.computing.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(features) = self.existing(stage) {
            return Ok(features);
        }
        let keeps = description.way == Way::Kept && !self.views.is_empty();
        let features = Arc::new(match description.way {
            Way::Input => Features::input(self.versions),
            Way::Kept | Way::Live => {
                let kept = match keeps {
                    true => Some(self.compute(stage, description, observer)?),
                    false => None,
                };
                let live = Live::new(description.values.clone(), self.threads);
                Features::frozen(kept, live, self.versions)
            }
        });
        let mut made = self.made();
        made.used.insert(stage, Arc::downgrade(&features));
        if keeps {
            made.last = Some(Arc::clone(&features));
        }
        Ok(features)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn existing(&self, stage: usize) -> Option<Arc<Features>> {
        self.made().used.get(&stage)?.upgrade()
    }

    fn compute(
        &self,
        stage: usize,
        description: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Kept, TrainingError> {
        let mut path = vec![stage];
        let mut base = None;
        let mut parent = description.parent;
        while let Some(at) = parent {
            if let Some(features) = self.existing(at) {
                base = Some((at, features));
                break;
            }
            path.push(at);
            parent = self.stages.stages[at].parent;
        }
        path.reverse();
        let mut made = self.made();
        let is_base = |last: &Arc<Features>| {
            base.as_ref()
                .is_some_and(|(_, base)| Arc::ptr_eq(base, last))
        };
        // What is of no use here makes room, unless a trial has it.
        let old = made.last.take_if(|last| !is_base(last));
        drop(made);
        drop(old);

        let options = &self.lab.options;
        let store = FeatureStore::new(
            self.views.len(),
            &description.lens,
            options.feature_precision,
            &self.lab.budget,
            &options.spill_dir,
        )?;
        tracing::debug!(
            stage,
            values = ?description.values,
            bytes = store.bytes(),
            spilled = store.is_spilled(),
            from = ?base.as_ref().map(|(at, _)| at),
            "frozen values"
        );
        let mut kept = Kept {
            store,
            rows: Arc::clone(&self.rows),
        };
        let precision = options.feature_precision;
        let from = base.as_ref().map(|(at, features)| (*at, &**features));
        let mut chain = Chain::new(self.lab, &self.stages, from, &path, precision)?;
        let total = self.views.len();
        for (done, views) in self.views.chunks(self.stages.batch).enumerate() {
            observer.features(done * self.stages.batch, total)?;
            let values = chain.run(views, &self.versions.augmenter)?;
            kept.write(views, values)?;
        }
        observer.features(total, total)?;
        Ok(kept)
    }
}

#[cfg(test)]
mod mixed;
#[cfg(test)]
mod rewritten;
#[cfg(test)]
pub(super) mod scene;
#[cfg(test)]
mod tests;
