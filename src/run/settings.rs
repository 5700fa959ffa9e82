//! How a run tunes.

use serde::{Deserialize, Serialize};

use crate::analysis::Delimiters;
use crate::autodiff::Operators;
use crate::data::{
    Augment, DataError, FeaturePrecision, ImageCache, Preprocess, Resize, SplitOptions,
};
use crate::runtime::Device;
use crate::strategy::StrategyName;
use crate::surgery::{HeadKind, HeadSpec};
use crate::training::{BatchNormMode, ClassWeights, HeadInit, Monitor, Optimizer, Schedule};

use super::{RunError, SearchMethod};

/// How to tune. [`Settings::default`] has the defaults of the command; each field has a method of its name that
/// sets it:
///
/// ```
/// use ftsurgery::run::Settings;
/// use ftsurgery::strategy::StrategyName;
/// use ftsurgery::surgery::HeadKind;
///
/// let settings = Settings::default()
///     .strategies(vec![StrategyName::HEAD, StrategyName::BLOCKS])
///     .head(HeadKind::Linear)
///     .epochs(8);
/// assert_eq!(settings.batch_size, 4);
/// settings.validate().unwrap();
/// ```
///
/// In JSON the fields have their names, those of the split without a level of their own; what is missing
/// is as by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The strategies, in the order they are run.
    pub strategies: Vec<StrategyName>,
    /// How candidates are searched; `None` for halving where a strategy [looks for promising
    /// blocks](crate::strategy::Strategy::wants_promising), else for an exhaustive search.
    pub search: Option<SearchMethod>,
    /// Patterns of the layers of strategy `select`: layers, parameters or blocks by name.
    pub train: Vec<String>,
    /// The head.
    pub head: HeadKind,
    /// How a new head begins.
    pub head_init: HeadInit,
    /// Share of values dropped in the head, 0 to 1.
    pub dropout: f32,
    /// Value to take as the last feature map; `None` to search for it.
    pub features: Option<String>,
    /// What ends a block.
    pub delimiters: Delimiters,
    /// How pixels become input; `None` for the model's own, else the default. Its rule of resizing counts
    /// where `resize` is `None` and it is another than [`Resize::SQUASH`], which all presets have.
    pub preprocess: Option<Preprocess>,
    /// How images come to the input's size; `None` for the model's own rule, else [`Resize::SQUASH`].
    pub resize: Option<Resize>,
    /// Height and width of images, for models that leave it open.
    pub image_size: Option<(usize, usize)>,
    /// Classes of a folder with fewer usable images are left out.
    pub min_per_class: usize,
    /// Random changes to the images that are trained on.
    pub augment: Augment,
    /// Augmented views of each image that are made once and kept; `None` makes new ones in every
    /// epoch.
    pub views: Option<usize>,
    /// How often the whole run is done, each time with the next seed; at least 1.
    pub repeats: usize,
    /// Parts of the data, order and seed; the seed is also that of the head, of batch order and of
    /// dropout, and the order is also that of batches.
    #[serde(flatten)]
    pub split: SplitOptions,
    /// Which statistics a BatchNormalization takes while it is trained.
    pub bn: BatchNormMode,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate of the head; `None` for that of the optimizer.
    pub head_lr: Option<f32>,
    /// The learning rate of a backbone's parameter is multiplied by this for every block between it and the head;
    /// above 0, at most 1. See [`Depths`](crate::strategy::Depths).
    pub layer_decay: f32,
    /// The most that the norm of all gradients of a step may be; `None` for no limit.
    pub clip_norm: Option<f32>,
    /// Decay, per step, of the average of the parameters, which is then what is scored and written; `None` for no
    /// average.
    pub ema: Option<f32>,
    /// The figure of the validation samples that ranks epochs, and that plateau and early stopping watch; `None` for [`Monitor::default_for`] the class weights.
    pub monitor: Option<Monitor>,
    /// The figure that ranks candidates; `None` for [`Settings::monitor`], or its default.
    pub rank_by: Option<Monitor>,
    /// Samples on which candidates are ranked, at least: those of the validation part and, as far as these
    /// are fewer, some of the training part, which no candidate is trained on. 0 for the validation part alone.
    pub rank_samples: usize,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs, or a part of one, in which the learning rate rises; 0 for none.
    pub warmup: f32,
    /// A trial ends after so many epochs in a row without a better validation score; `None` trains all.
    pub early_stopping: Option<usize>,
    /// How much the samples of each class count in the loss.
    pub class_weights: ClassWeights,
    /// Share of a target that the training loss spreads over all classes, below 1; 0 for none.
    pub label_smoothing: f32,
    /// α of mixup, 0 for none: each sample of a step is mixed with another of its batch.
    pub mixup: f32,
    /// α of cutmix, 0 for none: each image of a step has a rectangle of another of its batch.
    pub cutmix: f32,
    /// Samples per step.
    pub batch_size: usize,
    /// Epochs of a winner.
    pub epochs: usize,
    /// Epochs of a candidate in the search.
    pub search_epochs: usize,
    /// Threads; 0 for all cores, or those that a run which is resumed began with. Trials of small networks share them, one thread or more for each.
    pub threads: usize,
    /// What step graphs may be made of.
    pub operators: Operators,
    /// The device.
    pub device: Device,
    /// Where decoded images are kept.
    pub image_cache: ImageCache,
    /// Bytes in memory of the samples and of the cached features; features beyond it go to files.
    /// `None` for that with which a run that is resumed began, else
    /// [`default_memory_budget`](crate::data::default_memory_budget).
    pub memory_budget: Option<u64>,
    /// The type in which cached features are kept.
    pub feature_precision: FeaturePrecision,
    /// Seconds after which the state of a trial is written again, at the end of a step.
    pub checkpoint_every: f64,
    /// Whether the metrics get a line per step.
    pub log_steps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            strategies: vec![StrategyName::HEAD, StrategyName::FULL, StrategyName::BLOCKS],
            search: None,
            train: Vec::new(),
            head: HeadKind::Paper,
            head_init: HeadInit::Random,
            dropout: HeadSpec::DROPOUT,
            features: None,
            delimiters: Delimiters::Auto,
            preprocess: None,
            resize: None,
            image_size: None,
            min_per_class: 0,
            augment: Augment::None,
            views: None,
            repeats: 1,
            split: SplitOptions::default(),
            bn: BatchNormMode::Frozen,
            optimizer: Optimizer::default(),
            head_lr: None,
            layer_decay: 1.0,
            clip_norm: None,
            ema: None,
            monitor: None,
            rank_by: None,
            rank_samples: 0,
            schedule: Schedule::default(),
            warmup: 0.0,
            early_stopping: None,
            class_weights: ClassWeights::None,
            label_smoothing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            batch_size: 4,
            epochs: 20,
            search_epochs: 5,
            threads: 0,
            operators: Operators::Kernels,
            device: Device::Cpu,
            image_cache: ImageCache::Auto,
            memory_budget: None,
            feature_precision: FeaturePrecision::F32,
            checkpoint_every: 30.0,
            log_steps: false,
        }
    }
}

impl Settings {
    setters! {
        strategies: Vec<StrategyName>,
        search: Option<SearchMethod>,
        train: Vec<String>,
        head: HeadKind,
        head_init: HeadInit,
        dropout: f32,
        features: Option<String>,
        delimiters: Delimiters,
        preprocess: Option<Preprocess>,
        resize: Option<Resize>,
        image_size: Option<(usize, usize)>,
        min_per_class: usize,
        augment: Augment,
        views: Option<usize>,
        repeats: usize,
        split: SplitOptions,
        bn: BatchNormMode,
        optimizer: Optimizer,
        head_lr: Option<f32>,
        layer_decay: f32,
        clip_norm: Option<f32>,
        ema: Option<f32>,
        monitor: Option<Monitor>,
        rank_by: Option<Monitor>,
        rank_samples: usize,
        schedule: Schedule,
        warmup: f32,
        early_stopping: Option<usize>,
        class_weights: ClassWeights,
        label_smoothing: f32,
        mixup: f32,
        cutmix: f32,
        batch_size: usize,
        epochs: usize,
        search_epochs: usize,
        threads: usize,
        operators: Operators,
        device: Device,
        image_cache: ImageCache,
        memory_budget: Option<u64>,
        feature_precision: FeaturePrecision,
        checkpoint_every: f64,
        log_steps: bool,
    }

    /// The figure that is watched: [`Settings::monitor`], or its default.
    pub fn watched(&self) -> Monitor {
        let default = Monitor::default_for(self.class_weights);
        self.monitor.unwrap_or(default)
    }

    /// How candidates are searched: [`Settings::search`], or its default.
    pub fn method(&self) -> SearchMethod {
        let default = match self.strategies.iter().any(|s| s.rule().wants_promising()) {
            true => SearchMethod::HALVING,
            false => SearchMethod::Exhaustive,
        };
        self.search.unwrap_or(default)
    }

    /// The figure that ranks candidates: [`Settings::rank_by`], or its default.
    pub fn ranks_by(&self) -> Monitor {
        self.rank_by.unwrap_or_else(|| self.watched())
    }

    /// What the learning rate of the head is multiplied by.
    pub fn head_factor(&self) -> f32 {
        let rate = self.optimizer.learning_rate;
        self.head_lr.map_or(1.0, |head| head / rate)
    }

    /// How images are resized, where that is asked for: [`Settings::resize`], or what
    /// [`Settings::preprocess`] says other than squashing.
    pub(super) fn resize_asked(&self) -> Option<Resize> {
        let named = self.preprocess.as_ref().map(|p| p.resize);
        self.resize.or(named.filter(|r| *r != Resize::SQUASH))
    }

    /// Whether a new head is solved, or trained alone, before the trials begin. The model's own is not: it begins
    /// as it stands.
    pub fn solves_head(&self) -> bool {
        self.head_init == HeadInit::Solved && self.head != HeadKind::Keep
    }

    /// Looks at each field by itself, and at those that go together.
    ///
    /// # Errors
    /// [`RunError::Setting`], with the name of the first field that nothing can be done with.
    pub fn validate(&self) -> Result<(), RunError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let below_1 = |value: f32| (0.0..1.0).contains(&value);
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let split = &self.split;
        let optimizer = &self.optimizer;
        let not_negative = |value: f32| value.is_finite() && value >= 0.0;
        let (factor, floor) = match self.schedule {
            Schedule::Plateau(plateau) => (plateau.factor, 0.0),
            Schedule::Cosine(cosine) => (0.0, cosine.floor),
            _ => (0.0, 0.0),
        };
        let selects = self.strategies.iter().any(|s| s.rule().takes_patterns());
        let (height, width) = self.image_size.unwrap_or((1, 1));
        let of_0_to_1 = "it is a share of the data, 0 to 1";
        let one = "it is at least 1";
        let checks = [
            ("strategies", !self.strategies.is_empty(), "there is none"),
            (
                "train",
                self.train.is_empty() || selects,
                "it is for strategy `select`, which is not among the strategies",
            ),
            ("dropout", below_1(self.dropout), "it is 0 or more, below 1"),
            ("image_size", width > 0 && height > 0, "a side is 0"),
            ("views", self.views != Some(0), one),
            (
                "views",
                self.views.is_none() || self.augment != Augment::None,
                "without `augment` all views of an image are the same",
            ),
            ("repeats", self.repeats > 0, one),
            ("search_fraction", share(split.search_fraction), of_0_to_1),
            ("train_fraction", share(split.train_fraction), of_0_to_1),
            (
                "train_fraction",
                split.train_fraction > 0.0,
                "it is 0: there is nothing to train on",
            ),
            (
                "validation_fraction",
                split.validation_fraction.is_none_or(share),
                of_0_to_1,
            ),
            (
                "optimizer.learning_rate",
                positive(optimizer.learning_rate),
                "it is above 0",
            ),
            (
                "optimizer.weight_decay",
                not_negative(optimizer.weight_decay),
                "it is 0 or more",
            ),
            (
                "optimizer.momentum",
                below_1(optimizer.momentum),
                "it is 0 or more, below 1",
            ),
            (
                "head_lr",
                self.head_lr.is_none_or(positive),
                "it is above 0",
            ),
            (
                "layer_decay",
                positive(self.layer_decay) && self.layer_decay <= 1.0,
                "it is above 0, at most 1",
            ),
            (
                "clip_norm",
                self.clip_norm.is_none_or(positive),
                "it is above 0",
            ),
            (
                "ema",
                self.ema.is_none_or(|decay| positive(decay) && decay < 1.0),
                "it is above 0, below 1",
            ),
            (
                "schedule.factor",
                below_1(factor),
                "it is 0 or more, below 1",
            ),
            ("schedule.floor", below_1(floor), "it is 0 or more, below 1"),
            ("warmup", not_negative(self.warmup), "it is 0 or more"),
            (
                "label_smoothing",
                below_1(self.label_smoothing),
                "it is 0 or more, below 1",
            ),
            ("mixup", not_negative(self.mixup), "it is 0 or more"),
            ("cutmix", not_negative(self.cutmix), "it is 0 or more"),
            (
                "mixup",
                self.batch_size > 1 || (self.mixup == 0.0 && self.cutmix == 0.0),
                "a sample alone in its batch has no other to be mixed with",
            ),
            ("early_stopping", self.early_stopping != Some(0), one),
            ("batch_size", self.batch_size > 0, one),
            ("epochs", self.epochs > 0, one),
            ("search_epochs", self.search_epochs > 0, one),
            (
                "checkpoint_every",
                self.checkpoint_every.is_finite() && self.checkpoint_every >= 0.0,
                "it is a number of seconds, 0 or more",
            ),
        ];
        let sound = |field: &'static str, checked: Result<(), DataError>| {
            checked.map_err(|e| RunError::Setting {
                field,
                reason: e.to_string(),
            })
        };
        if let Some(preprocess) = &self.preprocess {
            sound("preprocess", preprocess.validate())?;
        }
        if let Some(resize) = &self.resize {
            sound("resize", resize.validate())?;
        }
        match checks.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((field, _, reason)) => Err(RunError::Setting {
                field,
                reason: reason.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
