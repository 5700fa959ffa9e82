//! Whether a run that is to be resumed is still the run that began.

use serde::Serialize;
use serde_json::Value;

use crate::data::{Preprocess, SplitOptions};

use super::config::{FlagValue, all_flags};
use super::record::{Configuration, RunRecord};
use super::{RunError, Settings};

/// Compares what is about to run with what began.
///
/// # Errors
/// [`RunError::Changed`], with the name of the first thing that differs.
pub(crate) fn unchanged(began: &RunRecord, now: &RunRecord) -> Result<(), RunError> {
    same_input(began, now)?;
    // What follows from all of these; a run that is resumed may be asked for more.
    let first = now.strategies.len().min(began.strategies.len());
    let of_began = now.strategies[..first].to_vec();
    differing("the list of candidates", &began.strategies, &of_began)
}

/// Compares all but the candidates.
///
/// # Errors
/// As [`unchanged`].
pub(crate) fn same_input(began: &RunRecord, now: &RunRecord) -> Result<(), RunError> {
    differing(
        "the version of ftsurgery",
        &began.versions.ftsurgery,
        &now.versions.ftsurgery,
    )?;
    differing(
        "the version of onnxruntime",
        &began.versions.onnxruntime,
        &now.versions.onnxruntime,
    )?;
    differing(
        "the model (its SHA-256)",
        &began.model.sha256,
        &now.model.sha256,
    )?;
    differing(
        "the external data of the model",
        &began.model.external,
        &now.model.external,
    )?;
    differing(
        "the classes of the data",
        &began.data.classes,
        &now.data.classes,
    )?;
    differing(
        "the number of images or samples",
        &began.data.samples,
        &now.data.samples,
    )?;
    differing(
        "the data (a SHA-256 over all samples)",
        &began.data.fingerprint,
        &now.data.fingerprint,
    )?;
    same_configuration(&began.configuration, &now.configuration)
}

/// The record of a run that is resumed with more strategies or repetitions than it began with; `None` where
/// it is asked for no more. `now` passes [`unchanged`].
pub(crate) fn extended(began: &RunRecord, now: &RunRecord) -> Option<RunRecord> {
    let mut extended = began.clone();
    extended.strategies.clone_from(&now.strategies);
    let (into, from) = (
        &mut extended.configuration.settings,
        &now.configuration.settings,
    );
    into.strategies.clone_from(&from.strategies);
    into.train.clone_from(&from.train);
    into.lora_alpha = from.lora_alpha;
    into.adafilter.clone_from(&from.adafilter);
    into.spottune.clone_from(&from.spottune);
    into.repeats = from.repeats;
    (extended != *began).then_some(extended)
}

/// Compares settings alone, before model and data are opened.
///
/// # Errors
/// [`RunError::Changed`], with the name of the first flag that differs.
pub(crate) fn same_settings(began: &Configuration, settings: &Settings) -> Result<(), RunError> {
    same_configuration(began, &began.with(settings))
}

/// Compares the settings of a study that began with those it is to go on with.
///
/// # Errors
/// [`RunError::Changed`], with the name of the first flag that differs.
pub(crate) fn same_study(began: &Settings, now: &Settings) -> Result<(), RunError> {
    same_flags(began, now)
}

fn same_configuration(began: &Configuration, now: &Configuration) -> Result<(), RunError> {
    let (was, mut is) = (&began.settings, now.settings.clone());
    // What a run that is resumed may have more of.
    if is.strategies.starts_with(&was.strategies) {
        if !was.strategies.iter().any(|s| s.rule().takes_patterns()) {
            is.train.clone_from(&was.train);
        }
        if !was.strategies.iter().any(|s| s.rule().updates_weights()) {
            is.lora_alpha = was.lora_alpha;
        }
        if !was.strategies.iter().any(|s| s.rule().gates_filters()) {
            is.adafilter.clone_from(&was.adafilter);
        }
        if !was.strategies.iter().any(|s| s.rule().gates_blocks()) {
            is.spottune.clone_from(&was.spottune);
        }
        is.strategies.clone_from(&was.strategies);
    }
    if is.repeats > was.repeats {
        is.repeats = was.repeats;
    }
    same_flags(was, &is)?;
    let axes = "the axis order of the model's input";
    differing(axes, &began.layout, &now.layout)
}

/// Flags that may differ: how often the state is written and where images are kept show in no result, and whether
/// the data are the same, wherever they are now, tells their fingerprint.
const FREE: [&str; 7] = [
    "checkpoint-every",
    "image-cache",
    "validation",
    "test",
    "images",
    "split",
    "classes",
];

fn same_flags(was: &Settings, is: &Settings) -> Result<(), RunError> {
    let [was, is] = [was, is].map(with_resize);
    let (was, is) = (&was, &is);
    // What several flags give is told by the one that names it.
    let named = |p: &Option<Preprocess>| p.as_ref().map(ToString::to_string);
    let [before, after] = [was, is].map(|s| named(&s.preprocess));
    differing("--preprocess", &before, &after)?;
    let (before, after) = (all_flags(was), all_flags(is));
    let mut names = before.iter().chain(&after).map(|(name, _)| *name);
    let of = |all: &[(&str, FlagValue)], name: &str| {
        let (_, value) = all.iter().find(|(n, _)| *n == name)?;
        Some(value.clone())
    };
    let differs = |name: &&str| !FREE.contains(name) && of(&before, name) != of(&after, name);
    if let Some(name) = names.find(differs) {
        let shown = |value: Option<FlagValue>| {
            let value = value.map(|v| v.shown().unwrap_or_else(|| v.to_string()));
            let value = value.filter(|text| !text.is_empty());
            value.unwrap_or_else(|| "none".to_owned())
        };
        return Err(RunError::Changed {
            what: format!("--{name}"),
            was: shown(of(&before, name)),
            is: shown(of(&after, name)),
        });
    }
    // What no flag gives.
    differing(
        "the schedule of the learning rate",
        &was.schedule,
        &is.schedule,
    )?;
    let is = Settings {
        checkpoint_every: was.checkpoint_every,
        image_cache: was.image_cache,
        sources: was.sources.clone(),
        split: SplitOptions {
            given_parts: was.split.given_parts.clone(),
            ..is.split.clone()
        },
        ..is.clone()
    };
    differing("a setting", was, &is)
}

/// Settings in which each of the two that say how images are resized says it.
fn with_resize(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    // Records from before there was a choice have it in the preprocessing alone.
    let noted = settings.preprocess.as_ref().map(|p| p.resize);
    settings.resize = settings.resize_asked().or(noted);
    if let (Some(preprocess), Some(resize)) = (&mut settings.preprocess, settings.resize) {
        preprocess.resize = resize;
    }
    settings
}

fn differing<T: PartialEq + Serialize>(what: &str, was: &T, is: &T) -> Result<(), RunError> {
    match was == is {
        true => Ok(()),
        false => Err(RunError::Changed {
            what: what.to_owned(),
            was: text(was),
            is: text(is),
        }),
    }
}

/// A value of a record, for people.
fn text<T: Serialize>(of: &T) -> String {
    // Whatever cannot be written as JSON could not be read from the run's file either.
    match serde_json::to_value(of).unwrap_or_default() {
        Value::String(text) => text,
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Augment, Resize};
    use crate::run::{Recipe, SearchBudget};
    use crate::strategy::StrategyName;
    use crate::training::{HeadInit, Plateau, Schedule};

    /// What is said to differ of settings, with both values.
    fn told(change: impl FnOnce(&mut Settings)) -> Option<[String; 3]> {
        let was = Recipe::Paper.settings();
        let was = was.preprocess(Some(Preprocess::SIGNED));
        let mut is = was.clone();
        change(&mut is);
        match same_study(&was, &is) {
            Ok(()) => None,
            Err(RunError::Changed { what, was, is }) => Some([what, was, is]),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_differs_is_told_by_its_flag_as_one_would_give_it() {
        type Change = fn(&mut Settings);
        let changes: [(Change, [&str; 3]); 27] = [
            (
                |s| s.optimizer.learning_rate = 3e-3.into(),
                ["--lr", "0.0001", "0.003"],
            ),
            (
                |s| s.optimizer.weight_decay = 0.5,
                ["--weight-decay", "0", "0.5"],
            ),
            (
                |s| s.head_init = HeadInit::Solved,
                ["--head-init", "random", "solved"],
            ),
            (
                |s| s.search_epochs = 7.into(),
                ["--search-epochs", "50", "7"],
            ),
            (
                |s| s.budget = Some(SearchBudget::Seconds(600.0)),
                ["--budget", "none", "10m"],
            ),
            (
                |s| s.split.shuffle = false,
                ["--no-shuffle", "false", "true"],
            ),
            (
                |s| s.schedule = Schedule::Constant,
                ["--schedule", "plateau", "constant"],
            ),
            (|s| s.warmup = 0.5, ["--warmup", "0", "0.5"]),
            (|s| s.head_lr = Some(0.5), ["--head-lr", "none", "0.5"]),
            (
                |s| s.label_smoothing = 0.1,
                ["--label-smoothing", "0", "0.1"],
            ),
            (|s| s.clip_norm = Some(1.0), ["--clip-norm", "none", "1"]),
            (|s| s.ema = Some(0.99), ["--ema", "none", "0.99"]),
            (|s| s.l2_sp = Some(0.05), ["--l2-sp", "none", "0.05"]),
            (
                |s| s.group_filters = Some(8),
                ["--group-filters", "none", "8"],
            ),
            (
                |s| s.optimizer_in_graph = true.into(),
                ["--optimizer-in-graph", "none", "on"],
            ),
            (|s| s.mixup = 0.2, ["--mixup", "0", "0.2"]),
            (|s| s.cutmix = 1.0, ["--cutmix", "0", "1"]),
            (|s| s.layer_decay = 0.5, ["--layer-decay", "1", "0.5"]),
            (|s| s.views = Some(3), ["--views", "none", "3"]),
            (
                |s| s.train = vec!["c1".to_owned()],
                ["--train", "none", "c1"],
            ),
            // Though Adam has none.
            (|s| s.optimizer.momentum = 0.5, ["--momentum", "0.9", "0.5"]),
            (
                |s| s.image_size = Some((224, 160)),
                ["--image-size", "none", "224x160"],
            ),
            (
                |s| s.preprocess = Some(Preprocess::CAFFE),
                ["--preprocess", "signed", "caffe"],
            ),
            (
                |s| s.resize = Some(Resize::CROP),
                ["--resize", "squash", "crop:0.875"],
            ),
            (
                |s| {
                    s.resize = None;
                    s.preprocess.as_mut().unwrap().resize = Resize::LETTERBOX;
                },
                ["--resize", "squash", "letterbox"],
            ),
            (
                |s| s.augment = Augment::Flip.into(),
                ["--augment", "none", "flip"],
            ),
            (
                |s| s.strategies = vec![StrategyName::HEAD, StrategyName::top(4)],
                ["--strategies", "head,full,blocks", "head,top4"],
            ),
        ];
        for (change, expected) in changes {
            assert_eq!(told(change), Some(expected.map(str::to_owned)));
        }
    }

    #[test]
    fn what_no_flag_gives_differs_too() {
        let lower = Schedule::Plateau(Plateau {
            minimum: 1e-3,
            ..Plateau::default()
        });
        let minimum = told(|s| s.schedule = lower).unwrap();
        assert_eq!(minimum[0], "the schedule of the learning rate");
        let numbers = |s: &mut Settings| {
            s.preprocess.as_mut().unwrap().mean[0] = 0.25;
        };
        let [what, was, is] = told(numbers).unwrap();
        assert_eq!((what.as_str(), was.as_str()), ("--preprocess", "signed"));
        assert!(is.contains("0.25"), "{is}");
    }

    #[test]
    fn what_shows_in_no_result_may_differ() {
        assert_eq!(told(|_| {}), None);
        assert_eq!(told(|s| s.checkpoint_every = 1.0), None);
        // What a record from before the flag was there means.
        assert_eq!(told(|s| s.resize = Some(Resize::SQUASH)), None);
    }
}
