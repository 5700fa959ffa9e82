//! Holding a model against the one it was made from, and against the manifest of what was done to it.

mod compare;
mod keys;
mod parts;

pub(crate) use keys::Named;
pub(super) use keys::unnumbered;

use std::collections::HashSet;

use crate::onnx::Model;

use super::SurgeryError;
use super::difference::Difference;
use super::edit::Manifest;

/// Everything in which `edited` differs from `original`; nothing where both are encoded alike but for
/// the order of metadata properties.
///
/// Parts are matched by their names, scope by scope: the model, its graph, the graphs in attributes of
/// nodes, functions, training graphs. Messages are compared as they are encoded, weights by their bytes;
/// what was external in the original and is not now, by its values.
///
/// # Errors
/// When external data cannot be read.
pub fn differences(original: &Model, edited: &Model) -> Result<Vec<Difference>, SurgeryError> {
    compare::models(original, edited)
}

/// Checks that `edited` is `original` with the changes of `manifest`, each of them and no other.
///
/// # Errors
/// [`SurgeryError::NotAsClaimed`] lists the differences that the manifest does not explain, and its
/// entries that are not in the model; or external data cannot be read.
pub fn holds(original: &Model, edited: &Model, manifest: &Manifest) -> Result<(), SurgeryError> {
    held(original, edited, manifest, |_| false).map(|_| ())
}

/// As [`holds`], where values of tensors may also lie elsewhere than before, with no other change: those that do.
///
/// # Errors
/// As [`holds`].
pub fn holds_but_for_places(
    original: &Model,
    edited: &Model,
    manifest: &Manifest,
) -> Result<Vec<Difference>, SurgeryError> {
    held(original, edited, manifest, |found| found.what.is_place())
}

/// Differences that the manifest does not explain, and `may` be.
fn held(
    original: &Model,
    edited: &Model,
    manifest: &Manifest,
    may: impl Fn(&Difference) -> bool,
) -> Result<Vec<Difference>, SurgeryError> {
    let (before, mut missing) = manifest.with_renames(original);
    let found = match before {
        None => differences(original, edited)?,
        Some(before) => differences(&before, edited)?,
    };
    let there: HashSet<&Difference> = found.iter().collect();
    let claimed: HashSet<&Difference> = manifest.others().collect();
    let absent = manifest.others().filter(|claim| !there.contains(claim));
    missing.extend(absent.cloned());
    let others = found.iter().filter(|found| !claimed.contains(found));
    let (places, unexplained): (Vec<Difference>, Vec<Difference>) =
        others.cloned().partition(|found| may(found));
    match unexplained.is_empty() && missing.is_empty() {
        true => Ok(places),
        false => Err(SurgeryError::NotAsClaimed {
            unexplained,
            missing,
        }),
    }
}
