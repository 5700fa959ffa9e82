//! A list of samples: a CSV file with a header, a text file of such lines, or a file with a JSON object per line.

mod columns;
mod fields;
mod several;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::Value;

use super::DataError;
use super::error::regular;
use super::parts::Part;
use super::text::unmarked;
use crate::task::Task;
pub use columns::Columns;
use columns::Places;
use fields::{Lines, delimiter, separator, single_spaces};
use several::{Cells, Flag};

/// Files with these extensions are lists.
const EXTENSIONS: [&str; 5] = ["csv", "tsv", "txt", "jsonl", "ndjson"];
/// What a line of a plain text begins with that is none of the list.
const COMMENT: u8 = b'#';
/// Columns that a JSON object or a header may have.
const MOST_COLUMNS: usize = 10_000;

/// Whether a file is a list, by its name.
pub(super) fn is_list(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The folder that a list's paths begin in.
pub(super) fn root(list: &Path, images: Option<&Path>) -> PathBuf {
    match (images, list.parent()) {
        (Some(images), _) => images.to_owned(),
        (None, Some(folder)) if !folder.as_os_str().is_empty() => folder.to_owned(),
        (None, _) => PathBuf::from("."),
    }
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it stands, counted from 1.
    pub line: u64,
    /// The file, as the list names it.
    pub path: String,
    /// The class as it is written; empty where none is asked for, and of a sample without a label.
    pub label: String,
    /// Where samples may have several labels, those of this one.
    pub set: Option<Vec<String>>,
    /// What the columns say that may be a class each, where no column has the labels.
    flags: Vec<Flag>,
    pub part: Option<Part>,
    pub group: Option<String>,
}

/// A list that was read.
pub(super) struct List {
    /// In the order of the file, each path once.
    pub rows: Vec<Row>,
    /// Which columns were taken, for people.
    pub told: String,
    /// What was left out, a sentence each.
    pub notes: Vec<String>,
    /// Whether samples may have several labels.
    pub several: bool,
}

/// What a list must say of its samples besides their paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One or several, as is said, or else as the list looks.
    Labels(Option<Task>),
    Parts,
}

/// Reads a list.
///
/// # Errors
/// [`DataError::List`], with the line, where the list cannot be read or has no column that is wanted, a row lacks its
/// path, its label or its part or names what is no part, or two rows say different things of one file.
pub(super) fn read(path: &Path, columns: &Columns, wanted: Wanted) -> Result<List, DataError> {
    read_as(path, columns, wanted, |path| path)
}

/// As [`read`]; `found` gives for a path in the list that of the file which it means, by which rows are of one file.
///
/// # Errors
/// As there.
pub(super) fn read_as(
    path: &Path,
    columns: &Columns,
    wanted: Wanted,
    found: impl Fn(String) -> String,
) -> Result<List, DataError> {
    regular(path, |reason| DataError::list(path, None, reason))?;
    let bytes = std::fs::read(path).map_err(|e| DataError::read(path, e))?;
    let text = unmarked(bytes).map_err(|reason| DataError::list(path, None, reason))?;
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let reading = Reading {
        path,
        columns,
        wanted,
    };
    let (places, rows) = match extension == "jsonl" || extension == "ndjson" {
        true => reading.json(text.as_slice())?,
        false => reading.csv(&text, &extension)?,
    };
    if rows.is_empty() {
        return Err(DataError::list(path, None, "it has no rows"));
    }
    let Cells {
        mut rows,
        several,
        described,
    } = match wanted {
        Wanted::Labels(task) => several::told(rows, &places, task)
            .map_err(|(line, reason)| DataError::list(path, line, reason))?,
        Wanted::Parts => Cells {
            rows,
            several: false,
            described: None,
        },
    };
    for row in &mut rows {
        row.path = found(std::mem::take(&mut row.path));
    }
    reading.once(rows, several).map(|(rows, repeated)| {
        let columns = [Some(places.described()), described];
        let columns: Vec<String> = columns.into_iter().flatten().collect();
        let told = format!("{}: {}", path.display(), columns.join(", "));
        let mut notes = Vec::new();
        if repeated > 0 {
            let text = format!(
                "{repeated} rows of {} say again what others say",
                path.display()
            );
            notes.push(text);
        }
        List {
            rows,
            told,
            notes,
            several,
        }
    })
}

struct Reading<'a> {
    path: &'a Path,
    columns: &'a Columns,
    wanted: Wanted,
}

impl Reading<'_> {
    fn error(&self, line: u64, reason: impl ToString) -> DataError {
        DataError::list(self.path, Some(line), reason)
    }

    fn csv(&self, text: &[u8], extension: &OsStr) -> Result<(Places, Vec<Row>), DataError> {
        let is_plain = extension == "txt";
        let (delimiter, text) = match separator(text) {
            Some(named) => named,
            None if extension == "tsv" => (b'\t', text),
            None => (delimiter(text, is_plain), text),
        };
        let single;
        let text = match delimiter {
            b' ' => {
                single = single_spaces(text);
                &single
            }
            _ => text,
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .comment(is_plain.then_some(COMMENT))
            .has_headers(false)
            .trim(Trim::All)
            .from_reader(text);
        let mut lines = Lines::of(text);
        let mut places = None;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| {
                let line = e.position().map(|p| lines.at(p.byte()));
                DataError::list(self.path, line, unfit(&e))
            })?;
            let line = record.position().map_or(0, |p| lines.at(p.byte()));
            let Some(places) = &places else {
                let found = self.places(line, &record)?;
                let has_header = found.has_header;
                let known = places.insert(found);
                if !has_header {
                    rows.push(self.row(line, known, |column| record.get(column))?);
                }
                continue;
            };
            rows.push(self.row(line, places, |column| record.get(column))?);
        }
        let places = places.ok_or_else(|| DataError::list(self.path, None, "it is empty"))?;
        Ok((places, rows))
    }

    fn places(&self, line: u64, header: &StringRecord) -> Result<Places, DataError> {
        if header.len() > MOST_COLUMNS {
            return Err(self.error(line, format!("it has {} columns", header.len())));
        }
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        let found = Places::find(self.columns, &names, self.wanted);
        found.map_err(|reason| self.error(line, reason))
    }

    fn json(&self, source: impl BufRead) -> Result<(Places, Vec<Row>), DataError> {
        let mut places: Option<Places> = None;
        let mut rows = Vec::new();
        for (line, text) in (1..).zip(source.lines()) {
            let text = text.map_err(|e| match e.kind() {
                std::io::ErrorKind::InvalidData => self.error(line, "it is not UTF-8"),
                _ => DataError::read(self.path, e),
            })?;
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(text)
                .map_err(|e| self.error(line, format!("it is not JSON: {e}")))?;
            let Value::Object(object) = value else {
                return Err(self.error(line, "it is no JSON object"));
            };
            let places = match &mut places {
                Some(places) => places,
                none => {
                    let header: StringRecord = object.keys().collect();
                    none.insert(self.places(line, &header)?)
                }
            };
            if let Some(key) = object.keys().find(|key| places.lacks(key)) {
                let reason = format!("it has {key:?}, which the first line lacks");
                return Err(self.error(line, reason));
            }
            let mut fields = Vec::with_capacity(places.names.len());
            for name in &places.names {
                fields.push(match object.get(name) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.trim().to_owned(),
                    Some(list @ Value::Array(_)) if places.has_labels(name) => list.to_string(),
                    Some(Value::Array(_) | Value::Object(_)) if places.reads(name) => {
                        let reason = format!("{name:?} is no text and no number");
                        return Err(self.error(line, reason));
                    }
                    Some(other) => other.to_string(),
                });
            }
            rows.push(self.row(line, places, |column| {
                fields.get(column).map(String::as_str)
            })?);
        }
        let places = places.ok_or_else(|| DataError::list(self.path, None, "it is empty"))?;
        Ok((places, rows))
    }

    fn row<'r>(
        &self,
        line: u64,
        places: &Places,
        field: impl Fn(usize) -> Option<&'r str>,
    ) -> Result<Row, DataError> {
        let text = |column: Option<usize>| column.and_then(&field).unwrap_or_default();
        let filled = |column: Option<usize>, what: &str| match text(column) {
            "" => Err(self.error(line, format!("the {what} is empty"))),
            text => Ok(text.to_owned()),
        };
        let part = match (places.split, text(places.split)) {
            (None, _) => None,
            (Some(column), text) => Some(Part::named(text).ok_or_else(|| {
                let name = &places.names[column];
                let reason = format!(
                    "{text:?} in column {name:?} is no part of a split (train, validation, test)"
                );
                self.error(line, reason)
            })?),
        };
        Ok(Row {
            line,
            path: filled(Some(places.path), "path")?,
            label: text(places.label).to_owned(),
            set: None,
            flags: several::flags(places, |column| field(column).unwrap_or_default()),
            part,
            group: Some(text(places.group).to_owned()).filter(|group| !group.is_empty()),
        })
    }

    /// The rows without those that say the same of a file again, and how many these are.
    fn once(&self, rows: Vec<Row>, several: bool) -> Result<(Vec<Row>, usize), DataError> {
        let count = rows.len();
        let mut first: HashMap<String, usize> = HashMap::new();
        let mut once: Vec<Row> = Vec::with_capacity(count);
        for row in rows {
            let Some(&place) = first.get(&row.path) else {
                first.insert(row.path.clone(), once.len());
                once.push(row);
                continue;
            };
            let before = &mut once[place];
            if let (Some(set), Some(more)) = (&mut before.set, &row.set) {
                set.extend(more.clone());
            }
            let before = &once[place];
            let differs = [
                ("label", !several && before.label != row.label),
                ("part", before.part != row.part),
                ("group", before.group != row.group),
            ];
            if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
                let way_out = match what {
                    "label" => "; with --task multi-label it has both",
                    _ => "",
                };
                let reason = format!(
                    "{:?} has another {what} than in line {}{way_out}",
                    row.path, before.line
                );
                return Err(self.error(row.line, reason));
            }
        }
        let repeated = count - once.len();
        Ok((once, repeated))
    }
}

/// What is wrong with a line of a CSV file.
fn unfit(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} fields, the first line {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
