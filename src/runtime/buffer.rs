use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ort::{
    memory::Allocator,
    value::{PrimitiveTensorElementType, Tensor},
};

use super::{Runtime, RuntimeError, capture, dtype};

/// A tensor in memory of onnxruntime, which sessions read and write in place: on the host, or
/// ([`Session::buffer_f32`](super::Session::buffer_f32)) on the device of a session, from and to which it is copied.
///
/// Cloning shares the memory. The same buffer may be bound in any number of sessions, and its
/// numbers may be changed between runs. Its address never changes.
///
/// **Aliasing.** A run borrows the buffers it binds, inputs for reading and outputs for writing,
/// from its first to its last instruction; [`Read`] and [`Write`] borrow for as long as they live.
/// Whoever comes second when two borrows conflict gets [`RuntimeError::BufferInUse`] at once:
/// nothing waits, and nothing is read half-written.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    dims: Vec<usize>,
    tensor: Typed,
    /// Whether the host can read and write it in place.
    is_host: bool,
    /// How often it was borrowed for writing.
    writes: AtomicU64,
}

enum Typed {
    F32(RwLock<Tensor<f32>>),
    I64(RwLock<Tensor<i64>>),
}

/// The numbers of a buffer, borrowed for reading.
pub struct Read<'a, T: PrimitiveTensorElementType + fmt::Debug>(RwLockReadGuard<'a, Tensor<T>>);

/// The numbers of a buffer, borrowed for changing.
pub struct Write<'a, T: PrimitiveTensorElementType + fmt::Debug>(RwLockWriteGuard<'a, Tensor<T>>);

impl<T: PrimitiveTensorElementType + fmt::Debug> Deref for Read<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.0.extract_tensor().1
    }
}

impl<T: PrimitiveTensorElementType + fmt::Debug> Deref for Write<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.0.extract_tensor().1
    }
}

impl<T: PrimitiveTensorElementType + fmt::Debug> DerefMut for Write<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.extract_tensor_mut().1
    }
}

impl Buffer {
    /// A buffer of zeros, 32-bit floats; `[]` is a scalar.
    ///
    /// # Errors
    /// When no library is loaded or there is no memory.
    pub fn zeros_f32(dims: &[usize]) -> Result<Self, RuntimeError> {
        let tensor = Typed::F32(RwLock::new(zeros(dims)?));
        Ok(Self::new(dims, tensor, true))
    }

    /// A buffer of zeros, 64-bit integers; `[]` is a scalar.
    ///
    /// # Errors
    /// When no library is loaded or there is no memory.
    pub fn zeros_i64(dims: &[usize]) -> Result<Self, RuntimeError> {
        let tensor = Typed::I64(RwLock::new(zeros(dims)?));
        Ok(Self::new(dims, tensor, true))
    }

    /// As this one, without its numbers, of memory that `allocator` has on a device.
    ///
    /// # Errors
    /// When the device has no memory.
    pub(super) fn on_device(&self, allocator: &Allocator) -> Result<Self, RuntimeError> {
        let dims = self.dims();
        let refused = |error: ort::Error| no_memory(dims, &error);
        let tensor = match self.0.tensor {
            Typed::F32(_) => {
                Typed::F32(RwLock::new(Tensor::new(allocator, dims).map_err(refused)?))
            }
            Typed::I64(_) => {
                Typed::I64(RwLock::new(Tensor::new(allocator, dims).map_err(refused)?))
            }
        };
        Ok(Self::new(dims, tensor, false))
    }

    fn new(dims: &[usize], tensor: Typed, is_host: bool) -> Self {
        Self(Arc::new(Inner {
            dims: dims.to_vec(),
            tensor,
            is_host,
            writes: AtomicU64::new(0),
        }))
    }

    /// A buffer that starts with a copy of `values`, in row-major order.
    ///
    /// # Errors
    /// When the number of values does not fit `dims`, no library is loaded or there is no memory.
    pub fn from_f32(dims: &[usize], values: &[f32]) -> Result<Self, RuntimeError> {
        let buffer = Self::zeros_f32(dims)?;
        copy_into(dims, &mut buffer.as_f32_mut()?, values)?;
        Ok(buffer)
    }

    /// A buffer that starts with a copy of `values`, in row-major order.
    ///
    /// # Errors
    /// When the number of values does not fit `dims`, no library is loaded or there is no memory.
    pub fn from_i64(dims: &[usize], values: &[i64]) -> Result<Self, RuntimeError> {
        let buffer = Self::zeros_i64(dims)?;
        copy_into(dims, &mut buffer.as_i64_mut()?, values)?;
        Ok(buffer)
    }

    /// Size of every dimension.
    pub fn dims(&self) -> &[usize] {
        &self.0.dims
    }

    /// The ONNX number of the element type: [`dtype::FLOAT`] or [`dtype::INT64`].
    pub fn dtype(&self) -> i32 {
        match self.0.tensor {
            Typed::F32(_) => dtype::FLOAT,
            Typed::I64(_) => dtype::INT64,
        }
    }

    /// Borrows the numbers for reading.
    ///
    /// # Errors
    /// When the buffer holds integers, is being written, or is not on the host.
    pub fn as_f32(&self) -> Result<Read<'_, f32>, RuntimeError> {
        self.on_host()?;
        match self.borrow_input()? {
            Borrow::ReadF32(read) => Ok(read),
            _ => Err(self.not("f32")),
        }
    }

    /// Borrows the numbers for changing.
    ///
    /// # Errors
    /// When the buffer holds integers, is being read or written, or is not on the host.
    pub fn as_f32_mut(&self) -> Result<Write<'_, f32>, RuntimeError> {
        self.on_host()?;
        match self.borrow_output()? {
            Borrow::WriteF32(write) => Ok(write),
            _ => Err(self.not("f32")),
        }
    }

    /// Borrows the numbers for reading.
    ///
    /// # Errors
    /// When the buffer holds floats, is being written, or is not on the host.
    pub fn as_i64(&self) -> Result<Read<'_, i64>, RuntimeError> {
        self.on_host()?;
        match self.borrow_input()? {
            Borrow::ReadI64(read) => Ok(read),
            _ => Err(self.not("i64")),
        }
    }

    /// Borrows the numbers for changing.
    ///
    /// # Errors
    /// When the buffer holds floats, is being read or written, or is not on the host.
    pub fn as_i64_mut(&self) -> Result<Write<'_, i64>, RuntimeError> {
        self.on_host()?;
        match self.borrow_output()? {
            Borrow::WriteI64(write) => Ok(write),
            _ => Err(self.not("i64")),
        }
    }

    /// Takes over the numbers of `other`, wherever each of the two is.
    ///
    /// # Errors
    /// When they differ in type or dimensions, one is in use, or the device fails.
    pub fn copy_from(&self, other: &Self) -> Result<(), RuntimeError> {
        let _running = (!(self.0.is_host && other.0.is_host)).then(capture::running);
        self.take_over(other)
    }

    /// As [`Buffer::copy_from`], within a run.
    pub(super) fn take_over(&self, other: &Self) -> Result<(), RuntimeError> {
        if self.dims() != other.dims() {
            let reason = format!("{:?} values do not fill it", other.dims());
            return Err(refused(self.dims(), reason));
        }
        let is_host = self.0.is_host && other.0.is_host;
        match (self.borrow_output()?, other.borrow_input()?) {
            (Borrow::WriteF32(mut to), Borrow::ReadF32(from)) if is_host => {
                to.copy_from_slice(&from)
            }
            (Borrow::WriteI64(mut to), Borrow::ReadI64(from)) if is_host => {
                to.copy_from_slice(&from)
            }
            (Borrow::WriteF32(mut to), Borrow::ReadF32(from)) => {
                let copied = from.0.copy_into(&mut *to.0);
                copied.map_err(|error| refused(self.dims(), error.to_string()))?;
            }
            (Borrow::WriteI64(mut to), Borrow::ReadI64(from)) => {
                let copied = from.0.copy_into(&mut *to.0);
                copied.map_err(|error| refused(self.dims(), error.to_string()))?;
            }
            (Borrow::WriteF32(_), _) => return Err(other.not("f32")),
            _ => return Err(other.not("i64")),
        }
        Ok(())
    }

    /// A copy of the numbers, wherever they are.
    ///
    /// # Errors
    /// When the buffer holds integers or is being written, or the device fails.
    pub fn to_f32(&self) -> Result<Vec<f32>, RuntimeError> {
        if self.0.is_host {
            return Ok(self.as_f32()?.to_vec());
        }
        let copy = Self::zeros_f32(self.dims())?;
        copy.copy_from(self)?;
        Ok(copy.as_f32()?.to_vec())
    }

    /// Puts these numbers in place of its own, wherever they are.
    ///
    /// # Errors
    /// When it holds integers or as many as these do not fill it, it is in use, or the device fails.
    pub fn write_f32(&self, values: &[f32]) -> Result<(), RuntimeError> {
        match self.0.is_host {
            true => copy_into(self.dims(), &mut self.as_f32_mut()?, values),
            false => self.copy_from(&Self::from_f32(self.dims(), values)?),
        }
    }

    /// Whether the host can read and write it in place.
    pub(super) fn is_host(&self) -> bool {
        self.0.is_host
    }

    /// Zeros of its type and dimensions on the host.
    pub(super) fn like(&self) -> Result<Self, RuntimeError> {
        match self.0.tensor {
            Typed::F32(_) => Self::zeros_f32(self.dims()),
            Typed::I64(_) => Self::zeros_i64(self.dims()),
        }
    }

    /// A number that is another one after each borrow for writing.
    pub(super) fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    /// True when both are handles of one memory.
    pub fn shares_memory_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Borrows for the length of a run that reads the buffer.
    pub(super) fn borrow_input(&self) -> Result<Borrow<'_>, RuntimeError> {
        let in_use = || self.in_use();
        Ok(match &self.0.tensor {
            Typed::F32(lock) => Borrow::ReadF32(Read(lock.try_read().map_err(|_| in_use())?)),
            Typed::I64(lock) => Borrow::ReadI64(Read(lock.try_read().map_err(|_| in_use())?)),
        })
    }

    /// Borrows for the length of a run that writes the buffer.
    pub(super) fn borrow_output(&self) -> Result<Borrow<'_>, RuntimeError> {
        let in_use = || self.in_use();
        let borrow = match &self.0.tensor {
            Typed::F32(lock) => Borrow::WriteF32(Write(lock.try_write().map_err(|_| in_use())?)),
            Typed::I64(lock) => Borrow::WriteI64(Write(lock.try_write().map_err(|_| in_use())?)),
        };
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        Ok(borrow)
    }

    fn on_host(&self) -> Result<(), RuntimeError> {
        match self.0.is_host {
            true => Ok(()),
            false => {
                let reason = "it is in the memory of the device, from which it is to be copied";
                Err(refused(self.dims(), reason.to_owned()))
            }
        }
    }

    fn in_use(&self) -> RuntimeError {
        RuntimeError::BufferInUse(format!("a buffer of dimensions {:?}", self.0.dims))
    }

    fn not(&self, asked: &'static str) -> RuntimeError {
        let holds = if asked == "f32" { "i64" } else { "f32" };
        RuntimeError::BufferType { holds, asked }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("dims", &self.0.dims)
            .finish_non_exhaustive()
    }
}

/// A borrow of a buffer of either type.
pub(super) enum Borrow<'a> {
    ReadF32(Read<'a, f32>),
    ReadI64(Read<'a, i64>),
    WriteF32(Write<'a, f32>),
    WriteI64(Write<'a, i64>),
}

impl Borrow<'_> {
    /// The borrowed tensor itself, not a copy, as an input.
    #[cfg(feature = "training")]
    pub(super) fn as_input(&self) -> ort::session::SessionInputValue<'_> {
        match self {
            Self::ReadF32(guard) => (&*guard.0).into(),
            Self::ReadI64(guard) => (&*guard.0).into(),
            Self::WriteF32(guard) => (&*guard.0).into(),
            Self::WriteI64(guard) => (&*guard.0).into(),
        }
    }

    /// Binds the borrowed tensor itself, not a copy: onnxruntime reads or writes its memory.
    pub(super) fn bind(
        &mut self,
        binding: &mut ort::session::IoBinding,
        name: &str,
    ) -> ort::Result<()> {
        match self {
            Self::ReadF32(guard) => binding.bind_input(name, &*guard.0),
            Self::ReadI64(guard) => binding.bind_input(name, &*guard.0),
            Self::WriteF32(guard) => binding.bind_output(name, &mut *guard.0),
            Self::WriteI64(guard) => binding.bind_output(name, &mut *guard.0),
        }
    }
}

fn zeros<T: PrimitiveTensorElementType + fmt::Debug>(
    dims: &[usize],
) -> Result<Tensor<T>, RuntimeError> {
    // Without this, ort would look for a library of its own and panic.
    if !Runtime::is_loaded() {
        return Err(RuntimeError::NotLoaded);
    }
    if dims
        .iter()
        .try_fold(8_usize, |product, dim| product.checked_mul(*dim))
        .is_none()
    {
        let reason = "has more elements than memory can address";
        return Err(refused(dims, reason.to_owned()));
    }
    Tensor::new(&Allocator::default(), dims).map_err(|error| no_memory(dims, &error))
}

fn no_memory(dims: &[usize], error: &ort::Error) -> RuntimeError {
    refused(dims, format!("there is no memory for it ({error})"))
}

fn refused(dims: &[usize], reason: String) -> RuntimeError {
    RuntimeError::Tensor {
        label: "buffer".to_owned(),
        name: format!("{dims:?}"),
        reason,
    }
}

fn copy_into<T: Copy>(dims: &[usize], target: &mut [T], values: &[T]) -> Result<(), RuntimeError> {
    if target.len() != values.len() {
        let reason = format!("{} values do not fill it", values.len());
        return Err(refused(dims, reason));
    }
    target.copy_from_slice(values);
    Ok(())
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
