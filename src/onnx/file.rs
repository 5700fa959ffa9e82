//! Reading models from mapped files, and writing them.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::Mmap;
use prost::Message;

use super::messages::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use super::tensor::{Tensor, declaration, is_external};
use super::unknown::find_unknown_field;
use super::{OnnxError, write_atomic};

/// Protobuf's limit for one message.
const MAX_ENCODED: usize = i32::MAX as usize;

/// A model as it stands in its file. Weight data borrows from the mapped file.
#[derive(Debug)]
pub struct Model {
    /// The decoded messages.
    pub proto: ModelProto,
    path: PathBuf,
    file: Bytes,
    external: Mutex<HashMap<PathBuf, Bytes>>,
    /// The mapped file, from which the weights of changed copies are borrowed too.
    map: Option<Arc<Mmap>>,
}

impl Model {
    /// Maps and decodes the file at `path`. Weights are not copied.
    ///
    /// The file must not be changed by others while the model is in use.
    ///
    /// # Errors
    /// When the file cannot be read, is no ONNX model, or has no graph.
    pub fn open(path: &Path) -> Result<Self, OnnxError> {
        let (file, map) = map(path)?;
        Ok(Model {
            map,
            ..Self::decode(file, path)?
        })
    }

    /// Decodes a model that is already in memory; `path` serves messages and external data.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn decode(file: Bytes, path: &Path) -> Result<Self, OnnxError> {
        let fail = |reason: String| OnnxError::Decode {
            path: path.to_owned(),
            reason,
        };
        if file.is_empty() {
            return Err(fail("the file is empty".into()));
        }
        let proto = ModelProto::decode(file.clone()).map_err(|e| fail(e.to_string()))?;
        if proto.graph.as_ref().is_none_or(|g| g.node.is_empty()) {
            return Err(fail("it holds no graph with nodes".into()));
        }
        Ok(Model {
            proto,
            path: path.to_owned(),
            file,
            external: Mutex::default(),
            map: None,
        })
    }

    /// A changed copy of this model: other messages, the same path and external data.
    pub fn with_proto(&self, proto: ModelProto) -> Self {
        Model {
            proto,
            path: self.path.clone(),
            file: Bytes::new(),
            external: Mutex::default(),
            map: self.map.clone(),
        }
    }

    /// The file the model was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the model's file, without external data; empty for a changed copy.
    pub fn file_bytes(&self) -> &Bytes {
        &self.file
    }

    /// Lets the operating system take the mapped file out of memory until it is read again, as it
    /// would by itself when memory runs short. For when what was needed of it has been copied.
    #[allow(unsafe_code)]
    pub fn release(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            // SAFETY: the map is of a file and never written, so that what is taken out of memory is
            // read from the file again. An error means that nothing was taken out.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        // `decode` let no model without a graph pass.
        static EMPTY: GraphProto = GraphProto {
            node: vec![],
            name: None,
            initializer: vec![],
            sparse_initializer: vec![],
            doc_string: None,
            input: vec![],
            output: vec![],
            value_info: vec![],
            quantization_annotation: vec![],
            metadata_props: vec![],
        };
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// The imported version of the default operator set (domain "" or "ai.onnx"); 1 if none is.
    pub fn opset(&self) -> i64 {
        self.proto
            .opset_import
            .iter()
            .find(|o| matches!(o.domain.as_deref().unwrap_or(""), "" | "ai.onnx"))
            .and_then(|o| o.version)
            .unwrap_or(1)
    }

    /// The value of a metadata property.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.proto
            .metadata_props
            .iter()
            .find(|p| p.key.as_deref() == Some(key))
            .and_then(|p| p.value.as_deref())
    }

    /// The tensor of a message of this model, external data included.
    ///
    /// # Errors
    /// When declaration and data do not fit, or external data is missing or leaves the folder.
    pub fn tensor(&self, proto: &TensorProto) -> Result<Tensor, OnnxError> {
        if !is_external(proto) {
            return Tensor::from_proto(proto);
        }
        let name = proto.name.as_deref().unwrap_or("");
        let (dtype, dims) = declaration(proto)?;
        let entry = |key: &str| {
            proto
                .external_data
                .iter()
                .find(|e| e.key.as_deref() == Some(key))
                .and_then(|e| e.value.as_deref())
        };
        let number = |key: &str| -> Result<Option<usize>, OnnxError> {
            entry(key)
                .map(|v| {
                    v.parse()
                        .map_err(|_| OnnxError::tensor(name, format!("external {key} is `{v}`")))
                })
                .transpose()
        };
        let location = entry("location")
            .ok_or_else(|| OnnxError::tensor(name, "external data without a location"))?;
        let file = self.external_file(name, location)?;
        let offset = number("offset")?.unwrap_or(0);
        let length = match number("length")? {
            Some(length) => length,
            None => file.len().saturating_sub(offset),
        };
        let end = offset.checked_add(length).filter(|&end| end <= file.len());
        let Some(end) = end else {
            return Err(OnnxError::tensor(
                name,
                format!(
                    "external data at {offset} of {length} bytes leaves `{location}` ({} bytes)",
                    file.len()
                ),
            ));
        };
        Tensor::checked(name, dtype, dims, file.slice(offset..end))
    }

    fn external_file(&self, tensor: &str, location: &str) -> Result<Bytes, OnnxError> {
        let refuse = || OnnxError::ExternalLocation {
            tensor: tensor.to_owned(),
            location: location.to_owned(),
        };
        let relative = Path::new(location);
        if location.is_empty()
            || !relative
                .components()
                .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        {
            return Err(refuse());
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(relative);
        // A link inside the folder may still point out of it.
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        if let (Ok(real), Ok(root)) = (path.canonicalize(), folder.canonicalize())
            && !real.starts_with(root)
        {
            return Err(refuse());
        }
        let mut open = self.external.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(bytes) = open.get(&path) {
            return Ok(bytes.clone());
        }
        let (bytes, _) = map(&path)?;
        open.insert(path, bytes.clone());
        Ok(bytes)
    }

    /// Fails if the file has fields that encoding [`Model::proto`] would drop.
    ///
    /// # Errors
    /// [`OnnxError::UnknownField`] names the first such field.
    pub fn ensure_fully_known(&self) -> Result<(), OnnxError> {
        match find_unknown_field(&self.file) {
            None => Ok(()),
            Some((message, field)) => Err(OnnxError::UnknownField {
                path: self.path.clone(),
                message,
                field,
            }),
        }
    }
}

/// Sets a metadata property of a model, replacing one of the same key.
pub fn set_metadata(model: &mut ModelProto, key: &str, value: &str) {
    model
        .metadata_props
        .retain(|p| p.key.as_deref() != Some(key));
    model.metadata_props.push(StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    });
}

/// Encodes a model.
///
/// # Errors
/// [`OnnxError::TooLarge`] beyond protobuf's 2 GiB.
pub fn encode(model: &ModelProto) -> Result<Vec<u8>, OnnxError> {
    let bytes = model.encoded_len();
    if bytes > MAX_ENCODED {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(model.encode_to_vec())
}

/// Encodes a model and writes it atomically.
///
/// # Errors
/// When it is too large or cannot be written; an existing file is then untouched.
pub fn save(model: &ModelProto, path: &Path) -> Result<(), OnnxError> {
    write_atomic(path, &encode(model)?).map_err(|source| OnnxError::Write {
        path: path.to_owned(),
        source,
    })
}

/// A map among whose owners is the memory borrowed from it.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<(Bytes, Option<Arc<Mmap>>), OnnxError> {
    let fail = |source| OnnxError::Read {
        path: path.to_owned(),
        source,
    };
    // Opening a pipe would wait for its writer.
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() {
        return Err(fail(std::io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() == 0 {
        return Ok((Bytes::new(), None));
    }
    // SAFETY: the map is read-only; that nobody truncates the file meanwhile is the documented
    // duty of the caller of `Model::open`.
    let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
    let map = Arc::new(map);
    Ok((Bytes::from_owner(Shared(Arc::clone(&map))), Some(map)))
}
