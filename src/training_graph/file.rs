//! Files of a state: safetensors, or arrays of NumPy (npz), of which both have a tensor for each of the contract's names. A
//! checkpoint of onnxruntime's training API is read as one, too.

use std::borrow::Cow;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;

use bytes::Bytes;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::{NpzWriter, ViewNpyError, ViewNpyExt};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError, View, serialize_to_file};
use zip::ZipArchive;

use crate::adapter::{Adapter, AdapterError, is_of_adapter, whole};
use crate::data::MAX_INFLATION;
use crate::onnx::{DataType, Tensor, write_atomic, write_atomic_with};

use super::ort_training::{checkpoint_state, is_checkpoint};
use super::{Role, State, TrainingGraphError};

/// What an npz file begins with, which is a zip archive.
const ZIP: &[u8] = b"PK";
/// How its name ends.
const NPZ: &str = "npz";

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            DataType::Int64 => Dtype::I64,
            DataType::Uint8 => Dtype::U8,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// The element type that a tensor of this role has.
fn dtype(role: &Role) -> DataType {
    match role {
        Role::Step => DataType::Int64,
        Role::Backbone => DataType::Uint8,
        _ => DataType::Float,
    }
}

impl State {
    /// Writes the state to a file, in place of what was there: of NumPy's arrays where its name ends in `.npz`, else
    /// safetensors. After a crash at any moment that is the old one or the new one, whole.
    ///
    /// # Errors
    /// [`AdapterError::Write`]; the old file, if there was one, is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), TrainingGraphError> {
        let is_npz = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(NPZ));
        let written = match is_npz {
            true => self.npz().and_then(|bytes| write_atomic(path, &bytes)),
            false => write_atomic_with(path, |file| {
                let all = self.tensors().iter().map(|(role, t)| (role.to_string(), t));
                serialize_to_file(all, None, file).map_err(|error| match error {
                    SafeTensorError::IoError(error) => error,
                    error => io::Error::other(error),
                })
            }),
        };
        Ok(written.map_err(|source| AdapterError::Write {
            path: path.to_owned(),
            source,
        })?)
    }

    fn npz(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        let mut npz = NpzWriter::new(&mut bytes);
        for (role, tensor) in self.tensors() {
            let name = role.to_string();
            let dims = IxDyn(&tensor.dims);
            let written = match tensor.dtype {
                DataType::Int64 => {
                    let values = tensor.to_i64().unwrap_or_default();
                    let array = ArrayD::from_shape_vec(dims, values).map_err(io::Error::other)?;
                    npz.add_array(name, &array)
                }
                DataType::Uint8 => {
                    let values = tensor.data.to_vec();
                    let array = ArrayD::from_shape_vec(dims, values).map_err(io::Error::other)?;
                    npz.add_array(name, &array)
                }
                _ => {
                    let values = tensor.to_f32().unwrap_or_default();
                    let array = ArrayD::from_shape_vec(dims, values).map_err(io::Error::other)?;
                    npz.add_array(name, &array)
                }
            };
            written.map_err(io::Error::other)?;
        }
        npz.finish().map_err(io::Error::other)?.flush()?;
        Ok(bytes.into_inner())
    }

    /// Reads a state, of the kind that its first bytes say.
    ///
    /// # Errors
    /// When the file cannot be read, or is no state: it has another name than those of the contract, a tensor of another
    /// type than the contract's, no trained parameter, a moment or an average of some tensors and not of others, or does not
    /// say of which model it is.
    pub fn read(path: &Path) -> Result<Self, TrainingGraphError> {
        Self::decode(whole(path)?, path)
    }

    /// As [`State::read`], of the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`State::read`].
    pub fn decode(bytes: Vec<u8>, path: &Path) -> Result<Self, TrainingGraphError> {
        let read = match bytes.starts_with(ZIP) {
            true => of_npz(&bytes).and_then(with_step),
            false if is_checkpoint(&bytes) => checkpoint_state(&bytes.into()),
            false => of_safetensors(bytes).and_then(with_step),
        };
        let read = read.and_then(|state| state.ensure_whole().map(|()| state));
        read.map_err(|reason| TrainingGraphError::NotAState {
            path: path.to_owned(),
            reason,
        })
    }
}

/// What a file of tuned values holds.
#[derive(Clone, Debug, PartialEq)]
pub enum TunedFile {
    /// What makes a tuned model of its backbone.
    Adapter(Box<Adapter>),
    /// What a training graph, or onnxruntime's training API, has come to.
    State(State),
}

impl TunedFile {
    /// Reads a file that is the one or the other: an npz, a checkpoint and a safetensors file without an adapter's metadata
    /// that has a trained parameter are states.
    ///
    /// # Errors
    /// When the file cannot be read or is neither, and as [`State::read`] and [`Adapter::read`].
    pub fn read(path: &Path) -> Result<Self, TrainingGraphError> {
        let bytes = whole(path)?;
        let is_state = is_state(&bytes).map_err(|reason| TrainingGraphError::Neither {
            path: path.to_owned(),
            reason,
        })?;
        Ok(match is_state {
            true => TunedFile::State(State::decode(bytes, path)?),
            false => TunedFile::Adapter(Box::new(Adapter::decode(&bytes, path)?)),
        })
    }
}

/// Whether these are the bytes of a state rather than an adapter, by the look of them; why they are of neither.
fn is_state(bytes: &[u8]) -> Result<bool, String> {
    if bytes.starts_with(ZIP) || is_checkpoint(bytes) {
        return Ok(true);
    }
    let whole = SafeTensors::deserialize(bytes);
    let (_, header) = whole
        .and_then(|_| SafeTensors::read_metadata(bytes))
        .map_err(|e| format!("it is no whole safetensors file ({e})"))?;
    if header.metadata().as_ref().is_some_and(is_of_adapter) {
        return Ok(false);
    }
    let tensors = header.tensors();
    let mut roles = tensors.keys().filter_map(|name| Role::of(name));
    match roles.any(|role| matches!(role, Role::Parameter(_))) {
        true => Ok(true),
        false => Err("it has neither an adapter's metadata nor a state's `param/…`".to_owned()),
    }
}

/// A state that says how many steps are done, as all do but a checkpoint from before the first.
fn with_step(state: State) -> Result<State, String> {
    match state.get(&Role::Step) {
        Some(_) => Ok(state),
        None => Err(format!("it has no `{}`", Role::Step)),
    }
}

/// The role of a tensor of this name.
fn role(name: &str) -> Result<Role, String> {
    Role::of(name).ok_or_else(|| format!("it has a tensor `{name}`, which no state has"))
}

fn of_safetensors(bytes: Vec<u8>) -> Result<State, String> {
    let bytes = Bytes::from(bytes);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| format!("it is neither a safetensors file nor an npz ({e})"))?;
    let mut state = State::default();
    let mut tensors = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in tensors {
        let role = role(&name)?;
        let dtype = dtype(&role);
        let known = match view.dtype() {
            Dtype::I64 => DataType::Int64,
            Dtype::U8 => DataType::Uint8,
            Dtype::F32 => DataType::Float,
            other => return Err(format!("its `{name}` is {other:?}, not {dtype:?}")),
        };
        if known != dtype {
            return Err(format!("its `{name}` is {known:?}, not {dtype:?}"));
        }
        let tensor = Tensor {
            dtype,
            dims: view.shape().to_vec(),
            data: bytes.slice_ref(view.data()),
        };
        state.put(role, tensor);
    }
    Ok(state)
}

fn of_npz(bytes: &[u8]) -> Result<State, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("it is no whole npz ({e})");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| wrong(&e))?;
    let mut state = State::default();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| wrong(&e))?;
        let name = entry.name().to_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name);
        let role = role(name)?;
        let size = entry.size();
        if size / MAX_INFLATION > entry.compressed_size() {
            return Err(format!(
                "its `{name}` claims {size} bytes, which it cannot hold"
            ));
        }
        // Words, so that views of them are aligned; nothing is allocated by what a header claims.
        let size = usize::try_from(size).map_err(|e| wrong(&e))?;
        let mut words = vec![0u64; size.div_ceil(8)];
        let file = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..size];
        entry.read_exact(file).map_err(|e| wrong(&e))?;
        // Its checksum is looked at where the end is read.
        let rest = entry.read(&mut [0]);
        match rest.map_err(|e| format!("its `{name}` is damaged ({e})"))? {
            0 => {}
            _ => return Err(format!("its `{name}` is longer than it says")),
        }
        let tensor = tensor(file, dtype(&role));
        let tensor = tensor.map_err(|e| format!("its `{name}` is not as it must be: {e}"))?;
        state.put(role, tensor);
    }
    Ok(state)
}

/// The tensor of an array's file.
fn tensor(file: &[u8], dtype: DataType) -> Result<Tensor, ViewNpyError> {
    Ok(match dtype {
        DataType::Int64 => {
            let array = ArrayViewD::<i64>::view_npy(file)?;
            let values: Vec<i64> = array.iter().copied().collect();
            Tensor {
                dims: array.shape().to_vec(),
                ..Tensor::i64s(&values)
            }
        }
        DataType::Uint8 => {
            let array = ArrayViewD::<u8>::view_npy(file)?;
            Tensor {
                dtype,
                dims: array.shape().to_vec(),
                data: array.iter().copied().collect::<Vec<u8>>().into(),
            }
        }
        _ => {
            let array = ArrayViewD::<f32>::view_npy(file)?;
            let values: Vec<f32> = array.iter().copied().collect();
            Tensor::f32(array.shape(), &values)
        }
    })
}
