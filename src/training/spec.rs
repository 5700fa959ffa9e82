//! What a trial is asked to do, and what it gives back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classifier::{Predictions, Score};
use crate::data::{Dataset, balanced_order, epoch_order};
use crate::surgery::Rewrite;

use super::{
    BatchNormMode, Monitor, Optimizer, Place, Schedule, Solving, Start, Trained, TrainingError,
    TriedRate,
};

/// How much the samples of each class count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every sample counts 1.
    #[default]
    None,
    /// A sample of class c counts `N / (C · n_c)` for N samples, C classes and n_c samples of class
    /// c, all of the trained part; classes without a sample do not count among the C.
    /// Source: `class_weight="balanced"` of scikit-learn.
    ///
    /// A step's loss is the sum over its samples divided by their number, not by the sum of their
    /// weights: see [`cross_entropy`](crate::autodiff::cross_entropy). Validation is not weighted.
    ///
    /// Where samples may have several labels, that one is of class c counts `(N − n_c) / n_c`, and that it is not
    /// counts 1: what `pos_weight` of PyTorch's `BCEWithLogitsLoss` is meant for.
    Balanced,
}

impl ClassWeights {
    /// The weight of each of `classes` classes for training on samples with these labels, 0 for a
    /// class without any; `None` where each sample counts 1.
    pub fn of(self, labels: impl IntoIterator<Item = i64>, classes: usize) -> Option<Vec<f32>> {
        if self == ClassWeights::None {
            return None;
        }
        let mut counts = vec![0usize; classes];
        for label in labels {
            let class = usize::try_from(label).ok();
            if let Some(count) = class.and_then(|c| counts.get_mut(c)) {
                *count += 1;
            }
        }
        let samples: usize = counts.iter().sum();
        let present = counts.iter().filter(|&&n| n > 0).count();
        let weight = |n: usize| samples as f64 / (present * n) as f64;
        let weights = counts.iter().map(|&n| match n {
            0 => 0.0,
            n => weight(n) as f32,
        });
        Some(weights.collect())
    }
}

impl ClassWeights {
    /// As [`ClassWeights::of`], for training on `samples` of a data set, whose samples may have several labels; of a
    /// class without a sample it is then 1.
    pub(super) fn of_samples(
        self,
        dataset: &Dataset,
        samples: &[usize],
        classes: usize,
    ) -> Option<Vec<f32>> {
        if dataset.sets().is_none() || self == ClassWeights::None {
            let labels = samples.iter().map(|&i| dataset.labels()[i]);
            return self.of(labels, classes);
        }
        let mut counts = vec![0_usize; classes];
        let all = samples.iter().flat_map(|&i| dataset.classes_of(i));
        all.for_each(|class| counts[class] += 1);
        let weight = |&count: &usize| match count {
            0 => 1.0,
            count => (samples.len() - count) as f32 / count as f32,
        };
        Some(counts.iter().map(weight).collect())
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClassWeights::None => "none",
            ClassWeights::Balanced => "balanced",
        })
    }
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(ClassWeights::None),
            "balanced" => Ok(ClassWeights::Balanced),
            _ => Err(format!("`{name}` is neither none nor balanced")),
        }
    }
}

/// Which samples an epoch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each once.
    #[default]
    All,
    /// As many as there are, the same number of each class: those of rare classes several times, of common ones some.
    /// A head that is solved has weights to the same end.
    Balanced,
}

impl Sampler {
    fn is_all(&self) -> bool {
        *self == Sampler::All
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sampler::All => "all",
            Sampler::Balanced => "balanced",
        })
    }
}

impl FromStr for Sampler {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "all" => Ok(Sampler::All),
            "balanced" => Ok(Sampler::Balanced),
            _ => Err(format!("`{name}` is neither all nor balanced")),
        }
    }
}

/// One trial: what is trained, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialSpec {
    /// Names of the initializers that are trained, the head's included.
    pub trainable: Vec<String>,
    /// What is changed in the network before.
    #[serde(default, skip_serializing_if = "Rewrite::is_none")]
    pub rewrite: Rewrite,
    /// Which statistics the BatchNormalizations among them take.
    pub batch_norm: BatchNormMode,
    /// Passes over the training samples; with 0 nothing is trained.
    pub epochs: usize,
    /// Samples per step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// What the learning rate of each of `trainable` is multiplied by; empty where that is 1 of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<f32>,
    /// The most that the norm of a step's gradients, of all parameters as one vector, may be: longer ones are
    /// shortened to it. Source: `torch.nn.utils.clip_grad_norm_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// Decay, per step, of the average of the parameters: with one, the average is what is scored and what comes
    /// out, running statistics as well. The decay of the first steps is lower, `(1 + t) / (10 + t)` where t others
    /// were done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f32>,
    /// What was pretrained decays to its pretrained values w by so much: α (p − w) in place of weight decay, which is then
    /// that of a new head and of what a rewrite adds. Source: Li et al., "Explicit Inductive Bias for Transfer Learning
    /// with Convolutional Networks", ICML 2018 (L2-SP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2_sp: Option<f32>,
    /// Into so many groups, at least 1, are the filters put of each layer that has more: those that the training samples
    /// activate alike. All of a group move by the mean of their gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_filters: Option<usize>,
    /// Which figure of the validation samples says that an epoch is better than another.
    pub monitor: Monitor,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs, or a part of one, in which the learning rate rises; 0 for none. See [`Schedule`].
    pub warmup: f32,
    /// The epochs at whose ends a schedule of some length ends and begins anew, without a warm-up, up to those that the
    /// trial may have in all: `[1, 3, 9]` is a schedule of one epoch, then one of two, then one of six. None for one
    /// schedule of `epochs`.
    ///
    /// Source: the restarts of Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017.
    pub cycles: Vec<usize>,
    /// The trial ends after so many epochs in a row of which none has the best validation score so
    /// far (as `patience` of Keras' `EarlyStopping`); `None` trains all epochs.
    pub early_stopping: Option<usize>,
    /// How much the samples of each class count.
    pub class_weights: ClassWeights,
    /// Which samples an epoch takes.
    #[serde(default, skip_serializing_if = "Sampler::is_all")]
    pub sampler: Sampler,
    /// Share of a target that is spread over all classes, below 1; 0 for none. Validation is not smoothed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_smoothing: f32,
    /// α of mixup: each sample of a step is mixed with another of its batch, λ of it and 1 − λ of the other, where
    /// λ is drawn from Beta(α, α), and so are their targets. 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mixup: f32,
    /// α of cutmix: each image of a step has a rectangle of another of its batch, of 1 − λ of the area. 0 for none;
    /// beside mixup, each step draws which.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cutmix: f32,
    /// Seed of batch order, dropout, mixing and augmentation.
    pub seed: u64,
    /// Whether each epoch takes the samples in a new order.
    pub shuffle: bool,
    /// Threads of each session of the trial; 0 for all cores.
    pub threads: usize,
    /// Whether the parameters are scored as they stand before the first step, as epoch 0, which may then be
    /// the best one. Without validation samples there is nothing to score.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub score_start: bool,
    /// Whether layers of the first half of the network are among what it trains: it is then careful with the learning rate
    /// that it [finds](TriedRate).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deep: bool,
    /// With which values it begins. (A checkpoint tells them by a digest of all first values.)
    #[serde(skip)]
    pub start: Start,
}

impl Default for TrialSpec {
    /// With the defaults of the command for a winner, but for what is trained: nothing.
    fn default() -> Self {
        TrialSpec {
            trainable: Vec::new(),
            rewrite: Rewrite::None,
            batch_norm: BatchNormMode::Frozen,
            epochs: 20,
            batch_size: 4,
            optimizer: Optimizer::default(),
            rates: Vec::new(),
            clip_norm: None,
            ema: None,
            l2_sp: None,
            group_filters: None,
            monitor: Monitor::Accuracy,
            schedule: Schedule::default(),
            warmup: 0.0,
            cycles: Vec::new(),
            early_stopping: None,
            class_weights: ClassWeights::None,
            sampler: Sampler::All,
            label_smoothing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            seed: 0,
            shuffle: true,
            threads: 0,
            score_start: false,
            is_deep: false,
            start: Start::default(),
        }
    }
}

impl TrialSpec {
    /// What is trained.
    pub fn trained(&self) -> Trained<'_> {
        Trained {
            parameters: &self.trainable,
            batch_norm: self.batch_norm,
            rewrite: &self.rewrite,
        }
    }

    /// The samples of an epoch of those of `train`, in their order.
    pub(super) fn order(&self, train: &[usize], labels: &[i64], epoch: usize) -> Vec<usize> {
        match self.sampler {
            Sampler::All => epoch_order(train, self.seed, epoch as u64, self.shuffle),
            Sampler::Balanced => balanced_order(train, labels, self.seed, epoch as u64),
        }
    }

    /// The place of the step behind `done` others, of which there are `per_epoch` in an epoch.
    pub(super) fn place(&self, done: usize, per_epoch: usize) -> Place {
        let mut begin = 0;
        let mut end = self.length().saturating_mul(per_epoch);
        for &cycle in &self.cycles {
            end = cycle.saturating_mul(per_epoch);
            if done < end {
                break;
            }
            // The last one goes on.
            if self.cycles.last() != Some(&cycle) {
                begin = end;
            }
        }
        let warmup = (f64::from(self.warmup) * per_epoch as f64).round() as usize;
        Place {
            done: done - begin,
            total: end - begin,
            warmup: if begin == 0 { warmup } else { 0 },
        }
    }

    /// The epochs that the trial may have in all.
    pub(super) fn length(&self) -> usize {
        self.cycles.last().copied().unwrap_or(self.epochs)
    }
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

/// The figures of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, from 1; 0 for what stands before the first step ([`TrialSpec::score_start`]).
    pub epoch: usize,
    /// Mean training loss over the epoch's samples, each at its step, by weighted, smoothed and mixed targets and without
    /// penalties; `None` of epoch 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Mean of what a rewritten network added to that; `None` where it adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
    /// On the validation samples after the epoch, of the average where there is one; `None` without samples.
    pub validation: Option<Score>,
    /// Learning rate of the epoch's last step, of epoch 0 that of the first; before it is multiplied by
    /// [`TrialSpec::rates`].
    pub learning_rate: f32,
    /// Seconds since the trial began; of a resumed one, those of all its sessions together.
    pub seconds: f64,
}

/// What a finished trial gives back.
#[derive(Clone, Debug)]
pub struct TrialOutcome {
    /// The trained parameters by name, and behind them the running statistics that were updated, averages of
    /// both where that is asked for, after the best epoch by [`TrialSpec::monitor`] (ties: the earlier), or after the last one
    /// without validation samples.
    pub parameters: Vec<(String, Vec<f32>)>,
    /// The epoch they were taken after, from 1; 0 where they are as they were before the first step.
    pub best_epoch: usize,
    /// What the network made of the validation samples after that epoch; `None` without any, and where an earlier
    /// session scored it.
    pub validated: Option<Predictions>,
    /// The figures of every epoch, of epoch 0 too where it was scored.
    pub epochs: Vec<EpochMetrics>,
    /// The learning rate that was found; `None` where it is given.
    pub found_rate: Option<f32>,
    /// The learning rates that were tried to find one; none where it is given.
    pub tried_rates: Vec<TriedRate>,
    /// Epochs with rates by which training came to nothing, after each of which it began anew with a lower one.
    pub abandoned_epochs: usize,
    /// Number of trained values.
    pub trained_parameters: usize,
    /// Of them, how many the rewrite added to the network.
    pub added_parameters: usize,
    /// Wall-clock seconds without the features; of a resumed trial, those of all its sessions
    /// together.
    pub seconds: f64,
}

impl TrialOutcome {
    /// Number of epochs that were trained.
    pub fn trained_epochs(&self) -> usize {
        self.epochs.last().map_or(0, |e| e.epoch)
    }

    /// The validation score of the best epoch.
    pub fn validation(&self) -> Option<Score> {
        self.epochs
            .iter()
            .find(|e| e.epoch == self.best_epoch)?
            .validation
    }
}

/// Hears of a trial's progress. Any method may end the trial by an error.
pub trait Observer {
    /// `done` of `total` samples have passed through the frozen prefix.
    ///
    /// # Errors
    /// To end the trial.
    fn features(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (done, total);
        Ok(())
    }

    /// A linear head is being solved. Called between any two passes over the samples, or more often.
    ///
    /// # Errors
    /// To end that.
    fn solving(&mut self, step: &Solving) -> Result<(), TrainingError> {
        let _ = step;
        Ok(())
    }

    /// To find a learning rate, `done` of `total` steps are done with `rate`.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn trying_rate(&mut self, rate: f32, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (rate, done, total);
        Ok(())
    }

    /// Training with `rate` came to nothing, and begins anew with a lower one.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn begins_anew(&mut self, rate: f32) -> Result<(), TrainingError> {
        let _ = rate;
        Ok(())
    }

    /// A checkpoint was loaded, or training begins anew: `step` steps are done, and these epochs. Called before the next
    /// step; what was heard of later steps and epochs is void, and they will be heard of again.
    ///
    /// # Errors
    /// To end the trial.
    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        let _ = (step, epochs);
        Ok(())
    }

    /// A checkpoint was loaded, and the sessions that led to it took so many seconds together. Called
    /// once, before [`Observer::resumed`].
    fn earlier(&mut self, seconds: f64) {
        let _ = seconds;
    }

    /// Step `step` (from 1) is done; it had this loss, without penalties, before its update. `total` is the number of
    /// steps of all epochs, which early stopping may not reach.
    ///
    /// # Errors
    /// To end the trial. With [`TrainingError::Stopped`] a checkpoint is written first, if there is
    /// one.
    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        let _ = (step, total, loss);
        Ok(())
    }

    /// The steps of an epoch are done (of epoch 0: there are none), and `done` of `total` validation samples are scored.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        let _ = (done, total);
        Ok(())
    }

    /// A checkpoint is about to be written, from which all that was heard of is not heard of again.
    ///
    /// # Errors
    /// To end the trial.
    fn saving(&mut self) -> Result<(), TrainingError> {
        Ok(())
    }

    /// An epoch has ended.
    ///
    /// # Errors
    /// As [`Observer::step`].
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        let _ = metrics;
        Ok(())
    }
}

/// An observer that does not listen.
impl Observer for () {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 3], y=[0, 0, 0, 1, 1, 3])
        let weights = ClassWeights::Balanced.of([0, 0, 0, 1, 1, 3], 4).unwrap();
        assert_eq!(weights, [6.0 / 9.0, 1.0, 0.0, 2.0]);
        assert_eq!(ClassWeights::None.of([0, 1], 2), None);
        assert_eq!(ClassWeights::Balanced.of([], 2), Some(vec![0.0; 2]));
    }
}
