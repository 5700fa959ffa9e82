//! Settings as flags, and the content of `config.toml`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::analysis::Delimiters;
use crate::autodiff::Operators;
use crate::choice::{AUTO, Choice};
use crate::data::Preprocess;
use crate::runtime::Device;
use crate::surgery::HeadKind;
use crate::training::{HeadInit, OptimizerKind, Plateau, Schedule};

use super::{RunRecord, SearchBudget, Settings, Span};

/// A flag's value, written as TOML.
#[derive(Clone, Debug, PartialEq)]
pub enum FlagValue {
    /// A text.
    Text(String),
    /// A number, in as few digits as tell it apart.
    Number(String),
    /// Several texts.
    Texts(Vec<String>),
    /// Several numbers.
    Numbers(Vec<String>),
    /// Of a flag without a value: whether it is given.
    Given(bool),
}

impl FlagValue {
    /// As one would give it to the flag; `None` of a flag without a value.
    pub fn shown(&self) -> Option<String> {
        match self {
            FlagValue::Text(text) | FlagValue::Number(text) => Some(text.clone()),
            FlagValue::Texts(list) | FlagValue::Numbers(list) => Some(list.join(",")),
            FlagValue::Given(_) => None,
        }
    }
}

impl fmt::Display for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &String| toml::Value::String(text.clone()).to_string();
        match self {
            FlagValue::Text(value) => f.write_str(&text(value)),
            FlagValue::Number(number) => f.write_str(number),
            FlagValue::Texts(list) => {
                let list: Vec<String> = list.iter().map(text).collect();
                write!(f, "[{}]", list.join(", "))
            }
            FlagValue::Numbers(list) => write!(f, "[{}]", list.join(", ")),
            FlagValue::Given(given) => write!(f, "{given}"),
        }
    }
}

/// The flags of `tune` by their long names, with which it takes these settings, in the order of its help.
/// What is left open, and what does nothing beside the others, is not among them; nor is a
/// preprocessing that no flag can name.
pub fn flags(settings: &Settings) -> Vec<(&'static str, FlagValue)> {
    let mut flags = all_flags(settings);
    flags.retain(|(name, _)| !is_idle(name, settings));
    flags
}

/// Whether a flag is open, or does nothing beside the others.
fn is_idle(flag: &str, s: &Settings) -> bool {
    let validated = s.validates();
    match flag {
        "train" => s.train.is_empty(),
        "head-init" => s.head == HeadKind::Keep && s.head_init == HeadInit::Random,
        "dropout" => s.head != HeadKind::Paper,
        "logits" => s.head == HeadKind::Keep,
        "min-per-class" => s.min_per_class == 0,
        "rank-by" => !validated,
        "rank-samples" => s.rank_samples == 0 || !validated,
        "momentum" => s.optimizer.kind != OptimizerKind::Sgd,
        "monitor" | "plateau-patience" | "plateau-factor" | "early-stopping" => !validated,
        "schedule" => !validated && plateau(s).is_some(),
        "threads" => s.threads == 0,
        // As it would be found for the device, so that it stays open for another.
        "optimizer-in-graph" => {
            let open = s.clone().optimizer_in_graph(Choice::Auto);
            s.updates_in_graph() == open.updates_in_graph()
        }
        "tf32" => !s.tf32,
        "operators" => s.device != Device::Cpu && s.operators != Operators::Standard,
        _ => false,
    }
}

/// As [`flags`], with those that do nothing beside the others.
pub(super) fn all_flags(settings: &Settings) -> Vec<(&'static str, FlagValue)> {
    use FlagValue::{Given, Number, Numbers, Text, Texts};
    let number = |n: &dyn fmt::Display| Number(n.to_string());
    let count = |n: Option<usize>| n.map(|n| number(&n));
    let s = settings;
    let split = &s.split;
    let columns = &s.sources.columns;
    let filters = &s.adafilter;
    let gates = s.strategies.iter().any(|s| s.rule().gates_filters());
    let gates_blocks = s.strategies.iter().any(|s| s.rule().gates_blocks());
    let preset = s.preprocess.as_ref().and_then(Preprocess::preset);
    let custom = s.preprocess.as_ref().filter(|p| {
        let made = Preprocess::custom(p.mean, p.std);
        preset.is_none() && made.is_ok_and(|made| made.scales_as(p))
    });
    let floor = match s.schedule {
        Schedule::Cosine(cosine) => Some(cosine.floor),
        _ => None,
    };
    let (time, share) = match s.budget {
        Some(SearchBudget::Seconds(seconds)) => (Some(Span { seconds }.to_string()), None),
        Some(SearchBudget::Share(share)) => (None, Some(share)),
        Some(SearchBudget::Winner) => (Some("auto".to_owned()), None),
        None => (Some("none".to_owned()), None),
    };
    let path = |path: Option<&PathBuf>| path.map(|path| Text(path.to_string_lossy().into_owned()));
    let triple = |values: [f32; 3]| Numbers(values.iter().map(f32::to_string).collect());
    let all = [
        (
            "strategies",
            Some(Texts(s.strategies.iter().map(word).collect())),
        ),
        ("search", s.search.map(|m| Text(word(&m)))),
        ("budget", time.map(Text)),
        ("budget-share", share.map(|share| number(&share))),
        ("train", Some(Texts(s.train.clone()))),
        (
            "freeze-list",
            path(s.freeze_list.as_ref().map(|list| &list.path)),
        ),
        ("lora-alpha", count(s.lora_alpha)),
        ("adafilter-layers", Some(Texts(filters.layers.clone()))),
        ("adafilter-gate", gates.then(|| Text(word(&filters.gate)))),
        ("adafilter-start", gates.then(|| Text(word(&filters.start)))),
        ("adafilter-width", count(filters.width)),
        ("adafilter-share", filters.share.map(|share| number(&share))),
        ("adafilter-bake", Some(Given(filters.bake))),
        ("spottune-blocks", Some(Texts(s.spottune.blocks.clone()))),
        (
            "spottune-policy",
            gates_blocks.then(|| Text(word(&s.spottune.policy))),
        ),
        (
            "spottune-start",
            gates_blocks.then(|| Text(word(&s.spottune.start))),
        ),
        ("head", Some(Text(word(&s.head)))),
        ("head-init", Some(Text(word(&s.head_init)))),
        ("dropout", Some(number(&s.dropout))),
        ("features", s.features.clone().map(Text)),
        ("output", s.output.clone().map(Text)),
        ("dequantise", Some(Given(s.dequantise))),
        ("inference-mode", Some(Given(s.inference_mode))),
        ("logits", Some(Given(s.logits))),
        ("keep-batch", Some(Given(s.keep_batch))),
        ("keep-adapter", Some(Given(s.keep_adapter))),
        ("delimiters", Some(Text(delimiters(&s.delimiters)))),
        ("preprocess", preset.clone().map(Text)),
        ("mean", custom.map(|p| triple(p.mean))),
        ("std", custom.map(|p| triple(p.std))),
        (
            "resize",
            Some(Text(
                s.resize_asked().map_or(AUTO.to_owned(), |r| r.to_string()),
            )),
        ),
        (
            "image-size",
            s.image_size.map(|(h, w)| Text(format!("{h}x{w}"))),
        ),
        ("validation", path(s.sources.validation.as_ref())),
        ("test", path(s.sources.test.as_ref())),
        ("images", path(s.sources.images.as_ref())),
        ("task", s.sources.task.map(|task| Text(task.to_string()))),
        ("path-column", columns.path_column.clone().map(Text)),
        ("label-column", columns.label_column.clone().map(Text)),
        ("split-column", columns.split_column.clone().map(Text)),
        ("group-column", columns.group_column.clone().map(Text)),
        ("classes", path(s.sources.classes.as_ref())),
        ("split", path(s.sources.split.as_ref())),
        ("group-by", s.sources.group_by.clone().map(Text)),
        ("label-by", s.sources.label_by.clone().map(Text)),
        ("search-fraction", Some(choice(split.search_fraction))),
        ("train-fraction", Some(number(&split.train_fraction))),
        (
            "validation-fraction",
            split.validation_fraction.map(|share| number(&share)),
        ),
        (
            "search-apart",
            Some(Given(split.search_apart && split.searches())),
        ),
        ("min-per-class", Some(number(&s.min_per_class))),
        ("seed", Some(number(&split.seed))),
        ("repeats", Some(number(&s.repeats))),
        ("folds", count(s.folds)),
        ("augment", Some(Text(word(&s.augment)))),
        ("views", count(s.views)),
        ("no-shuffle", Some(Given(!split.shuffle))),
        ("optimizer", Some(Text(word(&s.optimizer.kind)))),
        ("lr", Some(choice(s.optimizer.learning_rate))),
        ("weight-decay", Some(number(&s.optimizer.weight_decay))),
        ("l2-sp", s.l2_sp.map(|alpha| number(&alpha))),
        ("momentum", Some(number(&s.optimizer.momentum))),
        ("head-lr", s.head_lr.map(|rate| number(&rate))),
        ("layer-decay", Some(number(&s.layer_decay))),
        ("clip-norm", s.clip_norm.map(|norm| number(&norm))),
        ("ema", s.ema.map(|decay| number(&decay))),
        ("group-filters", count(s.group_filters)),
        ("bn", Some(Text(word(&s.bn)))),
        ("batch-size", Some(number(&s.batch_size))),
        ("epochs", Some(choice(s.epochs))),
        ("search-epochs", Some(choice(s.search_epochs))),
        ("monitor", s.monitor.map(|m| Text(word(&m)))),
        ("rank-by", s.rank_by.map(|m| Text(word(&m)))),
        ("rank-samples", Some(number(&s.rank_samples))),
        ("schedule", Some(Text(s.schedule.to_string()))),
        ("plateau-patience", plateau(s).map(|p| number(&p.patience))),
        ("plateau-factor", plateau(s).map(|p| number(&p.factor))),
        ("cosine-floor", floor.map(|floor| number(&floor))),
        ("warmup", Some(number(&s.warmup))),
        ("early-stopping", Some(early_stopping(s.early_stopping))),
        ("class-weights", Some(Text(word(&s.class_weights)))),
        ("sampler", Some(Text(word(&s.sampler)))),
        ("label-smoothing", Some(number(&s.label_smoothing))),
        ("mixup", Some(number(&s.mixup))),
        ("cutmix", Some(number(&s.cutmix))),
        ("threads", Some(number(&s.threads))),
        ("device", Some(Text(word(&s.device)))),
        (
            "optimizer-in-graph",
            s.optimizer_in_graph.given().map(on_or_off),
        ),
        ("tf32", Some(Given(s.tf32))),
        ("engine", Some(Text(word(&s.engine)))),
        ("operators", Some(Text(word(&s.operators)))),
        ("image-cache", Some(Text(word(&s.image_cache)))),
        ("memory-budget", s.memory_budget.map(|bytes| number(&bytes))),
        ("feature-precision", Some(Text(word(&s.feature_precision)))),
        ("checkpoint-every", Some(number(&s.checkpoint_every))),
        ("log-steps", Some(Given(s.log_steps))),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn plateau(s: &Settings) -> Option<Plateau> {
    match s.schedule {
        Schedule::Plateau(plateau) => Some(plateau),
        _ => None,
    }
}

fn early_stopping(patience: Choice<Option<usize>>) -> FlagValue {
    match patience.given() {
        None => FlagValue::Text(AUTO.to_owned()),
        Some(None) => FlagValue::Text("off".to_owned()),
        Some(Some(epochs)) => FlagValue::Number(epochs.to_string()),
    }
}

fn on_or_off(on: bool) -> FlagValue {
    FlagValue::Text(if on { "on" } else { "off" }.to_owned())
}

/// A number, or that it is to be found.
fn choice<T: fmt::Display + Copy>(choice: Choice<T>) -> FlagValue {
    match choice {
        Choice::Auto => FlagValue::Text(AUTO.to_owned()),
        Choice::Given(value) => FlagValue::Number(value.to_string()),
    }
}

/// The name of a variant in files, which is that of its flag.
fn word<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn delimiters(delimiters: &Delimiters) -> String {
    match delimiters {
        Delimiters::Auto => "auto".to_owned(),
        Delimiters::Kinds(kinds) => kinds.iter().map(word).collect::<Vec<_>>().join(","),
    }
}

/// The content of `config.toml`: a run's model, data and settings, all by the names of the flags of `tune`.
pub(super) fn config(run: &RunRecord) -> String {
    let settings = &run.configuration.settings;
    let mut text = format!(
        "# What this run was made with, by ftsurgery {}. It is made again by\n\
         # ftsurgery tune --config FILE --out ANOTHER_FOLDER\n",
        run.versions.ftsurgery
    );
    for (name, path) in [("model", &run.model.path), ("data", &run.data.path)] {
        text.push_str(&match Path::to_str(path) {
            Some(path) => format!("{name} = {}\n", FlagValue::Text(path.to_owned())),
            None => format!("# {name}: a path that is no text, see run.json\n"),
        });
    }
    let flags = flags(settings);
    for (name, value) in &flags {
        text.push_str(&format!("{name} = {value}\n"));
    }
    let is_named = |name: &&(&str, FlagValue)| ["preprocess", "mean"].contains(&name.0);
    if settings.preprocess.is_some() && !flags.iter().any(|flag| is_named(&flag)) {
        text.push_str("# preprocess: no flag can name it, see run.json\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_nothing_or_is_open_is_not_written() {
        let mut settings = Settings::default().head(HeadKind::Linear);
        settings.split.search_fraction = 0.0.into();
        let flags = flags(&settings);
        for name in [
            "dropout",
            "momentum",
            "plateau-factor",
            "monitor",
            "threads",
            "views",
        ] {
            assert!(flags.iter().all(|(n, _)| *n != name), "{name}");
        }
    }

    #[test]
    fn values_are_toml() {
        let mut settings = Settings::default()
            .train(vec!["a\"b*".to_owned()])
            .preprocess(Some(
                Preprocess::custom([0.5, -1.0, 0.25], [0.1; 3]).unwrap(),
            ));
        settings.optimizer.learning_rate = 3e-7.into();
        settings.split.seed = 9;
        let flags = flags(&settings);
        let lines = flags
            .iter()
            .map(|(name, value)| format!("{name} = {value}\n"));
        let table: toml::Table = lines.collect::<String>().parse().unwrap();
        assert_eq!(table["train"][0].as_str(), Some("a\"b*"));
        assert_eq!(table["mean"][1].as_integer(), Some(-1));
        assert_eq!(table["lr"].as_float().map(|lr| lr as f32), Some(3e-7));
        assert_eq!(table["seed"].as_integer(), Some(9));
        assert_eq!(table["log-steps"].as_bool(), Some(false));
    }
}
