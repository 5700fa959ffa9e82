//! Whether the samples of a list have one label each or several, and which.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Row;
use super::columns::Places;
use crate::task::Task;

/// What may stand between the labels of one cell: of a list that does not say so, the first two.
const SEPARATORS: [char; 3] = ['|', ';', ','];
const TELLING: usize = 2;

/// Rows whose labels are told.
pub(super) struct Cells {
    pub rows: Vec<Row>,
    /// Whether they may have several.
    pub several: bool,
    /// How that is written, for people.
    pub described: Option<String>,
}

/// What is wrong, and in which line.
type Wrong = (Option<u64>, String);

/// What a column says that may be a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    No,
    Yes,
    /// Another number, or nothing.
    Number,
    Text,
}

/// What the columns of a row say that may be a class each.
pub(super) fn flags<'f>(places: &Places, field: impl Fn(usize) -> &'f str) -> Vec<Flag> {
    let of = |&place: &usize| match field(place).to_ascii_lowercase().as_str() {
        "0" | "0.0" | "false" => Flag::No,
        "1" | "1.0" | "true" => Flag::Yes,
        text if text.is_empty() || text.parse::<f64>().is_ok() => Flag::Number,
        _ => Flag::Text,
    };
    places.flags.iter().map(of).collect()
}

/// Tells the labels of rows. Where nothing says whether they may have several, they do if a cell is a JSON list, if
/// there is a column of 0 and 1 for each class in place of one of labels, and none of texts, or if cells hold `|` or `;` and what
/// stands between them is in other cells, too.
pub(super) fn told(
    mut rows: Vec<Row>,
    places: &Places,
    task: Option<Task>,
) -> Result<Cells, Wrong> {
    if !places.flags.is_empty() {
        return of_columns(rows, places, task);
    }
    let may = task.is_none_or(Task::is_multi_label);
    let lists: Vec<Option<Vec<String>>> = rows.iter().map(|row| list(&row.label)).collect();
    let any = lists.iter().any(Option::is_some);
    let separator = match (task, any) {
        (None, false) => separator(&rows, &SEPARATORS[..TELLING], true),
        (Some(Task::MultiLabel), false) => separator(&rows, &SEPARATORS, false),
        _ => None,
    };
    let several = may && (task.is_some() || any || separator.is_some());
    for (row, list) in rows.iter_mut().zip(lists) {
        let line = Some(row.line);
        match list {
            _ if several && row.label.is_empty() => row.set = Some(Vec::new()),
            Some(list) if several => row.set = Some(list),
            Some(list) => match list.as_slice() {
                [one] => row.label.clone_from(one),
                _ => {
                    let reason = format!("it has {} labels, and each sample has one", list.len());
                    return Err((line, reason));
                }
            },
            None if several => row.set = Some(parted(&row.label, separator)),
            None if row.label.is_empty() => {
                let way_out = match task {
                    None => "; with --task multi-label it has none",
                    _ => "",
                };
                return Err((line, format!("the label is empty{way_out}")));
            }
            None => {}
        }
    }
    if task.is_none() && !several && are_measures(&rows) {
        let reason = "its labels are numbers with decimals, of which most are there once: labels are classes, and \
                      regression of a number is left out (with --task single-label they are names)";
        return Err((None, reason.to_owned()));
    }
    let between = |separator| format!("several to a cell with `{separator}` between them");
    let written = match (any, separator) {
        _ if !several => None,
        (true, _) => Some("several to a cell as a JSON list".to_owned()),
        (false, Some(separator)) => Some(between(separator)),
        (false, None) => None,
    };
    let way_out = match task {
        None => " (--task single-label takes each cell for one class)",
        Some(_) => "",
    };
    Ok(Cells {
        rows,
        several,
        described: written.map(|written| format!("{written}{way_out}")),
    })
}

/// Whether labels are numbers that something was measured as, rather than names of classes.
fn are_measures(rows: &[Row]) -> bool {
    let is_decimal = |label: &str| label.contains('.') && label.parse::<f64>().is_ok();
    let different: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    rows.iter().all(|row| is_decimal(&row.label)) && different.len() > 2.max(rows.len() / 2)
}

/// The labels of a cell that is a JSON list of texts or numbers.
fn list(cell: &str) -> Option<Vec<String>> {
    if !cell.starts_with('[') {
        return None;
    }
    let values: Vec<Value> = serde_json::from_str(cell).ok()?;
    let label = |value: Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let labels: Option<Vec<String>> = values.into_iter().map(label).collect();
    Some(labels?.into_iter().filter(|l| !l.is_empty()).collect())
}

/// What stands between the labels of cells; where it is not said that something does, only if a label is in two
/// different cells.
fn separator(rows: &[Row], of: &[char], doubtful: bool) -> Option<char> {
    of.iter().copied().find(|&separator| {
        let cells: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
        let mut parts = cells
            .iter()
            .filter(|cell| cell.contains(separator))
            .peekable();
        if parts.peek().is_none() {
            return false;
        }
        let mut seen = BTreeSet::new();
        let mut all = cells.iter().flat_map(|cell| parted(cell, Some(separator)));
        !doubtful || all.any(|label| !seen.insert(label))
    })
}

/// The labels of a cell, each once.
fn parted(cell: &str, separator: Option<char>) -> Vec<String> {
    let parts: Vec<&str> = match separator {
        Some(separator) => cell.split(separator).map(str::trim).collect(),
        None => vec![cell],
    };
    let labels: BTreeSet<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    labels.into_iter().map(str::to_owned).collect()
}

/// Labels of which each has a column of 0 and 1: several, unless samples are said to have one. Where several are said,
/// there may be columns of texts besides, which else may be what the labels are.
fn of_columns(mut rows: Vec<Row>, places: &Places, task: Option<Task>) -> Result<Cells, Wrong> {
    let is_class = |at: usize| {
        rows.iter()
            .all(|row| matches!(row.flags.get(at), Some(Flag::No | Flag::Yes)))
    };
    let classes: Vec<usize> = (0..places.flags.len()).filter(|&at| is_class(at)).collect();
    if classes.len() < 2 {
        return Err((Some(1), places.no_labels()));
    }
    let name = |at: usize| places.names[places.flags[at]].clone();
    let is_text = |at: &usize| {
        rows.iter()
            .any(|row| row.flags.get(*at) == Some(&Flag::Text))
    };
    let text = (0..places.flags.len()).find(is_text);
    if let Some(text) = text.filter(|_| task != Some(Task::MultiLabel)) {
        let reason = format!(
            "{}; with --task multi-label the columns of 0 and 1 are the classes, and {:?} is not read",
            places.no_labels(),
            name(text)
        );
        return Err((Some(1), reason));
    }
    let several = task.is_none_or(Task::is_multi_label);
    let mut each_has_one = true;
    for row in &mut rows {
        let own = classes.iter().filter(|&&at| row.flags[at] == Flag::Yes);
        let mut own: Vec<String> = own.map(|&at| name(at)).collect();
        each_has_one &= own.len() == 1;
        match (several, own.as_mut_slice()) {
            (true, _) => row.set = Some(own),
            (false, [one]) => row.label = std::mem::take(one),
            (false, _) => {
                let reason = format!(
                    "{} of its columns of classes are 1, and each sample has one label",
                    own.len()
                );
                return Err((Some(row.line), reason));
            }
        }
    }
    let (first, last) = (classes[0], classes[classes.len() - 1]);
    let labels = if several {
        "several labels"
    } else {
        "one label"
    };
    let mut described = format!(
        "{labels} each, of the {} columns of 0 and 1 from {:?} to {:?}",
        classes.len(),
        name(first),
        name(last)
    );
    if each_has_one && task.is_none() {
        described.push_str(
            " (each has just one: --task single-label makes them classes that exclude each other)",
        );
    }
    Ok(Cells {
        described: Some(described),
        rows,
        several,
    })
}
