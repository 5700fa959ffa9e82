//! The file of an adapter, a safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::{fs, io};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError, View, serialize_to_file};
use serde::{Deserialize, Serialize};

use crate::onnx::write_atomic_with;

use super::{Adapter, AdapterError, Makes, Recipe, Tuned};

/// Number of the format; another is refused.
const FORMAT: u32 = 1;
/// Key of the metadata's only entry: the order of several is not always the same.
const ENTRY: &str = "ftsurgery.adapter";

/// Whether a safetensors file with these metadata says that it is an adapter.
pub(crate) fn is_of_adapter(metadata: &HashMap<String, String>) -> bool {
    metadata.contains_key(ENTRY)
}

/// The bytes of a file.
///
/// # Errors
/// [`AdapterError::Read`] where they cannot be read or it is no regular file.
pub(crate) fn whole(path: &Path) -> Result<Vec<u8>, AdapterError> {
    let failed = |source| AdapterError::Read {
        path: path.to_owned(),
        source,
    };
    // To read a pipe would wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    fs::read(path).map_err(failed)
}

/// That entry.
#[derive(Serialize)]
struct Entry<'a> {
    format: u32,
    backbone: &'a str,
    makes: &'a Makes,
    recipe: &'a Recipe,
    /// CRC-32C of each tensor's bytes.
    tensors: BTreeMap<&'a str, u32>,
}

/// What every version of it has.
#[derive(Deserialize)]
struct Numbered {
    format: u32,
}

#[derive(Deserialize)]
struct Saved {
    backbone: String,
    makes: Makes,
    recipe: Recipe,
    tensors: BTreeMap<String, u32>,
}

impl View for &Tuned {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(&self.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}

impl Adapter {
    /// Writes the adapter to a file, in place of what was there; after a crash at any moment that is the old one or
    /// the new one, whole. Equal adapters are equal files.
    ///
    /// # Errors
    /// [`AdapterError::Write`]; the old file, if there was one, is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), AdapterError> {
        let sum = |tuned: &'_ Tuned| crc32c::crc32c(bytemuck::cast_slice(&tuned.values));
        let all = || self.tensors.iter().map(|t| (t.name.as_str(), t));
        let entry = Entry {
            format: FORMAT,
            backbone: &self.backbone,
            makes: &self.makes,
            recipe: &self.recipe,
            tensors: all().map(|(name, tuned)| (name, sum(tuned))).collect(),
        };
        let written = write_atomic_with(path, |file| {
            let entry = serde_json::to_string(&entry)?;
            let metadata = HashMap::from([(ENTRY.to_owned(), entry)]);
            serialize_to_file(all(), Some(metadata), file).map_err(|error| match error {
                SafeTensorError::IoError(error) => error,
                error => io::Error::other(error),
            })
        });
        written.map_err(|source| AdapterError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads an adapter, and looks at all that can be looked at without its backbone: that no tensor is missing, too
    /// many, of another type than float32, or other than it was written, and that all values are finite.
    ///
    /// # Errors
    /// When the file cannot be read, is no adapter, is damaged or of another version's format.
    pub fn read(path: &Path) -> Result<Self, AdapterError> {
        Self::decode(&whole(path)?, path)
    }

    /// As [`Adapter::read`], of the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Adapter::read`].
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, AdapterError> {
        let foreign = |reason: String| AdapterError::NotAnAdapter {
            path: path.to_owned(),
            reason,
        };
        let damaged = |reason: String| AdapterError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|e| foreign(format!("it is no whole safetensors file ({e})")))?;
        let entry = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
        let entry = entry.ok_or_else(|| foreign(format!("its metadata have no `{ENTRY}`")))?;
        let wrong = |e: serde_json::Error| damaged(format!("its `{ENTRY}` cannot be read: {e}"));
        let Numbered { format } = serde_json::from_str(entry).map_err(wrong)?;
        if format != FORMAT {
            return Err(AdapterError::Format {
                path: path.to_owned(),
                format,
                known: FORMAT,
            });
        }
        let saved: Saved = serde_json::from_str(entry).map_err(wrong)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let names = file.names();
        if let Some(name) = names
            .iter()
            .find(|name| !saved.tensors.contains_key(**name))
        {
            return Err(damaged(format!("it has a tensor `{name}` too many")));
        }
        let mut tensors = Vec::with_capacity(saved.tensors.len());
        for (name, sum) in saved.tensors {
            let view = file
                .tensor(&name)
                .map_err(|_| damaged(format!("it lacks the tensor `{name}`")))?;
            if view.dtype() != Dtype::F32 {
                let dtype = view.dtype();
                return Err(damaged(format!(
                    "its tensor `{name}` is {dtype:?}, not F32"
                )));
            }
            if crc32c::crc32c(view.data()) != sum {
                return Err(damaged(format!(
                    "its tensor `{name}` is not as it was written (by its CRC-32C)"
                )));
            }
            let (values, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(damaged(format!(
                    "value {at} of its tensor `{name}` is {}",
                    values[at]
                )));
            }
            tensors.push(Tuned {
                dims: view.shape().to_vec(),
                name,
                values,
            });
        }
        Ok(Adapter {
            backbone: saved.backbone,
            makes: saved.makes,
            recipe: saved.recipe,
            tensors,
        })
    }
}
