//! The tuned model of an adapter and its backbone.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::graph::float_tensors;
use crate::hex::{self, file_sha256};
use crate::onnx::messages::ModelProto;
use crate::onnx::{Model, encode, is_same_file, rename, save_within, write_atomic};
use crate::surgery::Grafted;
use crate::training::FreedFile;

use super::recipe::with_head;
use super::{Adapter, AdapterError, Beside, Body, Makes, Prepared, ensure_backbone, tuned};

/// A tuned model that an [`Adapter`] made, not yet written.
#[derive(Debug)]
pub struct Applied<'a> {
    adapter: &'a Adapter,
    backbone: &'a Model,
    proto: ModelProto,
}

impl Adapter {
    /// The tuned model of `backbone`, which is read from its file and nothing else.
    ///
    /// # Errors
    /// [`AdapterError::OtherBackbone`] when it is another model; [`AdapterError::Misfit`] when the values are not those of
    /// the network that the recipe makes; when the recipe does not go with the model.
    pub fn apply<'a>(&'a self, backbone: &'a Model) -> Result<Applied<'a>, AdapterError> {
        ensure_backbone(backbone, &self.backbone)?;
        let recipe = &self.recipe;
        let Prepared { model, .. } = recipe.prepared.of(backbone)?;
        self.ensure_room_for_head()?;
        let grafted = with_head(&model, recipe)?;
        self.ensure_fits(&grafted)?;
        let tensors = self.tensors.iter();
        let values: Vec<_> = tensors
            .map(|t| (t.name.clone(), t.values.clone()))
            .collect();
        let merged = recipe.rewrite.merge(&grafted, &values)?;
        let freed = match recipe.frees_batch {
            true => FreedFile::of(&grafted.model)?,
            false => None,
        };
        let body = Body {
            original: &model,
            grafted: &grafted,
            freed: freed.as_ref(),
        };
        let proto = tuned(body, &merged, &recipe.metadata)?.edited.proto;
        Ok(Applied {
            adapter: self,
            backbone,
            proto,
        })
    }

    /// Fails where the recipe's head has more values than the file, before it takes their memory.
    fn ensure_room_for_head(&self) -> Result<(), AdapterError> {
        let Some(head) = &self.recipe.head else {
            return Ok(());
        };
        let given: usize = self.tensors.iter().map(|t| t.values.len()).sum();
        match head.spec().values(&head.features) {
            Some(wanted) if wanted <= given => Ok(()),
            _ => misfit(format!(
                "its recipe has a head of more values than the {given} that it has"
            )),
        }
    }

    /// Fails unless each tensor is one of the network, of these dimensions, and a new head has all of its own.
    fn ensure_fits(&self, grafted: &Grafted) -> Result<(), AdapterError> {
        let graph = self.recipe.rewrite.graph(grafted)?;
        let known = float_tensors(&graph);
        for tensor in &self.tensors {
            match known.get(tensor.name.as_str()) {
                Some(dims) if *dims == tensor.dims => {}
                Some(dims) => {
                    return misfit(format!(
                        "its tensor `{}` is {:?}, and that of the network {dims:?}",
                        tensor.name, tensor.dims
                    ));
                }
                None => {
                    return misfit(format!("the network has no float tensor `{}`", tensor.name));
                }
            }
        }
        let is_given = |name: &String| self.tensors.iter().any(|t| t.name == *name);
        let head = grafted.head_parameters.iter();
        match head
            .filter(|_| self.recipe.head.is_some())
            .find(|n| !is_given(n))
        {
            Some(name) => misfit(format!("it has no `{name}`, which its head has")),
            None => Ok(()),
        }
    }
}

fn misfit<T>(reason: String) -> Result<T, AdapterError> {
    Err(AdapterError::Misfit { reason })
}

impl Applied<'_> {
    /// The model.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// Fails unless the model is, to the byte, the one that the adapter was kept of; of one that a single file cannot
    /// hold this is known when it is [written](Applied::write).
    ///
    /// # Errors
    /// [`AdapterError::OtherModel`]; when it cannot be encoded.
    pub fn check(&self) -> Result<(), AdapterError> {
        match self.adapter.makes.data {
            None => self.encoded().map(drop),
            Some(_) => Ok(()),
        }
    }

    /// Writes the model to `path`, where it is the one that the adapter was kept of, and the weights that one file cannot
    /// hold to a file of that name and `.data` beside it; both in one step each, in place of what is there.
    ///
    /// # Errors
    /// [`AdapterError::OtherModel`], and [`AdapterError::OverInput`] when one of them is a file of the backbone: neither
    /// leaves a model there; when a file cannot be written.
    pub fn write(self, path: &Path) -> Result<Makes, AdapterError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| AdapterError::Write { path, source }
        };
        let location = path.file_name().unwrap_or_default();
        let location = format!("{}.data", location.to_string_lossy());
        let data = path.with_file_name(&location);
        ensure_apart(self.backbone, path)?;
        let Some(expected) = &self.adapter.makes.data else {
            let bytes = self.encoded()?;
            drop(self.proto);
            write_atomic(path, &bytes).map_err(failed(path))?;
            return Ok(self.adapter.makes.clone());
        };
        ensure_apart(self.backbone, &data)?;
        let mut unchecked = path.as_os_str().to_owned();
        unchecked.push(".unchecked");
        let unchecked = PathBuf::from(unchecked);
        save_within(0, self.proto, &unchecked, &location)?;
        let made = Makes {
            sha256: file_sha256(&unchecked).map_err(failed(&unchecked))?,
            data: Some(Beside {
                sha256: file_sha256(&data).map_err(failed(&data))?,
                location: location.clone(),
            }),
        };
        // A model under another name names its data otherwise, and is in this another file.
        let is_named_so = expected.location == location;
        let same_data = made
            .data
            .as_ref()
            .is_some_and(|d| d.sha256 == expected.sha256);
        if !same_data || is_named_so && made.sha256 != self.adapter.makes.sha256 {
            // They are no result; that they may stay behind is the lesser evil.
            let _ = fs::remove_file(&unchecked);
            let _ = fs::remove_file(&data);
            return Err(self.adapter.other_model(&made.sha256));
        }
        rename(&unchecked, path).map_err(failed(path))?;
        Ok(made)
    }

    /// The bytes of a model that one file holds, which are those of the model that was kept.
    fn encoded(&self) -> Result<Vec<u8>, AdapterError> {
        let bytes = encode(&self.proto)?;
        let found = hex::encode(Sha256::digest(&bytes));
        match found == self.adapter.makes.sha256 {
            true => Ok(bytes),
            false => Err(self.adapter.other_model(&found)),
        }
    }
}

/// Fails where `path` is a file of the backbone.
///
/// # Errors
/// [`AdapterError::OverInput`].
pub fn ensure_apart(backbone: &Model, path: &Path) -> Result<(), AdapterError> {
    match backbone.files().iter().any(|file| is_same_file(file, path)) {
        true => Err(AdapterError::OverInput {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

impl Adapter {
    fn other_model(&self, found: &str) -> AdapterError {
        AdapterError::OtherModel {
            expected: self.makes.sha256.clone(),
            found: found.to_owned(),
            by: self.recipe.metadata("ftsurgery.version").map(str::to_owned),
        }
    }
}
