//! Writing tuned weights back into the model they came from.

use std::collections::HashSet;

use crate::graph::{Attribute, Graph};
use crate::onnx::Model;

use super::SurgeryError;
use super::edit::{Edited, Editor, converted};

/// Prefix of the metadata keys that [`export`] writes.
pub const METADATA_PREFIX: &str = "ftsurgery.";

/// The model of `editor` with the values of the tensors named in `tuned` replaced, in each tensor's own
/// float type, and with metadata.
///
/// A weight is found as an initializer or as the output of a `Constant` node; where one is inside of a function
/// that the model carries, its functions are [written out](Editor::inline). Nodes come out in [order](Editor::sort). Metadata keys get the
/// prefix `ftsurgery.` unless they have it. External data is taken into the model, which then stands
/// alone; one of more than 2 GiB has to be written with [`save_within`](crate::onnx::save_within), and is
/// held against the manifest [`taken_in`](super::taken_in) again. A tensor whose values do not change keeps
/// its message, byte for byte.
///
/// # Errors
/// When a tuned tensor does not exist, is no float tensor, or has another number of elements, a tuned
/// value is not finite in the tensor's type, or external data cannot be read.
pub fn export(
    mut editor: Editor<'_>,
    tuned: &[(String, Vec<f32>)],
    metadata: &[(&str, String)],
) -> Result<Edited, SurgeryError> {
    // What is tuned inside of a function is no longer the same in every call of it.
    if tuned.iter().any(|(name, _)| !editor.makes(name)) {
        editor.inline()?;
    }
    let mut done = HashSet::new();
    for (name, values) in tuned {
        if !done.insert(name) {
            return Err(SurgeryError::Twice {
                tensor: name.clone(),
            });
        }
        editor.set_values(name, values)?;
    }
    editor.sort();
    editor.take_in()?;
    for (key, value) in metadata {
        if key.starts_with(METADATA_PREFIX) {
            editor.set_metadata(key, value);
        } else {
            editor.set_metadata(&format!("{METADATA_PREFIX}{key}"), value);
        }
    }
    editor.finish()
}

/// `tuned` as [`export`] stores it: rounded to the type of each tensor, to the nearest, ties to even.
///
/// # Errors
/// As [`export`].
pub fn as_stored(
    template: &Model,
    tuned: Vec<(String, Vec<f32>)>,
) -> Result<Vec<(String, Vec<f32>)>, SurgeryError> {
    let graph = Graph::from_model(template)?;
    let constants = |name: &String| {
        let node = graph.nodes.iter().find(|n| n.output(0) == Some(name))?;
        match node.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) if node.is("Constant") => Some(tensor),
            _ => None,
        }
    };
    let stored = |(name, values): (String, Vec<f32>)| {
        let stored = match graph.initializers.get(&name).or_else(|| constants(&name)) {
            Some(old) => converted(&name, old, &values)?.to_f32(),
            None => None,
        };
        Ok((name, stored.unwrap_or(values)))
    };
    tuned.into_iter().map(stored).collect()
}
