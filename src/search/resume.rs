//! Whether a run that is to be resumed is still the run that began.

use serde::Serialize;
use serde_json::Value;

use super::SearchError;
use super::record::RunRecord;

/// Compares what is about to run with what began.
///
/// # Errors
/// [`SearchError::Changed`], with the name of the first thing that differs.
pub(super) fn unchanged(began: &RunRecord, now: &RunRecord) -> Result<(), SearchError> {
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
    let (was, is) = (value(&began.configuration), value(&now.configuration));
    if let (Value::Object(was), Value::Object(is)) = (&was, &is) {
        for (name, was) in was {
            let is = is.get(name).unwrap_or(&Value::Null);
            if was != is {
                return Err(changed(&flag(name, was, is), was, is));
            }
        }
    }
    // What follows from all of these.
    differing("the list of candidates", &began.strategies, &now.strategies)
}

fn differing<T: PartialEq + Serialize>(what: &str, was: &T, is: &T) -> Result<(), SearchError> {
    match was == is {
        true => Ok(()),
        false => Err(changed(what, &value(was), &value(is))),
    }
}

fn changed(what: &str, was: &Value, is: &Value) -> SearchError {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    SearchError::Changed {
        what: what.to_owned(),
        was: text(was),
        is: text(is),
    }
}

fn value<T: Serialize>(of: &T) -> Value {
    // Whatever cannot be written as JSON could not be read from the run's file either.
    serde_json::to_value(of).unwrap_or_default()
}

/// The flag behind a setting.
fn flag(setting: &str, was: &Value, is: &Value) -> String {
    let differs = |field: &str| was.get(field) != is.get(field);
    match setting {
        "optimizer" if differs("kind") => "--optimizer".to_owned(),
        "optimizer" if differs("learning_rate") => "--lr".to_owned(),
        "optimizer" if differs("weight_decay") => "--weight-decay".to_owned(),
        "optimizer" => "--momentum".to_owned(),
        "plateau" => "the plateau schedule (--plateau-patience, --plateau-factor)".to_owned(),
        "shuffle" => "--no-shuffle".to_owned(),
        "layout" => "the axis order of the model's input".to_owned(),
        name => format!("--{}", name.replace('_', "-")),
    }
}
