//! Values of tensors, in memory or in a file, and encoded messages that have them as their parts.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use half::f16;
use half::slice::HalfFloatSliceExt;
use prost::Message;

use super::OnnxError;
use super::source::{LARGE_WEIGHT, Source};
use super::tensor::{DataType, Tensor};

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
    /// Floats of the one type, as those of the other.
    Cast(Box<Values>, [DataType; 2]),
}

impl Values {
    pub(super) fn in_memory(bytes: Bytes) -> Self {
        Values(Place::Memory(bytes))
    }

    pub(super) fn in_file(source: Arc<Source>, range: Range<u64>) -> Self {
        Values(Place::File(source, range))
    }

    /// Floats of one type, each as the nearest of another, ties to even.
    pub(super) fn cast(self, types: [DataType; 2]) -> Self {
        Values(Place::Cast(Box::new(self), types))
    }

    /// How many bytes they are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Place::Cast(of, [from, to]) => of.len() / from.size() as u64 * to.size() as u64,
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File(_, range) => range.end - range.start,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are in memory.
    pub(super) fn are_in_memory(&self) -> bool {
        matches!(self.0, Place::Memory(_))
    }

    /// The part of a file where they are, and as what they are read from there, if that is another type.
    pub(super) fn origin(&self) -> Option<Origin> {
        match &self.0 {
            Place::Memory(_) => None,
            Place::File(source, range) => Some(Origin {
                path: source.path().to_owned(),
                range: [range.start, range.end],
                cast: None,
            }),
            Place::Cast(of, types) => of.origin().map(|origin| Origin {
                cast: Some(*types),
                ..origin
            }),
        }
    }

    /// That the file where they are is what it was.
    pub(super) fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        match &self.0 {
            Place::Memory(_) => Ok(()),
            Place::File(source, _) => source.ensure_unchanged(),
            Place::Cast(of, _) => of.ensure_unchanged(),
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
        self.each_block(&mut take)
    }

    fn each_block<E: From<OnnxError>>(
        &self,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.0 {
            Place::Cast(of, types) => of.each_block(&mut |block| take(&as_type(block, *types))),
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

    /// Fills `buffer` with the bytes from `at` on, which must be there.
    ///
    /// # Errors
    /// When the file cannot be read or has changed.
    pub(crate) fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), OnnxError> {
        match &self.0 {
            Place::Memory(bytes) => {
                let at = at as usize;
                buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
                Ok(())
            }
            Place::File(source, range) => source.read_exact_at(range.start + at, buffer),
            Place::Cast(of, [from, to]) => {
                let (width, size) = (to.size() as u64, from.size() as u64);
                let end = at + buffer.len() as u64;
                let floats = at / width..end.div_ceil(width);
                let mut own = vec![0; ((floats.end - floats.start) * size) as usize];
                of.read_at(floats.start * size, &mut own)?;
                let start = (at - floats.start * width) as usize;
                buffer.copy_from_slice(&as_type(&own, [*from, *to])[start..][..buffer.len()]);
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
            (_, Place::Memory(bytes)) => self.are(bytes),
            (Place::Memory(bytes), _) => other.are(bytes),
            (Place::Cast(a, cast), Place::Cast(b, other)) if cast == other => a.same(b),
            (Place::Cast(..), Place::Cast(..)) => self.are(&other.read()?),
            (Place::File(..), Place::Cast(..)) => other.same(self),
            (_, Place::File(source, range)) => {
                let mut block = Vec::new();
                let mut at = range.start;
                let mut same = true;
                self.blocks(|own| {
                    if same {
                        block.resize(own.len(), 0);
                        source.read_exact_at(at, &mut block)?;
                        at += own.len() as u64;
                        same = block == *own;
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
            Place::Cast(..) => {
                let mut bytes = Vec::with_capacity(self.len() as usize);
                self.blocks(|block| {
                    bytes.extend_from_slice(block);
                    Ok::<_, OnnxError>(())
                })?;
                Ok(bytes.into())
            }
        }
    }

    /// Appends them to a file, from file to file where the system can.
    fn write(&self, to: &mut File) -> Result<(), Failed> {
        match &self.0 {
            Place::Memory(bytes) => to.write_all(bytes).map_err(Failed::Write),
            Place::File(source, range) => source.copy_to(range.clone(), to),
            Place::Cast(..) => self.blocks(|block| to.write_all(block).map_err(Failed::Write)),
        }
    }
}

/// Where values come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    path: PathBuf,
    range: [u64; 2],
    cast: Option<[DataType; 2]>,
}

/// Floats of one type as those of another.
fn as_type(bytes: &[u8], [from, to]: [DataType; 2]) -> Bytes {
    let floats = |dtype: DataType, bytes: Bytes| Tensor {
        dtype,
        dims: Vec::new(),
        data: bytes,
    };
    if (from, to) == (DataType::Float, DataType::Float16) {
        let values: Vec<f32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let mut halves = vec![f16::ZERO; values.len()];
        // With the processor's own instruction, where it has one.
        halves.convert_from_f32_slice(&values);
        return halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    }
    let values = floats(from, Bytes::copy_from_slice(bytes)).to_f32();
    let values = values.unwrap_or_default();
    let zeros = floats(to, vec![0; values.len() * to.size()].into());
    let cast = zeros.with_f32_values(&values);
    cast.map(|tensor| tensor.data).unwrap_or_default()
}

/// What can go wrong while values go from one file to another.
pub(super) enum Failed {
    Read(OnnxError),
    Write(io::Error),
}

impl From<OnnxError> for Failed {
    fn from(error: OnnxError) -> Self {
        Failed::Read(error)
    }
}

/// An encoded message: large fields of bytes are parts of their own.
pub(crate) struct Pieces(Vec<Values>);

impl Pieces {
    /// Of a message; `values` says what a large field of bytes holds.
    pub(super) fn of(message: &impl Message, values: impl Fn(&Bytes) -> Values) -> Self {
        let mut collector = Collector::default();
        message.encode_raw(&mut collector);
        collector.flush();
        Pieces(collector.pieces.iter().map(values).collect())
    }

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
