//! The labels of an `.npz` file.

use std::path::Path;

use crate::data::{DataError, LabelSets};
use crate::task::Task;

use super::archive::Archive;
use super::{Array, Limits};

/// ImageNet-21k, the largest set of classes in common use, has 21,841.
const MAX_CLASSES: usize = 1 << 16;

/// The labels of the rows of a file.
pub(super) struct Labels {
    pub rows: usize,
    /// Of rows that may have several labels the [rarest](LabelSets::rarest).
    pub labels: Vec<i64>,
    pub sets: Option<LabelSets>,
    pub classes: usize,
}

/// Reads `y`: `[N]`, the class of each row, or `[N, classes]`, 1 for each class that a row is of and 0 for the others;
/// of two classes that one number tells apart also `[N, 1]`.
pub(super) fn read(
    archive: &mut Archive,
    path: &Path,
    limits: &Limits,
    task: Option<Task>,
) -> Result<Labels, DataError> {
    let array = Array::open(archive, path, "y")?;
    let (rows, columns) = match *array.shape.as_slice() {
        [rows] => (rows, None),
        [rows, 1] if task == Some(Task::Binary) => (rows, None),
        [rows, columns] if task.is_none_or(Task::is_multi_label) && columns > 1 => {
            (rows, Some(columns))
        }
        _ => {
            let wanted = match task {
                None | Some(Task::MultiLabel) => {
                    "[N], or [N, classes] of 0 and 1 for several labels"
                }
                Some(Task::SingleLabel) => "[N]",
                Some(Task::Binary) => "[N], or [N, 1]",
            };
            let shape = &array.shape;
            return Err(array.error(format!("its shape is {shape:?}, expected {wanted}")));
        }
    };
    // Not more than are there: what is claimed beyond is found when they are read.
    let each = if array.kind == "|u1" { 1 } else { 4 };
    let count = rows.saturating_mul(columns.unwrap_or(1));
    let held = usize::try_from(array.payload_bytes / each).map_or(count, |held| held.min(count));
    limits.check(path, held, size_of::<i64>())?;
    let fortran = array.fortran;
    let values: Vec<i64> = match array.kind.as_str() {
        "<i8" => array.read(i64::from_le_bytes)?,
        "<i4" => array.read(|bytes| i64::from(i32::from_le_bytes(bytes)))?,
        "|u1" => array.read(|[byte]: [u8; 1]| i64::from(byte))?,
        _ => return Err(array.wrong_type("int64, int32 or uint8")),
    };
    let wrong = |row: usize, reason: String| DataError::Row {
        path: path.to_owned(),
        array: "y",
        row,
        reason,
    };
    let Some(columns) = columns else {
        if let Some(row) = values.iter().position(|label| *label < 0) {
            return Err(wrong(row, format!("label {} is negative", values[row])));
        }
        let classes = count_classes(path, &values)?;
        let of_one = values.iter().map(|&l| usize::try_from(l).ok());
        let several = task == Some(Task::MultiLabel);
        let sets = several.then(|| LabelSets::of(of_one.map(Vec::from_iter)));
        return Ok(Labels {
            rows,
            labels: values,
            sets,
            classes,
        });
    };
    if columns > MAX_CLASSES {
        let reason = format!("{columns} classes are more than {MAX_CLASSES}");
        return Err(wrong(0, reason));
    }
    let at = |row: usize, class: usize| match fortran {
        true => values[row + class * rows],
        false => values[row * columns + class],
    };
    let mut own = Vec::with_capacity(rows);
    for row in 0..rows {
        if let Some(class) = (0..columns).find(|&class| !(0..=1).contains(&at(row, class))) {
            let reason = format!("it has {} at class {class}, not 0 or 1", at(row, class));
            return Err(wrong(row, reason));
        }
        own.push(Vec::from_iter(
            (0..columns).filter(|&class| at(row, class) == 1),
        ));
    }
    if own.is_empty() {
        return Err(DataError::not_a_dataset(path, "it has no rows"));
    }
    let sets = LabelSets::of(&own);
    Ok(Labels {
        rows,
        labels: sets.rarest(columns),
        sets: Some(sets),
        classes: columns,
    })
}

/// A sentence for people on the labels below the largest that no row has.
pub(super) fn absent(labels: &[i64], classes: usize) -> Option<String> {
    const NAMED: usize = 5;
    let mut present = vec![false; classes];
    for &label in labels {
        if let Some(present) = usize::try_from(label).ok().and_then(|l| present.get_mut(l)) {
            *present = true;
        }
    }
    let absent: Vec<String> = (0..classes)
        .filter(|&class| !present[class])
        .map(|class| class.to_string())
        .collect();
    let first = absent.first()?;
    let mut text = match absent.len() {
        1 => format!("no row of \"y\" has the label {first}"),
        count => {
            let named = absent.iter().take(NAMED).cloned().collect::<Vec<_>>();
            let more = if count > NAMED { ", …" } else { "" };
            format!(
                "{count} labels have no row in \"y\": {}{more}",
                named.join(", ")
            )
        }
    };
    text.push_str(match first.as_str() {
        "0" => {
            "; labels are counted from 0. If these are counted from 1, subtract 1: as they are, a class \
             0 is made that nothing is known of"
        }
        _ => "; a new head has a class for each, which nothing is known of",
    });
    Some(text)
}

/// One more than the largest label. Which labels fit is for the model to say; the bound here only
/// keeps a broken file from asking for a head of a billion classes.
fn count_classes(path: &Path, labels: &[i64]) -> Result<usize, DataError> {
    let Some((row, &largest)) = labels.iter().enumerate().max_by_key(|(_, label)| **label) else {
        return Err(DataError::not_a_dataset(path, "it has no rows"));
    };
    match usize::try_from(largest) {
        Ok(largest) if largest < MAX_CLASSES => Ok(largest + 1),
        _ => Err(DataError::Row {
            path: path.to_owned(),
            array: "y",
            row,
            reason: format!("label {largest}; labels are counted from 0 and below {MAX_CLASSES}"),
        }),
    }
}
