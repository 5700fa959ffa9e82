//! How a run tunes.

use serde::{Deserialize, Serialize};

use crate::analysis::Delimiters;
use crate::autodiff::Operators;
use crate::data::{Augment, FeaturePrecision, ImageCache, Preprocess, SplitOptions};
use crate::runtime::Device;
use crate::strategy::StrategyName;
use crate::surgery::{HeadKind, HeadSpec};
use crate::training::{BatchNormMode, ClassWeights, Monitor, Optimizer, Plateau};

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
    /// How candidates are searched.
    pub search: SearchMethod,
    /// Patterns of the layers of strategy `select`: layers, parameters or blocks by name.
    pub train: Vec<String>,
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
    #[serde(flatten)]
    pub split: SplitOptions,
    /// Which statistics a BatchNormalization takes while it is trained.
    pub bn: BatchNormMode,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The figure of the validation samples that ranks epochs, and that plateau and early stopping watch; `None` for [`Monitor::default_for`] the class weights.
    pub monitor: Option<Monitor>,
    /// The figure that ranks candidates; `None` for [`Settings::monitor`], or its default.
    pub rank_by: Option<Monitor>,
    /// Samples on which candidates are ranked, at least: those of the validation part and, as far as these
    /// are fewer, some of the training part, which no candidate is trained on. 0 for the validation part alone.
    pub rank_samples: usize,
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
            search: SearchMethod::Exhaustive,
            train: Vec::new(),
            head: HeadKind::Paper,
            dropout: HeadSpec::DROPOUT,
            features: None,
            delimiters: Delimiters::Auto,
            preprocess: None,
            image_size: None,
            min_per_class: 0,
            augment: Augment::None,
            views: None,
            repeats: 1,
            split: SplitOptions::default(),
            bn: BatchNormMode::Frozen,
            optimizer: Optimizer::default(),
            monitor: None,
            rank_by: None,
            rank_samples: 0,
            plateau: Some(Plateau::default()),
            early_stopping: None,
            class_weights: ClassWeights::None,
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
        search: SearchMethod,
        train: Vec<String>,
        head: HeadKind,
        dropout: f32,
        features: Option<String>,
        delimiters: Delimiters,
        preprocess: Option<Preprocess>,
        image_size: Option<(usize, usize)>,
        min_per_class: usize,
        augment: Augment,
        views: Option<usize>,
        repeats: usize,
        split: SplitOptions,
        bn: BatchNormMode,
        optimizer: Optimizer,
        monitor: Option<Monitor>,
        rank_by: Option<Monitor>,
        rank_samples: usize,
        plateau: Option<Plateau>,
        early_stopping: Option<usize>,
        class_weights: ClassWeights,
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

    /// The figure that ranks candidates: [`Settings::rank_by`], or its default.
    pub fn ranks_by(&self) -> Monitor {
        self.rank_by.unwrap_or_else(|| self.watched())
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
        let plateau = self.plateau.unwrap_or_default();
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
                optimizer.weight_decay.is_finite() && optimizer.weight_decay >= 0.0,
                "it is 0 or more",
            ),
            (
                "optimizer.momentum",
                below_1(optimizer.momentum),
                "it is 0 or more, below 1",
            ),
            (
                "plateau.factor",
                below_1(plateau.factor),
                "it is 0 or more, below 1",
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
        if let Some(preprocess) = &self.preprocess {
            preprocess.validate().map_err(|e| RunError::Setting {
                field: "preprocess",
                reason: e.to_string(),
            })?;
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
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_json_and_what_is_missing_is_as_by_default() {
        let mut settings = Settings::default()
            .preprocess(Some(Preprocess::CAFFE))
            .delimiters("pool,norm".parse().unwrap())
            .device("cuda:1".parse().unwrap())
            .image_size(Some((160, 224)));
        settings.split.seed = u64::MAX;
        settings.optimizer.learning_rate = 3e-5;
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        let few: Settings = serde_json::from_str(r#"{"epochs": 3, "seed": 7}"#).unwrap();
        let mut expected = Settings::default().epochs(3);
        expected.split.seed = 7;
        assert_eq!(few, expected);
    }

    #[test]
    fn what_nothing_can_be_done_with_is_refused_by_the_name_of_its_field() {
        Settings::default().validate().unwrap();
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 15] = [
            ("strategies", |s| s.strategies.clear()),
            ("train", |s| s.train.push("block5".to_owned())),
            ("dropout", |s| s.dropout = 1.0),
            ("image_size", |s| s.image_size = Some((0, 3))),
            ("views", |s| s.views = Some(2)),
            ("repeats", |s| s.repeats = 0),
            ("search_fraction", |s| s.split.search_fraction = f64::NAN),
            ("train_fraction", |s| s.split.train_fraction = 0.0),
            ("validation_fraction", |s| {
                s.split.validation_fraction = Some(1.5);
            }),
            ("optimizer.learning_rate", |s| {
                s.optimizer.learning_rate = 0.0;
            }),
            ("optimizer.momentum", |s| s.optimizer.momentum = 1.0),
            ("plateau.factor", |s| {
                s.plateau = Some(Plateau {
                    factor: 2.0,
                    ..Plateau::default()
                });
            }),
            ("batch_size", |s| s.batch_size = 0),
            ("search_epochs", |s| s.search_epochs = 0),
            ("checkpoint_every", |s| s.checkpoint_every = -1.0),
        ];
        for (name, change) in changes {
            let mut settings = Settings::default();
            change(&mut settings);
            let error = settings.validate().unwrap_err();
            assert!(error.is_bad_input());
            let text = error.to_string();
            assert!(text.contains(&format!("`{name}`")), "{name}: {text}");
        }
    }
}
