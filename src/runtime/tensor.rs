use bytes::Bytes;
use half::f16;
use ndarray::{ArrayD, CowArray, IxDyn};
use ort::{
    AsPointer,
    memory::{Allocator, MemoryInfo},
    session::SessionInputValue,
    value::{DynTensorValueType, DynValue, TensorElementType, TensorRef, ValueType},
};

use super::{Runtime, RuntimeError};

/// Numbers of ONNX's `TensorProto.DataType`.
pub mod dtype {
    /// 32-bit float.
    pub const FLOAT: i32 = 1;
    /// Unsigned byte.
    pub const UINT8: i32 = 2;
    /// Signed 32-bit integer.
    pub const INT32: i32 = 6;
    /// Signed 64-bit integer.
    pub const INT64: i32 = 7;
    /// Boolean.
    pub const BOOL: i32 = 9;
    /// 16-bit float.
    pub const FLOAT16: i32 = 10;
    /// 64-bit float.
    pub const DOUBLE: i32 = 11;
}

/// Element types whose ONNX number, onnxruntime type and size in bytes are known here.
const ELEMENTS: [(i32, TensorElementType, usize); 14] = [
    (1, TensorElementType::Float32, 4),
    (2, TensorElementType::Uint8, 1),
    (3, TensorElementType::Int8, 1),
    (4, TensorElementType::Uint16, 2),
    (5, TensorElementType::Int16, 2),
    (6, TensorElementType::Int32, 4),
    (7, TensorElementType::Int64, 8),
    (8, TensorElementType::String, 0),
    (9, TensorElementType::Bool, 1),
    (10, TensorElementType::Float16, 2),
    (11, TensorElementType::Float64, 8),
    (12, TensorElementType::Uint32, 4),
    (13, TensorElementType::Uint64, 8),
    (16, TensorElementType::Bfloat16, 2),
];

/// The ONNX number of an element type; 0 for the exotic ones.
pub(super) fn dtype_number(element: TensorElementType) -> i32 {
    ELEMENTS
        .iter()
        .find(|(_, known, _)| *known == element)
        .map_or(0, |(number, ..)| *number)
}

/// The name of an element type by its ONNX number.
pub(super) fn dtype_name(number: i32) -> String {
    let known = ELEMENTS.iter().find(|(known, ..)| *known == number);
    known.map_or_else(
        || format!("ONNX {number}"),
        |(_, element, _)| element.to_string(),
    )
}

/// A dense tensor in row-major order, for unbound runs.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
    F16(ArrayD<f16>),
    I64(ArrayD<i64>),
    I32(ArrayD<i32>),
    U8(ArrayD<u8>),
    Bool(ArrayD<bool>),
}

/// Runs `$body` with `$array` bound to the typed array inside, whatever its type.
macro_rules! with_array {
    ($value:expr, $array:ident => $body:expr) => {
        match $value {
            Array::F32($array) => $body,
            Array::F64($array) => $body,
            Array::F16($array) => $body,
            Array::I64($array) => $body,
            Array::I32($array) => $body,
            Array::U8($array) => $body,
            Array::Bool($array) => $body,
        }
    };
}

impl Array {
    /// Size of every dimension.
    pub fn dims(&self) -> &[usize] {
        with_array!(self, array => array.shape())
    }

    /// The ONNX number of the element type, see [`dtype`].
    pub fn dtype(&self) -> i32 {
        match self {
            Self::F32(_) => dtype::FLOAT,
            Self::F64(_) => dtype::DOUBLE,
            Self::F16(_) => dtype::FLOAT16,
            Self::I64(_) => dtype::INT64,
            Self::I32(_) => dtype::INT32,
            Self::U8(_) => dtype::UINT8,
            Self::Bool(_) => dtype::BOOL,
        }
    }

    /// The tensor as 32-bit floats, if it holds them.
    pub fn as_f32(&self) -> Option<&ArrayD<f32>> {
        if let Self::F32(array) = self {
            Some(array)
        } else {
            None
        }
    }

    /// The tensor as 64-bit integers, if it holds them.
    pub fn as_i64(&self) -> Option<&ArrayD<i64>> {
        if let Self::I64(array) = self {
            Some(array)
        } else {
            None
        }
    }

    /// The same numbers with row-major memory, copied only when they are laid out otherwise.
    pub(super) fn to_row_major(&self) -> RowMajor<'_> {
        match self {
            Self::F32(array) => RowMajor::F32(array.as_standard_layout()),
            Self::F64(array) => RowMajor::F64(array.as_standard_layout()),
            Self::F16(array) => RowMajor::F16(array.as_standard_layout()),
            Self::I64(array) => RowMajor::I64(array.as_standard_layout()),
            Self::I32(array) => RowMajor::I32(array.as_standard_layout()),
            Self::U8(array) => RowMajor::U8(array.as_standard_layout()),
            Self::Bool(array) => RowMajor::Bool(array.as_standard_layout()),
        }
    }

    /// Copies a tensor out of onnxruntime's memory.
    pub(super) fn from_value(value: &DynValue) -> Result<Self, String> {
        let Some(element) = value.dtype().tensor_type() else {
            return Err(format!("is a {}, not a tensor", value.dtype()));
        };
        let array = match element {
            TensorElementType::Float32 => {
                value.try_extract_array().map(|a| Self::F32(a.to_owned()))
            }
            TensorElementType::Float64 => {
                value.try_extract_array().map(|a| Self::F64(a.to_owned()))
            }
            TensorElementType::Float16 => {
                value.try_extract_array().map(|a| Self::F16(a.to_owned()))
            }
            TensorElementType::Int64 => value.try_extract_array().map(|a| Self::I64(a.to_owned())),
            TensorElementType::Int32 => value.try_extract_array().map(|a| Self::I32(a.to_owned())),
            TensorElementType::Uint8 => value.try_extract_array().map(|a| Self::U8(a.to_owned())),
            TensorElementType::Bool => return bools(value),
            other => {
                return Err(format!(
                    "has element type {other}, which is not supported here"
                ));
            }
        };
        array.map_err(|error| error.to_string())
    }
}

/// A copy of a tensor of truth values. Its bytes may come from a file and be other than 0 and 1, which
/// no `bool` of Rust's is; all but 0 are true.
#[allow(unsafe_code)]
fn bools(value: &DynValue) -> Result<Array, String> {
    let tensor = value
        .view()
        .downcast::<DynTensorValueType>()
        .map_err(|error| error.to_string())?;
    let ValueType::Tensor { shape, .. } = value.dtype() else {
        return Err("is not a tensor".to_owned());
    };
    let dims: Vec<usize> = shape.iter().map(|&d| d.max(0) as usize).collect();
    let count = dims.iter().product();
    let bytes: &[u8] = match count {
        0 => &[],
        // SAFETY: the tensor lies in the processor's memory, as outputs of unbound runs do, and has a
        // byte for every element, which live as long as the value.
        _ => unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), count) },
    };
    let truths = bytes.iter().map(|&byte| byte != 0).collect();
    let array = ArrayD::from_shape_vec(dims, truths);
    array.map(Array::Bool).map_err(|error| error.to_string())
}

macro_rules! array_from {
    ($($variant:ident: $element:ty),+) => {$(
        impl<D: ndarray::Dimension> From<ndarray::Array<$element, D>> for Array {
            fn from(array: ndarray::Array<$element, D>) -> Self {
                Self::$variant(array.into_dyn())
            }
        }
    )+};
}
array_from!(F32: f32, F64: f64, F16: f16, I64: i64, I32: i32, U8: u8, Bool: bool);

/// See [`Array::to_row_major`].
pub(super) enum RowMajor<'a> {
    F32(CowArray<'a, f32, IxDyn>),
    F64(CowArray<'a, f64, IxDyn>),
    F16(CowArray<'a, f16, IxDyn>),
    I64(CowArray<'a, i64, IxDyn>),
    I32(CowArray<'a, i32, IxDyn>),
    U8(CowArray<'a, u8, IxDyn>),
    Bool(CowArray<'a, bool, IxDyn>),
}

impl RowMajor<'_> {
    /// A view that onnxruntime reads in place.
    pub(super) fn as_input(&self) -> ort::Result<SessionInputValue<'_>> {
        Ok(match self {
            Self::F32(array) => TensorRef::from_array_view(array)?.into(),
            Self::F64(array) => TensorRef::from_array_view(array)?.into(),
            Self::F16(array) => TensorRef::from_array_view(array)?.into(),
            Self::I64(array) => TensorRef::from_array_view(array)?.into(),
            Self::I32(array) => TensorRef::from_array_view(array)?.into(),
            Self::U8(array) => TensorRef::from_array_view(array)?.into(),
            Self::Bool(array) => TensorRef::from_array_view(array)?.into(),
        })
    }
}

/// An immutable tensor that any number of sessions use as an initializer without copying it.
///
/// Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct SharedTensor {
    element: TensorElementType,
    dtype: i32,
    dims: Vec<i64>,
    bytes: Bytes,
}

impl SharedTensor {
    /// A tensor of `dims` whose elements are the little-endian `bytes`, in row-major order; `dtype`
    /// is the number of ONNX's `TensorProto.DataType`.
    ///
    /// The bytes are shared, or copied once when they are not aligned to the element type.
    ///
    /// # Errors
    /// When the element type is not one of fixed size in whole bytes, or the length does not fit
    /// the dimensions.
    pub fn new(name: &str, dtype: i32, dims: &[usize], bytes: Bytes) -> Result<Self, RuntimeError> {
        let wrong = |reason: String| RuntimeError::Tensor {
            label: "initializer".to_owned(),
            name: name.to_owned(),
            reason,
        };
        let (_, element, size) = ELEMENTS
            .into_iter()
            .find(|(number, _, size)| *number == dtype && *size > 0)
            .ok_or_else(|| wrong(format!("element type {dtype} cannot be shared")))?;
        let needed = dims
            .iter()
            .try_fold(size, |product, dim| product.checked_mul(*dim));
        if needed != Some(bytes.len()) {
            return Err(wrong(format!(
                "{} bytes do not fill dimensions {dims:?} of {size} bytes an element",
                bytes.len()
            )));
        }
        let bytes = if bytes.as_ptr().addr().is_multiple_of(size) {
            bytes
        } else {
            aligned_copy(&bytes)
        };
        Ok(Self {
            element,
            dtype,
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            bytes,
        })
    }

    /// A tensor of 32-bit floats, copied from `values` in row-major order.
    ///
    /// # Errors
    /// When the number of values does not fit the dimensions.
    pub fn from_f32(name: &str, dims: &[usize], values: &[f32]) -> Result<Self, RuntimeError> {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect::<Vec<u8>>();
        Self::new(name, dtype::FLOAT, dims, bytes.into())
    }

    /// The ONNX number of the element type.
    pub fn dtype(&self) -> i32 {
        self.dtype
    }

    /// Length in bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// An onnxruntime tensor over the same bytes. The caller keeps `self` (or a clone) alive for as
    /// long as onnxruntime may read the value.
    #[allow(unsafe_code)]
    pub(super) fn as_value(&self, _loaded: &Runtime) -> ort::Result<DynValue> {
        let memory = MemoryInfo::default();
        let mut value = std::ptr::null_mut();
        // SAFETY: the pointer and length describe `self.bytes`, which do not move and which the
        // caller keeps alive; onnxruntime only reads initializers, though the API asks for a
        // mutable pointer. Alignment and length were checked by `new`. The new value is owned by
        // the returned `DynValue`.
        unsafe {
            ort::Error::result_from_status((ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                self.bytes.as_ptr().cast_mut().cast(),
                self.bytes.len(),
                self.dims.as_ptr(),
                self.dims.len(),
                self.element.into(),
                &mut value,
            ))?;
            let value = std::ptr::NonNull::new(value)
                .ok_or_else(|| ort::Error::new("onnxruntime made no tensor"))?;
            Ok(DynValue::from_ptr(value, Some(&Allocator::default())))
        }
    }
}

/// The same bytes at an address aligned to 8 or more.
fn aligned_copy(bytes: &Bytes) -> Bytes {
    struct Words(Vec<u64>, usize);
    impl AsRef<[u8]> for Words {
        #[allow(unsafe_code)]
        fn as_ref(&self) -> &[u8] {
            // SAFETY: any u64 is eight initialised bytes, and `self.1` is at most their number.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.1) }
        }
    }
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    });
    Bytes::from_owner(Words(words.collect(), bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_tensors_refuse_what_does_not_fit() {
        let bytes = Bytes::from_static(&[0; 12]);
        assert!(SharedTensor::new("w", dtype::FLOAT, &[3], bytes.clone()).is_ok());
        for (number, dims) in [
            (dtype::FLOAT, vec![2]),
            (8, vec![12]),
            (99, vec![12]),
            (1, vec![usize::MAX, 2]),
        ] {
            let error = SharedTensor::new("w", number, &dims, bytes.clone()).unwrap_err();
            assert!(error.to_string().contains("`w`"), "{error}");
        }
    }

    #[test]
    fn misaligned_bytes_are_copied_and_aligned_ones_shared() {
        let all = Bytes::from(vec![7_u8; 64]);
        let start = all.as_ptr().align_offset(8);
        let aligned = all.slice(start..start + 8);
        let shared = SharedTensor::new("w", dtype::FLOAT, &[2], aligned.clone()).unwrap();
        assert_eq!(shared.bytes.as_ptr(), aligned.as_ptr());
        let shifted = all.slice(start + 1..start + 9);
        let copied = SharedTensor::new("w", dtype::FLOAT, &[2], shifted.clone()).unwrap();
        assert_eq!(copied.bytes.as_ptr().addr() % 8, 0);
        assert_eq!(copied.bytes, shifted);
    }
}
