//! Whether a run that is to be resumed is still the run that began.

use serde::Serialize;
use serde_json::Value;

use crate::data::Preprocess;

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
    same_fields(&value(began), &value(now))
}

fn same_configuration(began: &Configuration, now: &Configuration) -> Result<(), RunError> {
    let mut now = now.clone();
    let (was, is) = (&began.settings, &mut now.settings);
    // What a run that is resumed may have more of.
    if is.strategies.starts_with(&was.strategies) {
        if !was.strategies.iter().any(|s| s.rule().takes_patterns()) {
            is.train.clone_from(&was.train);
        }
        is.strategies.clone_from(&was.strategies);
    }
    if is.repeats > was.repeats {
        is.repeats = was.repeats;
    }
    same_fields(&value(began), &value(&now))
}

/// What may differ: who said how images are scaled, how often the state is written and where images are
/// kept show in no result.
const FREE: [&str; 3] = ["preprocess_from", "checkpoint_every", "image_cache"];

fn same_fields(was: &Value, is: &Value) -> Result<(), RunError> {
    let (Value::Object(was), Value::Object(is)) = (was, is) else {
        return Ok(());
    };
    let compared = was
        .iter()
        .filter(|(name, _)| !FREE.contains(&name.as_str()));
    for (name, was) in compared {
        let is = is.get(name).unwrap_or(&Value::Null);
        if was != is {
            return Err(match differing_field(name, was, is) {
                Some(field) => changed(&flag(name, &field), &was[&field], &is[&field]),
                None => changed(&flag(name, ""), &given(name, was), &given(name, is)),
            });
        }
    }
    Ok(())
}

/// A setting as its flag takes it, where that is not how it is noted.
fn given(setting: &str, noted: &Value) -> Value {
    match (setting, noted) {
        ("preprocess", noted) => serde_json::from_value::<Preprocess>(noted.clone())
            .map_or_else(|_| noted.clone(), |p| p.to_string().into()),
        ("image_size", Value::Array(sides)) => {
            let sides: Vec<String> = sides.iter().map(text).collect();
            sides.join("x").into()
        }
        _ => noted.clone(),
    }
}

/// What differs of a setting: of an optimizer one of its fields, else the whole.
fn differing_field(setting: &str, was: &Value, is: &Value) -> Option<String> {
    let fields = was.as_object().filter(|_| setting == "optimizer")?;
    let mut names = fields.keys();
    names.find(|&name| was.get(name) != is.get(name)).cloned()
}

fn differing<T: PartialEq + Serialize>(what: &str, was: &T, is: &T) -> Result<(), RunError> {
    match was == is {
        true => Ok(()),
        false => Err(changed(what, &value(was), &value(is))),
    }
}

fn changed(what: &str, was: &Value, is: &Value) -> RunError {
    RunError::Changed {
        what: what.to_owned(),
        was: text(was),
        is: text(is),
    }
}

/// A value as one would give it to a flag.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(values) if values.iter().all(|v| !v.is_object()) => {
            values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            // Of a float32, as few digits as tell it apart.
            let short = number as f32;
            match f64::from(short) == number {
                true if short != 0.0 && short.abs() < 0.01 => format!("{short:e}"),
                true => short.to_string(),
                false => number.to_string(),
            }
        }
        value => value.to_string(),
    }
}

fn value<T: Serialize>(of: &T) -> Value {
    // Whatever cannot be written as JSON could not be read from the run's file either.
    serde_json::to_value(of).unwrap_or_default()
}

/// The flag behind a setting, or a field of it.
fn flag(setting: &str, field: &str) -> String {
    match (setting, field) {
        (_, "kind") => "--optimizer".to_owned(),
        (_, "learning_rate") => "--lr".to_owned(),
        ("optimizer", field) => format!("--{}", field.replace('_', "-")),
        ("plateau", _) => "the plateau schedule (--plateau-patience, --plateau-factor)".to_owned(),
        ("shuffle", _) => "--no-shuffle".to_owned(),
        ("layout", _) => "the axis order of the model's input".to_owned(),
        (name, _) => format!("--{}", name.replace('_', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_told_as_flags_are_given() {
        for (value, said) in [
            (json!(1e-3_f32), "1e-3"),
            (json!(0.5_f32), "0.5"),
            (json!(0.1_f64), "0.1"),
            (json!(["head", "full"]), "head,full"),
            (json!(null), "none"),
            (json!(3), "3"),
            (json!([224, 160]), "224,160"),
        ] {
            assert_eq!(text(&value), said);
        }
    }

    #[test]
    fn pixels_and_sizes_are_told_as_flags_are_given() {
        let preset = value(&Preprocess::SIGNED);
        assert_eq!(given("preprocess", &preset), json!("signed"));
        assert_eq!(given("image_size", &json!([224, 160])), json!("224x160"));
    }

    #[test]
    fn of_an_optimizer_the_flag_that_differs_is_named() {
        let optimizer = |lr: f64| json!({"kind": "adam", "learning_rate": lr});
        let field = differing_field("optimizer", &optimizer(0.1), &optimizer(0.2));
        assert_eq!(flag("optimizer", &field.unwrap()), "--lr");
        assert_eq!(flag("optimizer", "weight_decay"), "--weight-decay");
        assert_eq!(flag("search_epochs", ""), "--search-epochs");
    }
}
