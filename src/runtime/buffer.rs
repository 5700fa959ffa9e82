use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ort::{
    memory::Allocator,
    value::{PrimitiveTensorElementType, Tensor},
};

use super::{Runtime, RuntimeError, dtype};

/// A host tensor in memory of onnxruntime, which sessions read and write in place.
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
        Ok(Self(Arc::new(Inner {
            dims: dims.to_vec(),
            tensor,
        })))
    }

    /// A buffer of zeros, 64-bit integers; `[]` is a scalar.
    ///
    /// # Errors
    /// When no library is loaded or there is no memory.
    pub fn zeros_i64(dims: &[usize]) -> Result<Self, RuntimeError> {
        let tensor = Typed::I64(RwLock::new(zeros(dims)?));
        Ok(Self(Arc::new(Inner {
            dims: dims.to_vec(),
            tensor,
        })))
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
    /// When the buffer holds integers, or is being written.
    pub fn as_f32(&self) -> Result<Read<'_, f32>, RuntimeError> {
        match &self.0.tensor {
            Typed::F32(lock) => lock.try_read().map(Read).map_err(|_| self.in_use()),
            Typed::I64(_) => Err(self.not("f32")),
        }
    }

    /// Borrows the numbers for changing.
    ///
    /// # Errors
    /// When the buffer holds integers, or is being read or written.
    pub fn as_f32_mut(&self) -> Result<Write<'_, f32>, RuntimeError> {
        match &self.0.tensor {
            Typed::F32(lock) => lock.try_write().map(Write).map_err(|_| self.in_use()),
            Typed::I64(_) => Err(self.not("f32")),
        }
    }

    /// Borrows the numbers for reading.
    ///
    /// # Errors
    /// When the buffer holds floats, or is being written.
    pub fn as_i64(&self) -> Result<Read<'_, i64>, RuntimeError> {
        match &self.0.tensor {
            Typed::I64(lock) => lock.try_read().map(Read).map_err(|_| self.in_use()),
            Typed::F32(_) => Err(self.not("i64")),
        }
    }

    /// Borrows the numbers for changing.
    ///
    /// # Errors
    /// When the buffer holds floats, or is being read or written.
    pub fn as_i64_mut(&self) -> Result<Write<'_, i64>, RuntimeError> {
        match &self.0.tensor {
            Typed::I64(lock) => lock.try_write().map(Write).map_err(|_| self.in_use()),
            Typed::F32(_) => Err(self.not("i64")),
        }
    }

    /// True when both are handles of one memory.
    pub fn shares_memory_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Borrows for the length of a run that reads the buffer.
    pub(super) fn borrow_input(&self) -> Result<Borrow<'_>, RuntimeError> {
        Ok(match self.dtype() {
            dtype::FLOAT => Borrow::ReadF32(self.as_f32()?),
            _ => Borrow::ReadI64(self.as_i64()?),
        })
    }

    /// Borrows for the length of a run that writes the buffer.
    pub(super) fn borrow_output(&self) -> Result<Borrow<'_>, RuntimeError> {
        Ok(match self.dtype() {
            dtype::FLOAT => Borrow::WriteF32(self.as_f32_mut()?),
            _ => Borrow::WriteI64(self.as_i64_mut()?),
        })
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
    let refused = |message: String| RuntimeError::Tensor {
        label: "buffer".to_owned(),
        name: format!("{dims:?}"),
        reason: message,
    };
    if dims
        .iter()
        .try_fold(8_usize, |product, dim| product.checked_mul(*dim))
        .is_none()
    {
        return Err(refused(
            "has more elements than memory can address".to_owned(),
        ));
    }
    Tensor::new(&Allocator::default(), dims)
        .map_err(|error| refused(format!("there is no memory for it ({error})")))
}

fn copy_into<T: Copy>(dims: &[usize], target: &mut [T], values: &[T]) -> Result<(), RuntimeError> {
    if target.len() != values.len() {
        return Err(RuntimeError::Tensor {
            label: "buffer".to_owned(),
            name: format!("{dims:?}"),
            reason: format!("{} values do not fill it", values.len()),
        });
    }
    target.copy_from_slice(values);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::runtime;

    #[test]
    fn borrows_exclude_each_other_without_waiting() {
        let Some(_runtime) = runtime() else { return };
        let buffer = Buffer::zeros_f32(&[2, 3]).unwrap();
        let other = buffer.clone();
        let first = buffer.as_f32().unwrap();
        assert_eq!(*first, [0.0; 6]);
        assert!(other.as_f32().is_ok());
        assert!(matches!(
            other.as_f32_mut(),
            Err(RuntimeError::BufferInUse(_))
        ));
        drop(first);
        other.as_f32_mut().unwrap()[4] = 5.0;
        assert_eq!(buffer.as_f32().unwrap()[4], 5.0);
    }

    #[test]
    fn scalars_and_empty_buffers_exist() {
        let Some(_runtime) = runtime() else { return };
        assert_eq!(Buffer::zeros_i64(&[]).unwrap().as_i64().unwrap().len(), 1);
        assert!(
            Buffer::zeros_f32(&[0, 4])
                .unwrap()
                .as_f32()
                .unwrap()
                .is_empty()
        );
        assert!(Buffer::zeros_f32(&[usize::MAX, 2]).is_err());
        assert!(Buffer::from_f32(&[2], &[1.0]).is_err());
    }

    #[test]
    fn a_buffer_is_read_as_what_it_holds_only() {
        let Some(_runtime) = runtime() else { return };
        let buffer = Buffer::from_i64(&[1], &[7]).unwrap();
        assert!(matches!(
            buffer.as_f32(),
            Err(RuntimeError::BufferType { holds: "i64", .. })
        ));
        assert_eq!(*buffer.as_i64().unwrap(), [7]);
    }
}
