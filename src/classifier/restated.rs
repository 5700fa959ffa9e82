//! Metadata in which other tools keep class names and the image size, told anew for a model of others.

use serde_json::{Map, Value};

use crate::data::ClassNames;
use crate::onnx::Model;

use super::names::{IMGSZ, size_elsewhere};

/// Keys that hold class names.
const NAMES: [&str; 6] = [
    "names",
    "classes",
    "labels",
    "id2label",
    "class_names",
    "label_names",
];
/// Keys that hold how many there are.
const COUNTS: [&str; 3] = ["nc", "num_classes", "num_labels"];

/// The metadata entries of other tools that name the classes of `model`, with `classes` in the form that each
/// has; those of which nothing changes are left out.
pub(crate) fn restated(model: &Model, classes: &[String]) -> Vec<(String, String)> {
    // Those that name these classes stay as they are written.
    let read = |text: &str| match ClassNames::read(text) {
        Some(read) => Some(read.names),
        None => ClassNames::plain(text),
    };
    let is_true = |text: &str| read(text).is_some_and(|names| names == classes);
    let entry = |key: &'static str| Some((key, model.metadata(key).filter(|text| !is_true(text))?));
    let names = NAMES.into_iter().filter_map(entry);
    let names = names.filter_map(|(key, text)| Some((key, text, in_form(text, classes)?)));
    let numbers = COUNTS.into_iter().filter_map(entry);
    let numbers = numbers
        .filter(|(_, text)| text.trim().parse::<usize>().is_ok())
        .map(|(key, text)| (key, text, classes.len().to_string()));
    let of_labels = entry("label2id").and_then(|(key, text)| {
        let map: Map<String, Value> = serde_json::from_str(text).ok()?;
        let numbers = map.values().all(Value::is_number);
        let pairs = classes
            .iter()
            .zip(0..)
            .map(|(name, i)| (name.clone(), Value::from(i)));
        let new = Value::Object(pairs.collect()).to_string();
        numbers.then_some((key, text, new))
    });
    names
        .chain(numbers)
        .chain(of_labels)
        .filter(|(_, before, after)| before != after)
        .map(|(key, _, after)| (key.to_owned(), after))
        .collect()
}

/// The classes as `text` has some: a JSON or Python list or dictionary by number, or names between commas or
/// line ends; `None` where it is nothing of these.
fn in_form(text: &str, classes: &[String]) -> Option<String> {
    let plain = || classes.iter().cloned();
    let numbered = || classes.iter().zip(0usize..);
    let text = text.trim();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let is_name = |v: &Value| v.is_string();
        return match value {
            Value::Array(list) if list.iter().all(is_name) => {
                Some(Value::from_iter(plain()).to_string())
            }
            Value::Object(map) if map.values().all(is_name) => {
                let pairs = numbered().map(|(name, i)| (i.to_string(), Value::from(name.as_str())));
                Some(Value::Object(pairs.collect()).to_string())
            }
            _ => None,
        };
    }
    match (text.chars().next(), text.chars().last()) {
        (Some('{'), Some('}')) => Some(names_literal(classes)),
        (Some('['), Some(']')) => {
            let all: Vec<String> = classes.iter().map(|name| quoted(name)).collect();
            Some(format!("[{}]", all.join(", ")))
        }
        _ if text.contains('\n') => Some(Vec::from_iter(plain()).join("\n")),
        _ if text.contains(',') => {
            let free = classes.iter().all(|name| !name.contains(','));
            free.then(|| Vec::from_iter(plain()).join(","))
        }
        _ => None,
    }
}

/// The classes by number as Python writes a dictionary, which is how Ultralytics keeps `names`.
pub(crate) fn names_literal(classes: &[String]) -> String {
    let pairs = classes.iter().enumerate();
    let pairs: Vec<String> = pairs
        .map(|(i, name)| format!("{i}: {}", quoted(name)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A string as Python writes it.
fn quoted(name: &str) -> String {
    let mut escaped = String::new();
    for c in name.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\0' => escaped.push_str("\\x00"),
            c => escaped.push(c),
        }
    }
    match (name.contains('\''), name.contains('"')) {
        (false, _) => format!("'{escaped}'"),
        (true, false) => format!("\"{escaped}\""),
        (true, true) => format!("'{}'", escaped.replace('\'', "\\'")),
    }
}

/// The entry of Ultralytics that has the image size of `model`, with `size` (height and width) in the form that it has; `None`
/// where nothing changes.
pub(crate) fn resized(model: &Model, size: (usize, usize)) -> Option<(String, String)> {
    size_elsewhere(model).filter(|before| *before != size)?;
    let is_list = model.metadata(IMGSZ)?.contains('[') || size.0 != size.1;
    let text = match is_list {
        true => format!("[{}, {}]", size.0, size.1),
        false => size.0.to_string(),
    };
    Some((IMGSZ.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_in_the_form_that_they_had() {
        let classes = ["rose", "it's", "é"].map(str::to_owned);
        for (before, after) in [
            (
                "{0: 'cat', 1: 'dog'}",
                Some("{0: 'rose', 1: \"it's\", 2: 'é'}"),
            ),
            ("['cat']", Some("['rose', \"it's\", 'é']")),
            (r#"["cat","dog"]"#, Some(r#"["rose","it's","é"]"#)),
            (
                r#"{"0": "cat"}"#,
                Some(r#"{"0":"rose","1":"it's","2":"é"}"#),
            ),
            ("cat\ndog", Some("rose\nit's\né")),
            ("cat, dog", Some("rose,it's,é")),
            ("cat", None),
            (r#"{"cat": 0}"#, None),
            ("", None),
        ] {
            assert_eq!(in_form(before, &classes).as_deref(), after, "{before}");
        }
    }
}
