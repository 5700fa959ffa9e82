//! How a run tunes.

use crate::analysis::Delimiters;
use crate::autodiff::Operators;
use crate::data::{Augment, FeaturePrecision, Preprocess, SplitOptions};
use crate::runtime::Device;
use crate::strategy::Strategy;
use crate::surgery::HeadKind;
use crate::training::{BatchNormMode, ClassWeights, Monitor, Optimizer, Plateau};

/// How to tune.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The strategies, in the order they are run.
    pub strategies: Vec<Strategy>,
    /// Patterns of the layers of strategy `select`: layers, parameters or blocks by name.
    pub selection: Vec<String>,
    /// The head.
    pub head: HeadKind,
    /// Share of values dropped in the head, 0 to 1.
    pub dropout: f32,
    /// Value to take as the last feature map; `None` to search for it.
    pub features: Option<String>,
    /// What ends a block.
    pub delimiters: Delimiters,
    /// How pixels become input; `None` for the model's own, else the default.
    pub preprocess: Option<Preprocess>,
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
    pub split: SplitOptions,
    /// Which statistics a BatchNormalization takes while it is trained.
    pub batch_norm: BatchNormMode,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The figure of the validation samples that ranks candidates and epochs, and that plateau and
    /// early stopping watch.
    pub monitor: Monitor,
    /// The learning-rate schedule.
    pub plateau: Option<Plateau>,
    /// A trial ends after so many epochs in a row without a better validation score; `None` trains all.
    pub early_stopping: Option<usize>,
    /// How much the samples of each class count in the loss.
    pub class_weights: ClassWeights,
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
    /// Bytes in memory of the samples and of the cached features; features beyond it go to files.
    /// `None` for that with which a run that is resumed began, else
    /// [`default_memory_budget`](crate::data::default_memory_budget).
    pub memory_budget: Option<u64>,
    /// The type in which cached features are kept.
    pub feature_precision: FeaturePrecision,
    /// Seconds after which the state of a trial is written again, at the end of a step.
    pub checkpoint_seconds: f64,
    /// Whether the metrics get a line per step.
    pub log_steps: bool,
}
