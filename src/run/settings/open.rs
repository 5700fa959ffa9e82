//! What settings come to that leave something open.

use std::path::Path;

use crate::choice::Choice;
use crate::data::Resize;
use crate::runtime::Device;
use crate::surgery::HeadKind;
use crate::task::Task;
use crate::training::{
    BatchNormMode, ClassWeights, Engine, HeadInit, Monitor, Optimizer, Sampler, Schedule,
};

use super::{RunError, SearchBudget, SearchMethod, Settings};

/// Epochs in a row without a better score that a trial at a constant rate is let go on.
const PATIENCE: usize = 8;
/// Steps that training for as many epochs as that takes comes to, where that is within the bounds of epochs.
const STEPS: usize = 600;
const FEWEST_EPOCHS: usize = 6;
const MOST_EPOCHS: usize = 12;
/// Steps after which candidates can be ranked, and the most epochs that are taken for that.
const STEPS_TO_RANK: usize = 64;
const MOST_TO_RANK: usize = 6;
/// Data beyond this distance are far from those that a network's statistics are of: digits are 0.6 from clothes, photos
/// 0.04 to 0.11 from ImageNet (`docs/recipe.md`, "Epochs and batch statistics").
const FAR: f64 = 0.3;
/// How many times as many steps such data take.
const FAR_TIMES: usize = 2;
/// Samples of a step from which on their statistics are worth something.
const LARGE_BATCH: usize = 16;

fn is_far(apart: Option<f64>) -> bool {
    apart.is_some_and(|apart| apart > FAR)
}

impl Settings {
    /// What is told of a sample: [`Sources::task`](crate::data::Sources::task), as it was found for data and model, or
    /// by default its one class.
    pub fn task(&self) -> Task {
        self.sources.task.unwrap_or_default()
    }

    /// Whether these settings can be followed where this is told of a sample.
    ///
    /// # Errors
    /// [`RunError::Setting`], with the first one that cannot.
    pub fn fit(&self, task: Task) -> Result<(), RunError> {
        let several = task.is_multi_label();
        let precision = Some(Monitor::AveragePrecision);
        let for_several = "it is for samples that may have several labels (--task multi-label)";
        let checks = [
            (
                "sampler",
                !several || self.sampler == Sampler::All,
                "epochs with as many samples of each class need samples of one class each; with several labels \
                 --class-weights balanced counts rare ones more",
            ),
            ("monitor", several || self.monitor != precision, for_several),
            ("rank_by", several || self.rank_by != precision, for_several),
        ];
        match checks.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((field, _, reason)) => Err(RunError::Setting {
                field,
                reason: reason.to_owned(),
            }),
        }
    }

    /// The figure that is watched: [`Settings::monitor`], else what is usual for weights and task; where that is accuracy
    /// and training begins with a head that fits, the calibrated loss, which tells small steps forward from chance on
    /// fewer samples.
    pub fn watched(&self) -> Monitor {
        let usual = Monitor::default_for(self.head_weights(), self.task());
        self.monitor.unwrap_or(match usual {
            Monitor::Accuracy if self.begins_fitted() => Monitor::CalibratedLoss,
            usual => usual,
        })
    }

    /// How candidates are searched: [`Settings::search`], or its default without regard to the data.
    pub fn method(&self) -> SearchMethod {
        let mut searches = self.strategies.iter().map(|s| s.rule());
        let searches_more = searches.any(|s| s.searches().is_some() && !s.wants_promising());
        let default = match (self.wants_promising(), searches_more) {
            (true, false) => SearchMethod::Whole,
            (true, true) => SearchMethod::halving(1),
            (false, _) => SearchMethod::Exhaustive,
        };
        self.search.unwrap_or(default)
    }

    /// How candidates are searched that are trained on so many samples, and for how many epochs.
    ///
    /// Before about 64 steps candidates of many parameters are behind those of few, whatever they come
    /// to: halving ranks from as many epochs on as these take, 6 at most, and the search
    /// ([`auto`](crate::choice::Choice::Auto)) is three times as long.
    pub fn search_on(&self, samples: usize) -> (SearchMethod, usize) {
        let per_epoch = samples.div_ceil(self.batch_size.max(1)).max(1);
        let first = STEPS_TO_RANK.div_ceil(per_epoch).clamp(1, MOST_TO_RANK);
        let method = match (self.search, self.method()) {
            (None, SearchMethod::Halving { .. }) => SearchMethod::halving(first),
            (_, method) => method,
        };
        (method, self.search_epochs.or(3 * first))
    }

    /// Epochs of a candidate, at most: [`Settings::search_epochs`], or the most that
    /// [`auto`](crate::choice::Choice::Auto) can be.
    pub fn most_search_epochs(&self) -> usize {
        self.search_epochs.or(3 * MOST_TO_RANK)
    }

    /// The epochs after which candidates are ranked.
    pub fn rungs(&self) -> Vec<usize> {
        self.method().rungs(self.most_search_epochs())
    }

    /// Whether a strategy [looks for promising blocks](crate::strategy::Strategy::wants_promising).
    pub fn wants_promising(&self) -> bool {
        self.strategies.iter().any(|s| s.rule().wants_promising())
    }

    /// Whether a search is held to another budget than the usual one.
    pub(in crate::run) fn has_own_budget(&self) -> bool {
        self.budget
            .is_some_and(|budget| budget != SearchBudget::Winner)
    }

    /// The figure that ranks candidates: [`Settings::rank_by`], else the one that is asked to be watched, else the
    /// calibrated loss, which tells candidates apart on fewer samples than accuracy does.
    pub fn ranks_by(&self) -> Monitor {
        let is_asked = self.monitor.is_some() || self.head_weights() != ClassWeights::None;
        self.rank_by.unwrap_or(match is_asked {
            true => self.watched(),
            false => Monitor::CalibratedLoss,
        })
    }

    /// After how many epochs in a row without a better validation score a trial ends; `None` where it trains all.
    ///
    /// [`auto`](crate::choice::Choice::Auto) is 8 at a constant rate, and at one that falls on a plateau as many as it takes to fall
    /// twice. Where the schedule has a length it is none, since the last epochs are those that such a training is
    /// for; nor without validation samples.
    pub fn patience(&self) -> Option<usize> {
        self.early_stopping.or(match self.schedule {
            _ if !self.validates() => None,
            Schedule::Constant => Some(PATIENCE),
            Schedule::Plateau(plateau) => {
                Some(plateau.patience.saturating_add(1).saturating_mul(2))
            }
            _ => None,
        })
    }

    /// How often the whole run is done: for each fold, or with so many seeds.
    pub fn repetitions(&self) -> usize {
        self.folds.unwrap_or(self.repeats).max(1)
    }

    /// These, with the parts that the data at `path` are seen to give.
    pub(crate) fn with_given_parts(&self, path: &Path) -> Self {
        let mut settings = self.clone();
        let seen = settings.sources.given_parts(path);
        if !seen.is_empty() {
            settings.split.given_parts = seen;
        }
        settings
    }

    /// How much the samples of each class count where a head is found by itself: as they count in training, by their
    /// weights or by how often they are drawn.
    pub fn head_weights(&self) -> ClassWeights {
        match self.sampler {
            Sampler::All => self.class_weights,
            Sampler::Balanced => ClassWeights::Balanced,
        }
    }

    /// Whether there is a validation part.
    pub fn validates(&self) -> bool {
        self.split.validates()
    }

    /// Epochs of a winner that is trained on so many samples.
    ///
    /// [`auto`](crate::choice::Choice::Auto) is as many as 600 steps take, 6 at least and 12 at most; twice as many where the
    /// data are so far [apart](crate::classifier::ModelInput::apart_on) from what the network knows that they change its
    /// [normalisation](Settings::batch_norm_for), as its weights then have far to go.
    pub fn epochs_for(&self, samples: usize, apart: Option<f64>) -> usize {
        let per_epoch = samples.div_ceil(self.batch_size.max(1)).max(1);
        let times = if is_far(apart) { FAR_TIMES } else { 1 };
        let epochs = (times * STEPS).div_ceil(per_epoch);
        self.epochs
            .or(epochs.clamp(times * FEWEST_EPOCHS, times * MOST_EPOCHS))
    }

    /// Epochs of a winner, at most: [`Settings::epochs`], or the most that [`auto`](crate::choice::Choice::Auto) can be.
    pub fn most_epochs(&self) -> usize {
        self.epochs.or(FAR_TIMES * MOST_EPOCHS)
    }

    /// Which statistics a BatchNormalization takes while it is trained.
    ///
    /// [`auto`](crate::choice::Choice::Auto) is the stored ones, but for a drawn head and batches of 16 and more; see also
    /// [`Settings::batch_norm_for`].
    pub fn batch_norm(&self) -> BatchNormMode {
        self.batch_norm_for(None)
    }

    /// As [`Settings::batch_norm`], for data on which the first normalisation layers see what is so far
    /// [apart](crate::classifier::ModelInput::apart_on) from what they store: beyond 0.3 `auto` is the batch's statistics
    /// also where training begins with a head that fits, if batches are large enough. An engine without running statistics
    /// has the stored ones.
    pub fn batch_norm_for(&self, apart: Option<f64>) -> BatchNormMode {
        let changes = !self.begins_fitted() || is_far(apart);
        let follows = self.engine == Engine::Graph;
        self.bn
            .or(match changes && follows && self.batch_size >= LARGE_BATCH {
                true => BatchNormMode::Batch,
                false => BatchNormMode::Frozen,
            })
    }

    /// Whether it matters how far the data are.
    pub(crate) fn depends_on_distance(&self) -> bool {
        let of = |apart| (self.batch_norm_for(apart), self.epochs_for(1, apart));
        of(None) != of(Some(f64::INFINITY))
    }

    /// The learning rate at the start.
    ///
    /// [`auto`](crate::choice::Choice::Auto) stays so where training begins with a head that fits the network: a
    /// trial then [finds it](crate::training::TriedRate), in a search that which trains most. Of drawn weights, whose loss falls whatever the network
    /// behind them loses, it is the optimizer's usual one.
    pub fn learning_rate(&self) -> Choice<f32> {
        match self.optimizer.learning_rate {
            Choice::Auto if !self.begins_fitted() => {
                Optimizer::new(self.optimizer.kind).learning_rate
            }
            rate => rate,
        }
    }

    /// Whether the optimizer is in the graph of a step: [`Settings::optimizer_in_graph`](#structfield.optimizer_in_graph).
    ///
    /// [`auto`](crate::choice::Choice::Auto) is so on other devices than the processor, where a loop on the host would have
    /// all gradients and parameters copied in every step, unless filters move together, which the graph has no nodes for.
    pub fn updates_in_graph(&self) -> bool {
        let found = self.device != Device::Cpu && self.group_filters.is_none();
        self.optimizer_in_graph.or(found)
    }

    /// What the learning rate of the head is multiplied by.
    pub fn head_factor(&self) -> f32 {
        let rate = self.optimizer.learning_rate.given();
        let rates = self.head_lr.zip(rate);
        rates.map_or(1.0, |(head, rate)| head / rate)
    }

    /// How images are resized, where that is asked for: [`Settings::resize`], or what
    /// [`Settings::preprocess`] says other than squashing.
    pub(in crate::run) fn resize_asked(&self) -> Option<Resize> {
        let named = self.preprocess.as_ref().map(|p| p.resize);
        self.resize.or(named.filter(|r| *r != Resize::SQUASH))
    }

    /// Whether a new head is solved, or trained alone, before the trials begin. The model's own is not: it begins
    /// as it stands.
    pub fn solves_head(&self) -> bool {
        self.head_init == HeadInit::Solved && self.head != HeadKind::Keep
    }

    /// Whether training begins with a head that fits the network.
    pub(super) fn begins_fitted(&self) -> bool {
        self.head_init == HeadInit::Solved || self.head == HeadKind::Keep
    }
}
