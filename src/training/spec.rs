//! What a trial is asked to do, and what it gives back.

use serde::{Deserialize, Serialize};

use crate::classifier::{Predictions, Score};
use crate::data::{balanced_order, epoch_order};
use crate::surgery::Rewrite;

use super::{
    BatchNormMode, ClassWeights, Monitor, Optimizer, Place, Sampler, Schedule, Start, Trained,
    TriedRate,
};

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
    /// Whether the optimizer is in the step's graph, with parameters and moments on the device, instead of a loop on the
    /// host: the same formulas, which round elsewhere. Filters that move together it has none for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optimizer_in_graph: bool,
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
            optimizer_in_graph: false,
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
