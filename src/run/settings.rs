//! How a run tunes.

use serde::{Deserialize, Serialize};

use crate::analysis::Delimiters;
use crate::autodiff::Operators;
use crate::choice::Choice;
use crate::data::{
    Augment, FeaturePrecision, ImageCache, Preprocess, Resize, Sources, SplitOptions,
};
use crate::runtime::Device;
use crate::strategy::{AdaFilterOptions, FreezeList, SpotTuneOptions, StrategyName};
use crate::surgery::{HeadKind, HeadSpec};
use crate::training::{
    BatchNormMode, ClassWeights, Engine, HeadInit, Monitor, Optimizer, Sampler, Schedule,
};

use super::{RunError, SearchBudget, SearchMethod};

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
/// assert_eq!(settings.batch_size, 16);
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
    /// What the search of a strategy that looks for promising blocks may cost; `None` for no limit.
    pub budget: Option<SearchBudget>,
    /// Patterns of the layers of strategy `select`: layers, parameters or blocks by name.
    pub train: Vec<String>,
    /// Which parameters of the backbone may be trained at all; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze_list: Option<FreezeList>,
    /// α of the updates of low rank of strategies [that train them alone](crate::strategy::Strategy::updates_weights):
    /// an update counts α / rank. `None` for the rank, so that it counts once.
    pub lora_alpha: Option<usize>,
    /// What strategy `adafilter` gates, and how.
    pub adafilter: AdaFilterOptions,
    /// What strategy `spottune` gates, and how.
    pub spottune: SpotTuneOptions,
    /// The head.
    pub head: HeadKind,
    /// How a new head begins.
    pub head_init: HeadInit,
    /// Share of values dropped in the head, 0 to 1.
    pub dropout: f32,
    /// Value to take as the last feature map; `None` to search for it.
    pub features: Option<String>,
    /// Value to take as the class scores; `None` for what is [found](crate::graph::Graph::from_model).
    pub output: Option<String>,
    /// What ends a block.
    pub delimiters: Delimiters,
    /// How pixels become input; `None` for the model's own, else the default. Its rule of resizing counts
    /// where `resize` is `None` and it is another than [`Resize::SQUASH`], which all presets have.
    pub preprocess: Option<Preprocess>,
    /// How images come to the input's size; `None` for the model's own rule, else [`Resize::SQUASH`].
    pub resize: Option<Resize>,
    /// Height and width of images, for models that leave it open.
    pub image_size: Option<(usize, usize)>,
    /// Whether a quantised model is trained as the [floats that it stands for](crate::surgery::dequantised).
    pub dequantise: bool,
    /// Whether a model that was exported in training mode is taken as [one that
    /// infers](crate::surgery::in_inference_mode).
    pub inference_mode: bool,
    /// Whether tuned models with a new head give logits, without the softmax or sigmoid behind them.
    pub logits: bool,
    /// Whether tuned models stay made for the batch size that the model was exported for.
    pub keep_batch: bool,
    /// Whether a file beside each tuned model has what makes it of the backbone: an
    /// [`Adapter`](../adapter/struct.Adapter.html).
    pub keep_adapter: bool,
    /// Classes of a folder with fewer usable images are left out.
    pub min_per_class: usize,
    /// Random changes to the images that are trained on.
    pub augment: Choice<Augment>,
    /// Augmented views of each image that are made once and kept; `None` makes new ones in every
    /// epoch.
    pub views: Option<usize>,
    /// What is said of the data besides where they are.
    #[serde(flatten)]
    pub sources: Sources,
    /// How often the whole run is done, each time with the next seed; at least 1.
    pub repeats: usize,
    /// Cross-validation: the whole run is done so often, each time with another part of the data held out; `None` for
    /// no folds. See [`Settings::repetitions`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Parts of the data, order and seed; the seed is also that of the head, of batch order and of
    /// dropout, and the order is also that of batches.
    #[serde(flatten)]
    pub split: SplitOptions,
    /// Which statistics a BatchNormalization takes while it is trained; see [`Settings::batch_norm`].
    pub bn: Choice<BatchNormMode>,
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
    /// α of L2-SP: what was pretrained decays by so much to its pretrained values in place of 0, and the weight decay of the
    /// optimizer is that of a new head; `None` where all decays to 0. See [`TrialSpec::l2_sp`](crate::training::TrialSpec::l2_sp).
    pub l2_sp: Option<f32>,
    /// Into so many groups, which the training samples activate alike, are the filters put of each layer that has more; all
    /// of a group move by the mean of their gradients. `None` where each moves by its own.
    pub group_filters: Option<usize>,
    /// The figure of the validation samples that ranks epochs, and that plateau and early stopping watch; `None` for what [`Settings::watched`] says.
    pub monitor: Option<Monitor>,
    /// The figure that ranks candidates; `None` for that of [`Settings::ranks_by`].
    pub rank_by: Option<Monitor>,
    /// Samples on which candidates are ranked, at least: those of the validation part and, as far as these
    /// are fewer, some of the training part, which no candidate is trained on. 0 for the validation part alone.
    pub rank_samples: usize,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs, or a part of one, in which the learning rate rises; 0 for none.
    pub warmup: f32,
    /// A trial ends after so many epochs in a row without a better validation score; `None` trains all. See
    /// [`Settings::patience`].
    pub early_stopping: Choice<Option<usize>>,
    /// How much the samples of each class count in the loss.
    pub class_weights: ClassWeights,
    /// Which samples an epoch takes.
    pub sampler: Sampler,
    /// Share of a target that the training loss spreads over all classes, below 1; 0 for none.
    pub label_smoothing: f32,
    /// α of mixup, 0 for none: each sample of a step is mixed with another of its batch.
    pub mixup: f32,
    /// α of cutmix, 0 for none: each image of a step has a rectangle of another of its batch.
    pub cutmix: f32,
    /// Samples per step.
    pub batch_size: usize,
    /// Epochs of a winner; see [`Settings::epochs_for`].
    pub epochs: Choice<usize>,
    /// Epochs of a candidate in the search; see [`Settings::search_on`].
    pub search_epochs: Choice<usize>,
    /// Threads; 0 for all cores, or those that a run which is resumed began with. Trials of small networks share them, one thread or more for each.
    pub threads: usize,
    /// What steps and updates are made by.
    pub engine: Engine,
    /// What step graphs may be made of.
    pub operators: Operators,
    /// The device.
    pub device: Device,
    /// Whether the optimizer is in the graph of a step, with parameters and moments on the device; see
    /// [`Settings::updates_in_graph`].
    pub optimizer_in_graph: Choice<bool>,
    /// Whether a GPU may multiply in TF32, with 10 bits behind the point in place of 23.
    pub tf32: bool,
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
            strategies: vec![
                StrategyName::HEAD,
                StrategyName::last_share(40),
                StrategyName::AUTO,
            ],
            search: None,
            budget: Some(SearchBudget::Winner),
            train: Vec::new(),
            freeze_list: None,
            lora_alpha: None,
            adafilter: AdaFilterOptions::default(),
            spottune: SpotTuneOptions::default(),
            head: HeadKind::Linear,
            head_init: HeadInit::Solved,
            dropout: HeadSpec::DROPOUT,
            features: None,
            output: None,
            delimiters: Delimiters::Auto,
            preprocess: None,
            resize: None,
            image_size: None,
            dequantise: false,
            inference_mode: false,
            logits: false,
            keep_batch: false,
            keep_adapter: false,
            min_per_class: 0,
            augment: Choice::Auto,
            views: None,
            sources: Sources::default(),
            repeats: 1,
            folds: None,
            split: SplitOptions::default(),
            bn: Choice::Auto,
            optimizer: Optimizer {
                learning_rate: Choice::Auto,
                ..Optimizer::default()
            },
            head_lr: None,
            layer_decay: 1.0,
            clip_norm: None,
            ema: None,
            l2_sp: None,
            group_filters: None,
            monitor: None,
            rank_by: None,
            rank_samples: 1000,
            schedule: Schedule::default(),
            warmup: 0.5,
            early_stopping: Choice::Auto,
            class_weights: ClassWeights::None,
            sampler: Sampler::All,
            label_smoothing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            batch_size: 16,
            epochs: Choice::Auto,
            search_epochs: Choice::Auto,
            threads: 0,
            engine: Engine::Graph,
            operators: Operators::Kernels,
            device: Device::Cpu,
            optimizer_in_graph: Choice::Auto,
            tf32: false,
            image_cache: ImageCache::Auto,
            memory_budget: None,
            feature_precision: FeaturePrecision::F32,
            checkpoint_every: 30.0,
            log_steps: false,
        }
    }
}

impl Settings {
    /// Sets [`epochs`](#structfield.epochs).
    #[must_use]
    pub fn epochs(mut self, epochs: impl Into<Choice<usize>>) -> Self {
        self.epochs = epochs.into();
        self
    }

    /// Sets [`search_epochs`](#structfield.search_epochs).
    #[must_use]
    pub fn search_epochs(mut self, epochs: impl Into<Choice<usize>>) -> Self {
        self.search_epochs = epochs.into();
        self
    }

    /// Sets [`bn`](#structfield.bn).
    #[must_use]
    pub fn bn(mut self, bn: impl Into<Choice<BatchNormMode>>) -> Self {
        self.bn = bn.into();
        self
    }

    /// Sets [`optimizer_in_graph`](#structfield.optimizer_in_graph).
    #[must_use]
    pub fn optimizer_in_graph(mut self, in_graph: impl Into<Choice<bool>>) -> Self {
        self.optimizer_in_graph = in_graph.into();
        self
    }

    setters! {
        strategies: Vec<StrategyName>,
        search: Option<SearchMethod>,
        budget: Option<SearchBudget>,
        train: Vec<String>,
        freeze_list: Option<FreezeList>,
        lora_alpha: Option<usize>,
        adafilter: AdaFilterOptions,
        spottune: SpotTuneOptions,
        head: HeadKind,
        head_init: HeadInit,
        dropout: f32,
        features: Option<String>,
        output: Option<String>,
        delimiters: Delimiters,
        preprocess: Option<Preprocess>,
        resize: Option<Resize>,
        image_size: Option<(usize, usize)>,
        dequantise: bool,
        inference_mode: bool,
        logits: bool,
        keep_batch: bool,
        keep_adapter: bool,
        min_per_class: usize,
        augment: Choice<Augment>,
        views: Option<usize>,
        sources: Sources,
        repeats: usize,
        folds: Option<usize>,
        split: SplitOptions,
        optimizer: Optimizer,
        head_lr: Option<f32>,
        layer_decay: f32,
        clip_norm: Option<f32>,
        ema: Option<f32>,
        l2_sp: Option<f32>,
        group_filters: Option<usize>,
        monitor: Option<Monitor>,
        rank_by: Option<Monitor>,
        rank_samples: usize,
        schedule: Schedule,
        warmup: f32,
        early_stopping: Choice<Option<usize>>,
        class_weights: ClassWeights,
        sampler: Sampler,
        label_smoothing: f32,
        mixup: f32,
        cutmix: f32,
        batch_size: usize,
        threads: usize,
        engine: Engine,
        operators: Operators,
        device: Device,
        tf32: bool,
        image_cache: ImageCache,
        memory_budget: Option<u64>,
        feature_precision: FeaturePrecision,
        checkpoint_every: f64,
        log_steps: bool,
    }
}

mod checks;
mod engine;
mod open;

#[cfg(test)]
mod tests;
