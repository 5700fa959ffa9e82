//! The labels of an `.npz` file.

mod texts;

use std::path::Path;

use crate::data::names::case_note;
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
    pub classes: Vec<String>,
    /// How they were read, for people.
    pub told: Option<String>,
    /// What is remarkable of them, a sentence each.
    pub notes: Vec<String>,
}

/// Reads `y`: `[N]` or `[N, 1]`, the class of each row as its number or its name, or `[N, classes]`, 1 for each class that
/// a row is of and 0 for the others. Of whichever type, numbers are whole. Names come in the order of those of folders, or
/// are the classes `of_model` where all are among these.
pub(super) fn read(
    archive: &mut Archive,
    path: &Path,
    limits: &Limits,
    (task, of_model): (Option<Task>, Option<&[String]>),
) -> Result<Labels, DataError> {
    let array = Array::open(archive, path, "y")?;
    let several = task.is_none_or(Task::is_multi_label);
    let (rows, columns) = match *array.shape.as_slice() {
        [rows] => (rows, None),
        [rows, 1] if task != Some(Task::MultiLabel) => (rows, None),
        [rows, columns] if columns > 1 => (rows, Some(columns)),
        _ => {
            let wanted = match several {
                true => "[N], or [N, classes] of 0 and 1 for several labels",
                false => "[N], or [N, classes] with one 1 in each row",
            };
            let shape = &array.shape;
            return Err(array.error(format!("its shape is {shape:?}, expected {wanted}")));
        }
    };
    // Not more than are there: what is claimed beyond is found when they are read.
    let each = element_size(&array.kind);
    let count = rows.saturating_mul(columns.unwrap_or(1));
    let held = usize::try_from(array.payload_bytes / each).map_or(count, |held| held.min(count));
    limits.check(path, held, size_of::<i64>())?;
    let one_each = |labels: Vec<i64>, classes, notes| {
        let of_one = labels.iter().map(|&l| usize::try_from(l).ok());
        let several = task == Some(Task::MultiLabel);
        let sets = several.then(|| LabelSets::of(of_one.map(Vec::from_iter)));
        Labels {
            rows,
            labels,
            sets,
            classes,
            told: None,
            notes,
        }
    };
    if let (Some(width), None) = (texts::width(&array.kind), columns) {
        let (labels, classes) = texts::read(array, path, width, of_model)?;
        let notes = case_note(&classes).into_iter().collect();
        return Ok(one_each(labels, classes, notes));
    }
    let fortran = array.fortran;
    let values = whole_numbers(array, path, columns.unwrap_or(1))?;
    let Some(columns) = columns else {
        if let Some(row) = values.iter().position(|label| *label < 0) {
            return Err(wrong(
                path,
                row,
                format!("label {} is negative", values[row]),
            ));
        }
        let classes = count_classes(path, &values)?;
        let notes = match task {
            Some(Task::MultiLabel) => None,
            _ => absent(&values, classes),
        };
        let notes = notes.into_iter().collect();
        return Ok(one_each(values, numbered(classes), notes));
    };
    if columns > MAX_CLASSES {
        let reason = format!("{columns} classes are more than {MAX_CLASSES}");
        return Err(wrong(path, 0, reason));
    }
    let at = |row: usize, class: usize| match fortran {
        true => values[row + class * rows],
        false => values[row * columns + class],
    };
    let mut own = Vec::with_capacity(rows);
    for row in 0..rows {
        if let Some(class) = (0..columns).find(|&class| !(0..=1).contains(&at(row, class))) {
            let reason = format!("it has {} at class {class}, not 0 or 1", at(row, class));
            return Err(wrong(path, row, reason));
        }
        own.push(Vec::from_iter(
            (0..columns).filter(|&class| at(row, class) == 1),
        ));
    }
    if own.is_empty() {
        return Err(DataError::not_a_dataset(path, "it has no rows"));
    }
    let other = own.iter().position(|classes| classes.len() != 1);
    if !several {
        if let Some(row) = other {
            let count = own[row].len();
            let reason = format!("it is of {count} classes, and each sample has one label");
            return Err(wrong(path, row, reason));
        }
        return Ok(Labels {
            rows,
            labels: own.iter().map(|classes| classes[0] as i64).collect(),
            sets: None,
            classes: numbered(columns),
            told: None,
            notes: Vec::new(),
        });
    }
    let told = "each row of \"y\" has just one label: --task single-label makes them classes that exclude each other";
    let sets = LabelSets::of(&own);
    Ok(Labels {
        rows,
        labels: sets.rarest(columns),
        sets: Some(sets),
        classes: numbered(columns),
        told: (task.is_none() && other.is_none()).then(|| told.to_owned()),
        notes: Vec::new(),
    })
}

/// The names of classes that have none.
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

fn wrong(path: &Path, row: usize, reason: String) -> DataError {
    DataError::Row {
        path: path.to_owned(),
        array: "y",
        row,
        reason,
    }
}

/// Bytes of an element of a NumPy type such as `<i4`; 1 where it does not say.
fn element_size(kind: &str) -> u64 {
    let digits = kind.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(1).max(1)
}

/// The elements of an array whose rows have so many, in the order of the file.
fn whole_numbers(array: Array<'_>, path: &Path, columns: usize) -> Result<Vec<i64>, DataError> {
    let floats: Vec<f64> = match array.kind.as_str() {
        "<i8" => return array.read(i64::from_le_bytes),
        "<i4" => return array.read(|bytes| i64::from(i32::from_le_bytes(bytes))),
        "<i2" => return array.read(|bytes| i64::from(i16::from_le_bytes(bytes))),
        "|i1" => return array.read(|bytes| i64::from(i8::from_le_bytes(bytes))),
        // Those beyond are too large for a class in any case.
        "<u8" => {
            return array
                .read(|bytes| i64::try_from(u64::from_le_bytes(bytes)).unwrap_or(i64::MAX));
        }
        "<u4" => return array.read(|bytes| i64::from(u32::from_le_bytes(bytes))),
        "<u2" => return array.read(|bytes| i64::from(u16::from_le_bytes(bytes))),
        "|u1" | "|b1" => return array.read(|[byte]: [u8; 1]| i64::from(byte)),
        "<f4" => array.read(|bytes| f64::from(f32::from_le_bytes(bytes)))?,
        "<f8" => array.read(f64::from_le_bytes)?,
        "|O" => {
            let reason = "it holds Python objects, which are not read; y.astype(str) makes names of classes of them";
            return Err(array.error(reason));
        }
        _ => return Err(array.wrong_type("whole numbers")),
    };
    if let Some(place) = floats.iter().position(|v| v.fract() != 0.0) {
        let reason = format!(
            "label {} is no whole number; labels are classes",
            floats[place]
        );
        return Err(wrong(path, place / columns, reason));
    }
    Ok(floats.into_iter().map(|value| value as i64).collect())
}

/// A sentence for people on the labels below the largest that no row has.
fn absent(labels: &[i64], classes: usize) -> Option<String> {
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
