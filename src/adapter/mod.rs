//! A tuned model as what makes it of its backbone: the values that training gave, and a recipe.
//!
//! An [`Adapter`] is a file beside a tuned model, and often a hundredth of it: for an update of low rank its factors, for a
//! block that block, for gated filters what was added, and always the head. With the backbone it makes the tuned
//! model again, byte for byte; with another one it makes nothing. `docs/adapters.md` has the schema of the file.
//!
//! [`tuned`] is how any tuned model is made, by a run and of an adapter. Reading a file ([`Adapter::read`]) is apart from
//! that and from writing ([`Adapter::apply`], [`Applied::write`]).

mod apply;
mod backbone;
mod error;
mod file;
mod recipe;
#[cfg(test)]
mod tests;

use crate::onnx::Model;
use crate::surgery::rewrite::Merged;
use crate::surgery::{Edited, Grafted, export};
use crate::training::FreedFile;

pub use apply::{Applied, ensure_apart};
pub use backbone::backbone_sha256;
pub(crate) use backbone::ensure_backbone;
pub use error::AdapterError;
pub(crate) use file::{is_of_adapter, whole};
pub use recipe::{NewHead, Preparation, Prepared, Recipe};

/// What makes a tuned model of its backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// [`backbone_sha256`] of the only model that it is for.
    pub backbone: String,
    /// The model that it makes.
    pub makes: Makes,
    /// How.
    pub recipe: Recipe,
    /// The tuned values.
    pub tensors: Vec<Tuned>,
}

/// Tuned values of a tensor, before they are merged into another.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// Its name in the network that was trained: an initializer, or a constant by its output.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// As many values as these say.
    pub values: Vec<f32>,
}

/// The files of a tuned model.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Makes {
    /// SHA-256 of the ONNX file, in hexadecimal.
    pub sha256: String,
    /// The file beside it that has its weights, where one file cannot hold all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Beside>,
}

/// A file of weights beside a tuned model.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Beside {
    /// Its name, as the model says.
    pub location: String,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
}

/// A backbone with its head in place, of which tuned models are made.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// The backbone [as it is tuned](Preparation::of).
    pub original: &'a Model,
    /// The same with its head.
    pub grafted: &'a Grafted,
    /// What frees the file from the batch size of its export, where that is to be.
    pub freed: Option<&'a FreedFile>,
}

/// A tuned model.
pub struct TunedModel {
    /// Its file.
    pub edited: Edited,
    /// Why it stays made for the batch size of the export, where the network without what the rewrite adds would not.
    pub stays_fixed: Option<String>,
}

/// The tuned model: the backbone's file with the head, what is left of the rewrite, other values, and these metadata
/// properties in their order.
///
/// # Errors
/// As [`export`], and when the backbone is not the one that the head was grafted to.
pub fn tuned(
    body: Body<'_>,
    merged: &Merged,
    metadata: &[(String, String)],
) -> Result<TunedModel, AdapterError> {
    let Merged { rewrite, values } = merged;
    let mut editor = body.grafted.editor(body.original)?;
    rewrite.emit(body.grafted, &mut editor)?;
    let mut stays_fixed = None;
    match body.freed {
        Some(freed) if rewrite.is_none() => freed.apply(&mut editor)?,
        Some(_) => match freed_with(body, merged) {
            Ok(Some(freed)) => freed.apply(&mut editor)?,
            Ok(None) => {}
            Err(reason) => stays_fixed = Some(reason.to_string()),
        },
        None => {}
    }
    for (key, value) in metadata {
        editor.set_metadata(key, value);
    }
    Ok(TunedModel {
        edited: export(editor, values, &[])?,
        stays_fixed,
    })
}

/// What frees a file to which a rewrite adds nodes.
fn freed_with(
    body: Body<'_>,
    Merged { rewrite, values }: &Merged,
) -> Result<Option<FreedFile>, AdapterError> {
    let mut editor = body.grafted.editor(body.original)?;
    rewrite.emit(body.grafted, &mut editor)?;
    let Edited { proto, .. } = export(editor, values, &[])?;
    let rewritten = body.grafted.model.with_proto(proto);
    Ok(FreedFile::of(&rewritten)?)
}
