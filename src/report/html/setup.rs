//! How the run was made.

use maud::html;
use serde_json::Value;

use crate::run::Configuration;

use super::facts::Facts;
use super::page::{Section, Table};

pub fn section(facts: &Facts) -> Section {
    let run = &facts.files.run;
    let mut origin = Table::new("", &["What", "Which"]);
    for (what, which) in [
        ("Model", run.model.path.display().to_string()),
        ("SHA-256 of the model", run.model.sha256.clone()),
        ("Data", run.data.path.display().to_string()),
        ("SHA-256 of the data", run.data.fingerprint.clone()),
        ("ftsurgery", run.versions.ftsurgery.clone()),
        ("onnxruntime", run.versions.onnxruntime.clone()),
        ("Processor", run.versions.instructions.clone()),
    ] {
        origin.row([what.to_owned(), which]);
    }
    let mut settings = Table::new("Settings in force", &["Setting", "Value"]);
    for (name, value) in configuration(&run.configuration) {
        settings.row([name, value]);
    }
    Section {
        id: "setup",
        title: "How this was made".to_owned(),
        body: html! {
            pre { (command(&run.command)) }
            (origin.draw())
            (settings.draw())
            p class="note" {
                "All trials are in " a href="trials.csv" { "trials.csv" } " and, for TensorBoard, in the \
                 folder " code { "tensorboard" } "."
            }
        },
    }
}

/// The settings by name. Whatever the run recorded is shown, so that none can be forgotten here.
fn configuration(configuration: &Configuration) -> Vec<(String, String)> {
    // By way of text, where a float32 has as few digits as tell it apart.
    let text = serde_json::to_string(configuration).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Value::Object(settings)) => settings
            .iter()
            .map(|(name, value)| (name.replace('_', "-"), plain(value)))
            .collect(),
        _ => Vec::new(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => match values.is_empty() {
            true => "none".to_owned(),
            false => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        },
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// A command line that a POSIX shell reads back as the same words.
pub fn command(words: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_for_the_shell() {
        let words = [
            "ftsurgery",
            "tune",
            "my model.onnx",
            "--lr=1e-4",
            "it's",
            "",
        ];
        let text = command(&words.map(str::to_owned));
        assert_eq!(
            text,
            "ftsurgery tune 'my model.onnx' --lr=1e-4 'it'\\''s' ''"
        );
    }

    #[test]
    fn values_are_told_without_json() {
        let value = serde_json::json!({"kind": "adam", "learning_rate": 0.0001, "list": [1, null]});
        assert_eq!(
            plain(&value),
            "kind adam; learning rate 0.0001; list 1, none"
        );
    }
}
