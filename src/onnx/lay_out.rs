//! Where the values of tensors lie when a model is written: in its file, or in one beside it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;

use super::beside::LARGEST_FILE;
use super::each_tensor::each_tensor;
use super::messages::{ModelProto, TensorProto};
use super::source::LARGE_WEIGHT;
use super::tensor::{is_external, set_external};
use super::values::{Values, write_parts};
use super::{DataType, Model, OnnxError};

/// Where the values of a model's tensors are to lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Inside what is inside, beside the model what is beside it.
    #[default]
    AsItIs,
    /// Beside it those of initializers of so many bytes and more, and all that are there already. Integers of up to
    /// 1 KiB stay inside: runtimes look at these before they run, as sizes are made of them.
    Beside {
        /// Bytes from which a tensor's values go there.
        least: u64,
    },
    /// All inside.
    Inside,
}

/// Bytes up to which integers stay inside.
const SIZES: u64 = 1024;

/// A model, and where its values are to lie.
#[derive(Debug)]
pub struct Laid {
    model: Model,
    data: String,
    /// What goes to the file beside it, in the order of the file.
    parts: Vec<(u64, Values)>,
    /// How many tensors' values go beside it that were not there.
    pub put_beside: usize,
    /// How many tensors' values come inside.
    pub taken_in: usize,
    /// How many tensors' values are beside it.
    pub beside: usize,
}

/// Decides where the values of `model` are to lie, whose own external data are looked up where they are: those that are
/// beside it go to the file `data`.
///
/// Tensors whose values are one part of a file share it there again. Each of 64 KiB and more begins at a multiple of
/// that, so that every system can map it (`onnx.proto`, at `external_data`).
///
/// # Errors
/// When external data cannot be read, or what is left inside is beyond protobuf's 2 GiB.
pub fn lay_out(model: &Model, placement: Placement, data: &str) -> Result<Laid, OnnxError> {
    let mut proto = model.proto.clone();
    let mut laid = Laid {
        model: model.with_proto(ModelProto::default()),
        data: data.to_owned(),
        parts: Vec::new(),
        put_beside: 0,
        taken_in: 0,
        beside: 0,
    };
    let mut shared = HashMap::new();
    // They are visited first.
    let mut initializers = proto.graph.as_ref().map_or(0, |g| g.initializer.len());
    each_tensor(&mut proto, |tensor| {
        let is_initializer = initializers > 0;
        initializers = initializers.saturating_sub(1);
        if is_external(tensor) {
            let values = model.external_values(tensor)?;
            match placement {
                Placement::Inside => {
                    clear(tensor);
                    tensor.external_data.clear();
                    tensor.data_location = None;
                    tensor.raw_data = Some(laid.model.stand_in(&values)?);
                    laid.taken_in += 1;
                }
                _ => laid.put(tensor, values, &mut shared),
            }
        } else if let Placement::Beside { least } = placement
            && is_initializer
            // What is in a typed field and of a type that is not known here stays.
            && let Ok(Some(values)) = model.values_of(tensor)
            && values.len() >= least.max(1)
            && !is_size(tensor, &values)
        {
            clear(tensor);
            laid.put(tensor, values, &mut shared);
            laid.put_beside += 1;
        }
        Ok(())
    })?;
    let bytes = proto.encoded_len();
    if bytes > LARGEST_FILE {
        return Err(OnnxError::TooLarge { bytes });
    }
    laid.model.proto = proto;
    Ok(laid)
}

/// Whether shapes may be made of a tensor.
fn is_size(tensor: &TensorProto, values: &Values) -> bool {
    let number = tensor.data_type.unwrap_or(0);
    let integers = [DataType::Int64, DataType::Int32].map(|t| t as i32);
    integers.contains(&number) && values.len() <= SIZES
}

/// Takes the values out of a message.
fn clear(tensor: &mut TensorProto) {
    tensor.float_data.clear();
    tensor.int32_data.clear();
    tensor.int64_data.clear();
    tensor.double_data.clear();
    tensor.uint64_data.clear();
    tensor.raw_data = None;
}

/// A part of a file, by which tensors that share it are known.
type Origin = (PathBuf, u64, u64);

impl Laid {
    /// Puts values into the file beside the model.
    fn put(&mut self, tensor: &mut TensorProto, values: Values, shared: &mut HashMap<Origin, u64>) {
        let len = values.len();
        let end = self.parts.last().map_or(0, |(at, part)| at + part.len());
        let place = match len {
            LARGE_WEIGHT.. => end.next_multiple_of(LARGE_WEIGHT),
            _ => end.next_multiple_of(64),
        };
        let known = values
            .origin()
            .map(|origin| *shared.entry(origin).or_insert(place));
        let offset = known.unwrap_or(place);
        let notes = std::mem::take(&mut tensor.external_data);
        set_external(tensor, &self.data, offset, len as usize);
        let is_place = |key: &str| ["location", "offset", "length"].contains(&key);
        let notes = notes.into_iter();
        tensor
            .external_data
            .extend(notes.filter(|note| !is_place(note.key.as_deref().unwrap_or_default())));
        if offset == place {
            self.parts.push((offset, values));
        }
        self.beside += 1;
    }

    /// The model as it is to be written. Of what lies beside it, its messages name the file that is to be.
    pub fn proto(&self) -> &ModelProto {
        &self.model.proto
    }

    /// Bytes of the model's own file.
    pub fn file_bytes(&self) -> u64 {
        self.model.proto.encoded_len() as u64
    }

    /// Bytes of the file beside it; `None` where there is none.
    pub fn data_bytes(&self) -> Option<u64> {
        let end = self.parts.last().map_or(0, |(at, part)| at + part.len());
        (self.beside > 0).then_some(end)
    }

    /// Writes both files into a folder, whose files of these names are lost, and has the system put them on the disk.
    ///
    /// # Errors
    /// When a file cannot be read or written, or one that is read has been changed.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), OnnxError> {
        if self.beside > 0 {
            let parts = self.parts.iter().map(|(at, part)| (Some(*at), part));
            write_parts(&folder.join(&self.data), &Vec::from_iter(parts))?;
        }
        self.model
            .pieces(&self.model.proto)
            .write(&folder.join(name))?;
        self.model.ensure_unchanged()
    }
}
