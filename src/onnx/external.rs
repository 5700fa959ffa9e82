//! External data: tensors whose values lie in other files beside the model's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::OnnxError;
use super::messages::TensorProto;
use super::source::{Copied, LARGE_WEIGHT, Source, Stamp, release, zeros};
use super::tensor::{Tensor, declaration};
use super::values::Values;

/// What has been read of the files beside a model.
#[derive(Debug, Default)]
pub(super) struct Externals {
    files: Mutex<BTreeMap<PathBuf, Read>>,
    /// Files of which parts are read when they are asked for.
    sources: Mutex<BTreeMap<PathBuf, Arc<Source>>>,
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
        let Located { source, range, .. } = &located(proto, model)?;
        let (offset, length) = (range.start, range.end - range.start);
        Tensor::fits(name, dtype, &dims, length)?;
        let path = source.path().to_owned();
        let location = location(proto)?;
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
                    false => source.copy(range.clone())?,
                };
                let bytes = part.bytes.clone();
                read.parts.insert((offset, length), part);
                bytes
            }
        };
        Tensor::checked(name, dtype, dims, part)
    }

    /// The bytes that a message with external data names, of the model at `model`, left in their file.
    ///
    /// # Errors
    /// As [`Externals::tensor`].
    pub(super) fn values(&self, proto: &TensorProto, model: &Path) -> Result<Values, OnnxError> {
        let Located { source, range } = located(proto, model)?;
        if let Ok((dtype, dims)) = declaration(proto) {
            let name = proto.name.as_deref().unwrap_or("");
            Tensor::fits(name, dtype, &dims, range.end - range.start)?;
        }
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let path = source.path().to_owned();
        let opened = sources.entry(path).or_insert_with(|| Arc::clone(&source));
        match opened.is_same(&source) {
            true => Ok(Values::in_file(Arc::clone(opened), range)),
            false => Err(OnnxError::Changed {
                path: source.path().to_owned(),
            }),
        }
    }

    /// Fails if a file no longer holds what was read of it.
    ///
    /// # Errors
    /// [`OnnxError::Changed`], or when it cannot be read.
    pub(super) fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in sources.values() {
            source.ensure_unchanged()?;
        }
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

/// A part of a file.
struct Located {
    source: Arc<Source>,
    range: Range<u64>,
}

fn entry<'p>(proto: &'p TensorProto, key: &str) -> Option<&'p str> {
    let mut entries = proto.external_data.iter();
    let entry = entries.find(|e| e.key.as_deref() == Some(key));
    entry.and_then(|e| e.value.as_deref())
}

fn location(proto: &TensorProto) -> Result<&str, OnnxError> {
    let name = proto.name.as_deref().unwrap_or("");
    entry(proto, "location")
        .ok_or_else(|| OnnxError::tensor(name, "external data without a location"))
}

/// The bytes that a message with external data names, of the model at `model`.
fn located(proto: &TensorProto, model: &Path) -> Result<Located, OnnxError> {
    let name = proto.name.as_deref().unwrap_or("");
    let number = |key: &str| -> Result<Option<u64>, OnnxError> {
        let parsed = entry(proto, key).map(|value| {
            value
                .parse()
                .map_err(|_| OnnxError::tensor(name, format!("external {key} is `{value}`")))
        });
        parsed.transpose()
    };
    let location = location(proto)?;
    let source = Source::open(&path(name, location, model)?)?;
    let offset = number("offset")?.unwrap_or(0);
    let length = match number("length")? {
        Some(length) => length,
        None => source.len().saturating_sub(offset),
    };
    let end = offset.checked_add(length);
    match end.filter(|&end| end <= source.len()) {
        Some(end) => Ok(Located {
            source: Arc::new(source),
            range: offset..end,
        }),
        None => Err(OnnxError::tensor(
            name,
            format!(
                "external data at {offset} of {length} bytes leaves `{location}` ({} bytes)",
                source.len()
            ),
        )),
    }
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
