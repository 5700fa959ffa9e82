//! Labels that are names of classes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::DataError;
use crate::data::names::{composed, ordered};

use super::super::Array;
use super::{MAX_CLASSES, wrong};

/// The longest names, in characters as NumPy fills them up.
const MAX_CHARACTERS: usize = 1024;

/// Characters of NumPy's texts, `<U5` of 32-bit characters or `|S5` of bytes.
#[derive(Clone, Copy)]
pub(super) enum Width {
    Characters(usize),
    Bytes(usize),
}

/// How wide an element of a NumPy type is; `None` where it is no text that is read here.
pub(super) fn width(kind: &str) -> Option<Width> {
    let (of, digits) = kind.split_at_checked(2)?;
    let count = digits.parse().ok()?;
    match of {
        "<U" => Some(Width::Characters(count)),
        "|S" | "<S" => Some(Width::Bytes(count)),
        _ => None,
    }
}

/// The number of each row's class, and the names of the classes: those `of_model` where all that are found are among
/// them.
pub(super) fn read(
    mut array: Array<'_>,
    path: &Path,
    width: Width,
    of_model: Option<&[String]>,
) -> Result<(Vec<i64>, Vec<String>), DataError> {
    let (Width::Characters(characters) | Width::Bytes(characters)) = width;
    if !(1..=MAX_CHARACTERS).contains(&characters) {
        let reason = format!("its texts of {characters} characters are no names of classes");
        return Err(array.error(reason));
    }
    let size = match width {
        Width::Characters(count) => 4 * count,
        Width::Bytes(count) => count,
    };
    let mut found = BTreeMap::<String, i64>::new();
    let mut labels = Vec::new();
    array.each(size, |_, chunk| {
        for element in chunk.chunks_exact(size) {
            let row = labels.len();
            let unfit = |reason: &str| wrong(path, row, reason.to_owned());
            let text = text(element, width).ok_or_else(|| unfit("its label is no text"))?;
            let name = match text.trim() {
                "" => return Err(unfit("its label is empty")),
                name => composed(name),
            };
            let next = found.len();
            if next == MAX_CLASSES && !found.contains_key(&name) {
                return Err(unfit(&format!(
                    "the labels before it are {MAX_CLASSES} different ones already"
                )));
            }
            labels.push(*found.entry(name).or_insert(next as i64));
        }
        Ok(())
    })?;
    if labels.is_empty() {
        return Err(DataError::not_a_dataset(path, "it has no rows"));
    }
    let of_model = of_model.unwrap_or_default();
    let known: BTreeSet<String> = of_model.iter().map(|name| composed(name)).collect();
    let classes = match found.keys().all(|name| known.contains(name)) {
        true => of_model.to_vec(),
        false => ordered(found.keys().cloned().collect()),
    };
    let mut places = vec![0; found.len()];
    // A model may have several outputs of one name: the first is meant.
    for (place, name) in classes.iter().enumerate().rev() {
        if let Some(&number) = found.get(&composed(name)) {
            places[number as usize] = place as i64;
        }
    }
    for label in &mut labels {
        *label = places[*label as usize];
    }
    Ok((labels, classes))
}

/// The text of an element, without the zeros that fill it up.
fn text(element: &[u8], width: Width) -> Option<String> {
    let text = match width {
        Width::Bytes(_) => String::from_utf8(element.to_vec()).ok()?,
        Width::Characters(_) => {
            let (units, _) = element.as_chunks::<4>();
            let characters = units
                .iter()
                .map(|unit| char::from_u32(u32::from_le_bytes(*unit)));
            characters.collect::<Option<String>>()?
        }
    };
    Some(text.trim_end_matches('\0').to_owned())
}
