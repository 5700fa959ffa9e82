//! Values of tensors that stay in their files until somebody reads them.
//!
//! A model that is [opened in place](Model::open_in_place) has, where the data of large tensors stand in its file, zeros
//! that take no memory. Where such a piece of memory lies says which bytes of the file it stands for, also in an edited
//! copy of the messages; [`Values`] are these bytes, and [`Pieces`] an encoded message that has them as its parts.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;

use super::messages::TensorProto;
use super::source::{LARGE_WEIGHT, Source, zeros};
use super::tensor::{Tensor, is_external};
use super::{Model, OnnxError};

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 18;

/// The values of a tensor, little-endian and in row-major order: in memory, or in a file from which they are read
/// when they are asked for.
#[derive(Clone, Debug)]
pub struct Values(Place);

#[derive(Clone, Debug)]
enum Place {
    Memory(Bytes),
    File(Arc<Source>, Range<u64>),
}

impl Values {
    pub(super) fn in_memory(bytes: Bytes) -> Self {
        Values(Place::Memory(bytes))
    }

    pub(super) fn in_file(source: Arc<Source>, range: Range<u64>) -> Self {
        Values(Place::File(source, range))
    }

    /// How many bytes they are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File(_, range) => range.end - range.start,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of a file where they are.
    pub(super) fn origin(&self) -> Option<(PathBuf, u64, u64)> {
        match &self.0 {
            Place::Memory(_) => None,
            Place::File(source, range) => Some((source.path().to_owned(), range.start, range.end)),
        }
    }

    /// Hands the bytes over, block by block.
    ///
    /// # Errors
    /// Those of `take`, and when the file cannot be read or has changed.
    pub fn blocks<E: From<OnnxError>>(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.0 {
            Place::Memory(bytes) => bytes.chunks(BLOCK).try_for_each(take),
            Place::File(source, range) => {
                let mut buffer = vec![0; BLOCK.min(self.len() as usize)];
                let mut at = range.start;
                while at < range.end {
                    let block = &mut buffer[..BLOCK.min((range.end - at) as usize)];
                    source.read_exact_at(at, block)?;
                    take(block)?;
                    at += block.len() as u64;
                }
                Ok(())
            }
        }
    }

    /// Whether both are the same bytes. What is one piece of memory, or one part of a file, is not read.
    ///
    /// # Errors
    /// When a file cannot be read or has changed.
    pub fn same(&self, other: &Values) -> Result<bool, OnnxError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        match (&self.0, &other.0) {
            (Place::Memory(a), Place::Memory(b)) => Ok(a.as_ptr() == b.as_ptr() || a == b),
            (Place::File(a, at), Place::File(b, of)) if at == of && a.is_same(b) => Ok(true),
            (Place::File(..), Place::Memory(bytes)) => self.are(bytes),
            (Place::Memory(bytes), Place::File(..)) => other.are(bytes),
            (Place::File(..), Place::File(source, range)) => {
                let mut block = vec![0; BLOCK.min(self.len() as usize)];
                let mut at = range.start;
                let mut same = true;
                self.blocks(|own| {
                    if same {
                        let block = &mut block[..own.len()];
                        source.read_exact_at(at, block)?;
                        at += own.len() as u64;
                        same = block == own;
                    }
                    Ok::<_, OnnxError>(())
                })?;
                Ok(same)
            }
        }
    }

    fn are(&self, bytes: &[u8]) -> Result<bool, OnnxError> {
        let mut rest = bytes;
        let mut same = true;
        self.blocks(|block| {
            let (head, tail) = rest.split_at(block.len().min(rest.len()));
            same &= head == block;
            rest = tail;
            Ok::<_, OnnxError>(())
        })?;
        Ok(same)
    }

    /// The bytes in memory, or in a nameless file that is mapped, where they are many.
    ///
    /// # Errors
    /// When the file cannot be read or has changed.
    pub fn read(&self) -> Result<Bytes, OnnxError> {
        match &self.0 {
            Place::Memory(bytes) => Ok(bytes.clone()),
            Place::File(source, range) => Ok(source.copy(range.clone())?.bytes),
        }
    }

    /// Appends them to a file, from file to file where the system can.
    fn write(&self, to: &mut File) -> Result<(), Failed> {
        match &self.0 {
            Place::Memory(bytes) => to.write_all(bytes).map_err(Failed::Write),
            Place::File(source, range) => source.copy_to(range.clone(), to),
        }
    }
}

/// What can go wrong while values go from one file to another.
pub(super) enum Failed {
    Read(OnnxError),
    Write(io::Error),
}

/// Zeros in memory for parts of a file.
#[derive(Debug)]
pub(super) struct Placeholder {
    source: Arc<Source>,
    /// Where in the file the first of the zeros stands.
    offset: u64,
    zeros: Bytes,
    /// Which of them stand for the file: in order, apart from one another.
    left_out: Vec<Range<u64>>,
}

impl Placeholder {
    /// Of a whole file, of which these parts are left out.
    pub fn of_file(source: Arc<Source>, outline: Bytes, left_out: Vec<Range<u64>>) -> Self {
        Placeholder {
            source,
            offset: 0,
            zeros: outline,
            left_out,
        }
    }

    /// Of one part of a file.
    fn of_part(source: &Arc<Source>, range: &Range<u64>) -> io::Result<Self> {
        let len = range.end - range.start;
        Ok(Placeholder {
            source: Arc::clone(source),
            offset: range.start,
            zeros: zeros(len)?,
            left_out: std::iter::once(0..len).collect(),
        })
    }

    fn find(&self, bytes: &Bytes) -> Option<Values> {
        let start = bytes.as_ptr().addr();
        let start = start.checked_sub(self.zeros.as_ptr().addr())? as u64;
        let end = start.checked_add(bytes.len() as u64)?;
        let at = self.left_out.partition_point(|part| part.end <= start);
        let part = self.left_out.get(at)?;
        let inside = part.start <= start && end <= part.end;
        let range = self.offset + start..self.offset + end;
        inside.then(|| Values::in_file(Arc::clone(&self.source), range))
    }

    pub fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        self.source.ensure_unchanged()
    }
}

impl Model {
    /// What a field of bytes of this model's messages holds.
    pub(crate) fn values(&self, bytes: &Bytes) -> Values {
        let large = bytes.len() as u64 >= LARGE_WEIGHT;
        let mut found = self.in_place.iter().filter(|_| large);
        let found = found.find_map(|placeholder| placeholder.find(bytes));
        found.unwrap_or_else(|| Values::in_memory(bytes.clone()))
    }

    /// The values of a tensor of this model, which need not be of a type that is known here where they are raw or
    /// external; `None` of strings.
    ///
    /// # Errors
    /// When declaration and data do not fit, or external data is missing or leaves the folder.
    pub fn values_of(&self, tensor: &TensorProto) -> Result<Option<Values>, OnnxError> {
        match &tensor.raw_data {
            _ if !tensor.string_data.is_empty() => Ok(None),
            _ if is_external(tensor) => self.external_values(tensor).map(Some),
            Some(raw) => Ok(Some(self.values(raw))),
            None => Ok(Some(Values::in_memory(Tensor::from_proto(tensor)?.data))),
        }
    }

    /// Bytes that can stand in a message of this model for `values`.
    ///
    /// # Errors
    /// When the system has no room for them.
    pub(super) fn stand_in(&mut self, values: &Values) -> Result<Bytes, OnnxError> {
        match &values.0 {
            Place::File(source, range) if values.len() >= LARGE_WEIGHT => {
                let placeholder = Placeholder::of_part(source, range);
                let placeholder = placeholder.map_err(|e| source.failed(e))?;
                let zeros = placeholder.zeros.clone();
                self.in_place.push(Arc::new(placeholder));
                Ok(zeros)
            }
            _ => values.read(),
        }
    }

    /// Takes the tensors of another model that are in place along, so that messages of both can stand in one.
    pub fn with_values_of(mut self, other: &Model) -> Self {
        self.in_place.extend(other.in_place.iter().cloned());
        self
    }

    /// A message of this model, encoded.
    pub(crate) fn pieces(&self, message: &impl Message) -> Pieces {
        let mut collector = Collector::default();
        message.encode_raw(&mut collector);
        collector.flush();
        let piece = |bytes: &Bytes| self.values(bytes);
        Pieces(collector.pieces.iter().map(piece).collect())
    }
}

/// An encoded message: large fields of bytes are parts of their own.
pub(crate) struct Pieces(Vec<Values>);

impl Pieces {
    /// As [`Values::blocks`].
    ///
    /// # Errors
    /// As [`Values::blocks`].
    pub fn blocks<E: From<OnnxError>>(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0
            .iter()
            .try_for_each(|values| values.blocks(&mut take))
    }

    /// Writes them to a new file, and has the system put it on the disk.
    pub(super) fn write(&self, to: &std::path::Path) -> Result<(), OnnxError> {
        let parts: Vec<(Option<u64>, &Values)> = self.0.iter().map(|v| (None, v)).collect();
        write_parts(to, &parts)
    }
}

/// Writes a new file of parts, each behind the one before it or at a place of its own.
pub(super) fn write_parts(
    to: &std::path::Path,
    parts: &[(Option<u64>, &Values)],
) -> Result<(), OnnxError> {
    use std::io::Seek;
    let failed = |source| OnnxError::Write {
        path: to.to_owned(),
        source,
    };
    super::fault::change("write", to).map_err(failed)?;
    let mut file = File::create(to).map_err(failed)?;
    for (at, values) in parts {
        if let Some(at) = at {
            file.seek(io::SeekFrom::Start(*at)).map_err(failed)?;
        }
        values.write(&mut file).map_err(|error| match error {
            Failed::Read(error) => error,
            Failed::Write(error) => failed(error),
        })?;
    }
    super::fault::change("sync", to).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Takes an encoded message, in pieces of text and large fields of bytes, which are not copied.
#[derive(Default)]
struct Collector {
    pieces: Vec<Bytes>,
    text: Vec<u8>,
}

impl Collector {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(std::mem::take(&mut self.text).into());
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: what `BufMut` asks of the memory that is handed out is left to `Vec`, whose methods these are.
unsafe impl BufMut for Collector {
    fn remaining_mut(&self) -> usize {
        self.text.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has filled so many bytes of the `chunk_mut` below.
        unsafe { self.text.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.text.chunk_mut()
    }

    fn put<T: Buf>(&mut self, mut source: T) {
        if source.remaining() as u64 >= LARGE_WEIGHT {
            self.flush();
            self.pieces.push(source.copy_to_bytes(source.remaining()));
        } else {
            self.text.put(source);
        }
    }

    fn put_slice(&mut self, source: &[u8]) {
        self.text.extend_from_slice(source);
    }
}
