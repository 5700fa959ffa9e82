//! Settings with which nothing can be done.

use crate::choice::Choice;
use crate::data::{Augment, DataError};
use crate::runtime::Device;
use crate::strategy::{AdaFilterOptions, SpotTuneOptions};
use crate::surgery::HeadKind;
use crate::training::{ClassWeights, Sampler, Schedule};

use super::{RunError, SearchBudget, SearchMethod, Settings};

impl Settings {
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
        let rate = optimizer.learning_rate.given();
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
            (
                "budget",
                !self.has_own_budget() || self.wants_promising(),
                "it is for the search of strategy `auto`, which is not among the strategies",
            ),
            (
                "budget",
                !self.has_own_budget() || self.method() != SearchMethod::Exhaustive,
                "an exhaustive search tries everything",
            ),
            (
                "budget",
                match self.budget {
                    None | Some(SearchBudget::Winner) => true,
                    Some(SearchBudget::Seconds(seconds)) => seconds.is_finite() && seconds > 0.0,
                    Some(SearchBudget::Share(part)) => part > 0.0 && share(part),
                },
                "it is a time above 0, or a share above 0, at most 1",
            ),
            (
                "lora_alpha",
                self.lora_alpha.is_none()
                    || self.strategies.iter().any(|s| s.rule().updates_weights()),
                "it is for strategies `lora` and `lora-blocks`, of which none is among the strategies",
            ),
            ("lora_alpha", self.lora_alpha != Some(0), one),
            (
                "adafilter",
                self.adafilter == AdaFilterOptions::default()
                    || self.strategies.iter().any(|s| s.rule().gates_filters()),
                "it is for strategy `adafilter`, which is not among the strategies",
            ),
            (
                "spottune",
                self.spottune == SpotTuneOptions::default()
                    || self.strategies.iter().any(|s| s.rule().gates_blocks()),
                "it is for strategy `spottune`, which is not among the strategies",
            ),
            ("adafilter.width", self.adafilter.width != Some(0), one),
            (
                "adafilter.share",
                self.adafilter.share.is_none_or(|s| share(s.into())),
                "it is 0 to 1",
            ),
            (
                "logits",
                !self.logits || self.head != HeadKind::Keep,
                "it is for a new head, and the model's own ends as it stands",
            ),
            ("dropout", below_1(self.dropout), "it is 0 or more, below 1"),
            ("image_size", width > 0 && height > 0, "a side is 0"),
            ("views", self.views != Some(0), one),
            (
                "views",
                self.views.is_none() || self.augment != Choice::Given(Augment::None),
                "without `augment` all views of an image are the same",
            ),
            ("repeats", self.repeats > 0, one),
            (
                "folds",
                self.folds.is_none_or(|folds| folds > 1),
                "it is at least 2",
            ),
            (
                "folds",
                self.folds.is_none() || self.repeats == 1,
                "each repetition holds out what its seed says: ask for `repeats` or for folds",
            ),
            (
                "search_fraction",
                split.search_fraction.given().is_none_or(share),
                of_0_to_1,
            ),
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
                rate.is_none_or(positive),
                "it is above 0",
            ),
            (
                "head_lr",
                rate.is_some() || self.head_lr.is_none(),
                "it is beside a learning rate that every trial finds: give that one, too",
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
            ("l2_sp", self.l2_sp.is_none_or(positive), "it is above 0"),
            ("group_filters", self.group_filters != Some(0), one),
            (
                "group_filters",
                self.group_filters.is_none() || !self.updates_in_graph(),
                "filters that move together are moved on the host, and the optimizer is to be in the graph \
                 (`optimizer_in_graph`)",
            ),
            (
                "tf32",
                !self.tf32 || self.device != Device::Cpu,
                "it is for a GPU, and the device is the processor",
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
            (
                "early_stopping",
                self.early_stopping != Choice::Given(Some(0)),
                one,
            ),
            (
                "sampler",
                self.sampler == Sampler::All || self.class_weights == ClassWeights::None,
                "it balances the classes, and so do the class weights: one of the two is enough",
            ),
            (
                "sampler",
                self.sampler == Sampler::All || split.shuffle,
                "it draws samples, which are to be taken in the order of the files",
            ),
            ("batch_size", self.batch_size > 0, one),
            ("epochs", self.epochs != Choice::Given(0), one),
            ("search_epochs", self.search_epochs != Choice::Given(0), one),
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
        let mut checks = checks.into_iter().chain(self.of_engine());
        match checks.find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((field, _, reason)) => Err(RunError::Setting {
                field,
                reason: reason.to_owned(),
            }),
        }
    }
}
