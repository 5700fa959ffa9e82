//! Names of classes: which are the same, in which order they come, and how files and metadata write them.

mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use super::DataError;
use super::error::regular;
use super::text::unmarked;
pub use written::ClassNames;

/// The most bytes of a file of class names.
const LARGEST_FILE: u64 = 64 << 20;

/// A name in its composed form (NFC), in which names that look the same are the same.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// A name composed and decomposed (NFC and NFD): file systems and archives keep either.
pub(super) fn forms(name: &str) -> [String; 2] {
    [composed(name), name.nfd().collect()]
}

/// The order in which classes come by themselves: numbers by what they count, other names as texts.
pub(super) fn ordered(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    if names.iter().all(is_number) {
        let digits = |name: &str| {
            let digits = name.trim_start_matches('0');
            (digits.len(), digits.to_owned())
        };
        names.sort_by(|a, b| (digits(a), a).cmp(&(digits(b), b)));
    }
    names
}

/// A sentence on names that differ by nothing but the case of their letters; `None` where none do.
pub(super) fn case_note(names: &[String]) -> Option<String> {
    let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for name in names {
        alike.entry(name.to_lowercase()).or_default().push(name);
    }
    let alike: Vec<String> = alike
        .into_values()
        .filter(|names| names.len() > 1)
        .map(|names| {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            names.join(" and ")
        })
        .collect();
    (!alike.is_empty()).then(|| {
        format!(
            "classes whose names differ by the case of letters alone are taken for different ones: {}",
            alike.join(", ")
        )
    })
}

/// Reads a file of class names: one a line, or a JSON list or object of them.
///
/// # Errors
/// When it cannot be read, names fewer than two classes or one of them twice, or a line is empty.
pub fn read_classes(path: &Path) -> Result<Vec<String>, DataError> {
    let unfit = |line: Option<u64>, reason: String| DataError::list(path, line, reason);
    let size = regular(path, |reason| unfit(None, reason.to_owned()))?.len();
    if size > LARGEST_FILE {
        return Err(unfit(
            None,
            format!("it has {size} bytes, too many for names of classes"),
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| DataError::read(path, e))?;
    let bytes = unmarked(bytes).map_err(|reason| unfit(None, reason.to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|_| unfit(None, "it is not UTF-8".to_owned()))?;
    let text = text.trim_end();
    let names: Vec<String> = match text.trim_start().starts_with(['[', '{']) {
        true => match ClassNames::read(text) {
            Some(names) => names.names,
            None => {
                let reason =
                    "it is no list of names, and no object with a name for each number from 0";
                return Err(unfit(None, reason.to_owned()));
            }
        },
        false => text.lines().map(|line| composed(line.trim())).collect(),
    };
    if let Some(place) = names.iter().position(String::is_empty) {
        return Err(unfit(
            Some(place as u64 + 1),
            "the name of a class is empty".to_owned(),
        ));
    }
    if names.len() < 2 {
        return Err(unfit(
            None,
            format!("it names {} classes, expected at least 2", names.len()),
        ));
    }
    let mut first = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        if let Some(before) = first.insert(name, place) {
            let reason = format!(
                "the class {name:?} is also number {} of the file",
                before + 1
            );
            return Err(unfit(Some(place as u64 + 1), reason));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> Vec<String> {
        ordered(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn numbers_come_by_what_they_count_and_other_names_as_texts() {
        assert_eq!(
            order(&["10", "9", "0", "1", "11"]),
            ["0", "1", "9", "10", "11"]
        );
        assert_eq!(order(&["010", "9", "1", "01"]), ["01", "1", "9", "010"]);
        assert_eq!(
            order(&["18446744073709551617", "2"]),
            ["2", "18446744073709551617"]
        );
        assert_eq!(order(&["b", "10", "9"]), ["10", "9", "b"]);
    }

    #[test]
    fn forms_of_a_name_are_one_and_letter_cases_are_told() {
        assert_eq!(composed("cafe\u{301}"), "caf\u{e9}");
        let names = ["Cat", "cat", "dog"].map(str::to_owned);
        assert!(case_note(&names).unwrap().contains("\"Cat\" and \"cat\""));
        assert_eq!(case_note(&names[1..]), None);
    }

    #[test]
    fn files_of_names_are_read_in_each_form_and_refused_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_classes(&path)
        };
        for text in [
            "b\na\n",
            "\u{feff}b\r\na",
            "[\"b\", \"a\"]",
            "{\"0\": \"b\", \"1\": \"a\"}",
            "{\"a\": 1, \"b\": 0}",
        ] {
            assert_eq!(read(text).unwrap(), ["b", "a"], "{text:?}");
        }
        for (text, told) in [
            ("a\n", "1 classes"),
            ("a\n\nb\n", "line 2"),
            ("a\nb\na\n", "line 3: the class \"a\" is also number 1"),
            ("{\"0\": \"a\", \"2\": \"b\"}", "for each number from 0"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.is_bad_input() && error.to_string().contains(told),
                "{error}"
            );
        }
    }
}
