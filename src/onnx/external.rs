//! External data: tensors whose values lie in other files beside the model's.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

use super::OnnxError;
use super::messages::TensorProto;
use super::source::{Copied, LARGE_WEIGHT, Source, Stamp, release};
use super::tensor::{Tensor, declaration};

/// What has been read of the files beside a model.
#[derive(Debug, Default)]
pub(super) struct Externals {
    files: Mutex<BTreeMap<PathBuf, Read>>,
    /// Whether large tensors are zeros instead of what the files hold.
    outline: bool,
}

/// What has been read of one file: each part once, however often it is asked for.
#[derive(Debug)]
struct Read {
    location: String,
    stamp: Stamp,
    /// By offset and length.
    parts: BTreeMap<(u64, u64), Copied>,
}

impl Externals {
    /// For who looks at shapes alone.
    pub(super) fn outline() -> Self {
        Externals {
            outline: true,
            ..Self::default()
        }
    }

    /// The tensor of a message with external data, of the model at `model`.
    ///
    /// # Errors
    /// When declaration and data do not fit, the data is missing or leaves the model's folder, or its
    /// file has changed since another tensor was read from it.
    pub(super) fn tensor(&self, proto: &TensorProto, model: &Path) -> Result<Tensor, OnnxError> {
        let name = proto.name.as_deref().unwrap_or("");
        let (dtype, dims) = declaration(proto)?;
        let entry = |key: &str| {
            let mut entries = proto.external_data.iter();
            let entry = entries.find(|e| e.key.as_deref() == Some(key));
            entry.and_then(|e| e.value.as_deref())
        };
        let number = |key: &str| -> Result<Option<u64>, OnnxError> {
            let parsed = entry(key).map(|value| {
                value
                    .parse()
                    .map_err(|_| OnnxError::tensor(name, format!("external {key} is `{value}`")))
            });
            parsed.transpose()
        };
        let location = entry("location")
            .ok_or_else(|| OnnxError::tensor(name, "external data without a location"))?;
        let path = path(name, location, model)?;
        let source = Source::open(&path)?;
        let offset = number("offset")?.unwrap_or(0);
        let length = match number("length")? {
            Some(length) => length,
            None => source.len().saturating_sub(offset),
        };
        let end = offset
            .checked_add(length)
            .filter(|&end| end <= source.len());
        let Some(end) = end else {
            return Err(OnnxError::tensor(
                name,
                format!(
                    "external data at {offset} of {length} bytes leaves `{location}` ({} bytes)",
                    source.len()
                ),
            ));
        };
        Tensor::fits(name, dtype, &dims, length)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let read = files.entry(path.clone()).or_insert_with(|| Read {
            location: location.to_owned(),
            stamp: source.stamp(),
            parts: BTreeMap::new(),
        });
        if read.stamp != source.stamp() {
            return Err(OnnxError::Changed { path });
        }
        let part = match read.parts.get(&(offset, length)) {
            Some(part) => part.bytes.clone(),
            None => {
                let part = match self.outline && length >= LARGE_WEIGHT {
                    true => Copied {
                        bytes: zeros(length).map_err(|source| OnnxError::Read { path, source })?,
                        map: None,
                    },
                    false => source.copy(offset..end)?,
                };
                let bytes = part.bytes.clone();
                read.parts.insert((offset, length), part);
                bytes
            }
        };
        Tensor::checked(name, dtype, dims, part)
    }

    /// Fails if a file no longer holds what was read of it.
    ///
    /// # Errors
    /// [`OnnxError::Changed`], or when it cannot be read.
    pub(super) fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, read) in files.iter() {
            let now = Source::open(path)?;
            if now.stamp() == read.stamp {
                continue;
            }
            for ((offset, length), part) in &read.parts {
                if !now.holds(*offset..offset + length, &part.bytes)? {
                    return Err(OnnxError::Changed { path: path.clone() });
                }
            }
        }
        Ok(())
    }

    /// Lets the operating system take what is mapped out of memory until it is read again.
    pub(super) fn release(&self) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = files.values().flat_map(|read| read.parts.values());
        parts
            .filter_map(|part| part.map.as_deref())
            .for_each(release);
    }

    /// The locations that were read, with the parts of each in the order of the file.
    pub(super) fn read(&self) -> Vec<(String, Vec<Bytes>)> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = |read: &Read| read.parts.values().map(|p| p.bytes.clone()).collect();
        files
            .values()
            .map(|read| (read.location.clone(), parts(read)))
            .collect()
    }
}

/// Zeros that take no memory until they are read.
fn zeros(length: u64) -> std::io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Bytes::from_owner(
        MmapMut::map_anon(length)?.make_read_only()?,
    ))
}

/// Where external data lies; refused if that is out of the model's folder, and of those of the files which the
/// model is a link to (Hugging Face's cache has links to both).
fn path(tensor: &str, location: &str, model: &Path) -> Result<PathBuf, OnnxError> {
    let refuse = || OnnxError::ExternalLocation {
        tensor: tensor.to_owned(),
        location: location.to_owned(),
    };
    let relative = Path::new(location);
    let inside = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(inside) {
        return Err(refuse());
    }
    let homes = homes(model);
    let mut places = homes.iter().map(|folder| folder.join(relative));
    let path = match places.find(|path| path.exists()) {
        Some(path) => path,
        None => homes[0].join(relative),
    };
    // A link inside a folder may still point out of it.
    if let Ok(real) = path.canonicalize() {
        let roots: Vec<PathBuf> = homes.iter().flat_map(|f| f.canonicalize()).collect();
        if !roots.is_empty() && !roots.iter().any(|root| real.starts_with(root)) {
            return Err(refuse());
        }
    }
    Ok(path)
}

/// The folder of a model's file and, where that is a link, those of what it leads to, in this order.
fn homes(model: &Path) -> Vec<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut homes = Vec::new();
    let mut file = model.to_owned();
    for _ in 0..=LINKS {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        homes.push(folder.to_owned());
        match file.read_link() {
            Ok(target) => file = folder.join(target),
            Err(_) => break,
        }
    }
    homes
}
