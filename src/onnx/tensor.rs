//! Tensors of a model: element type, dimensions, and bytes that may borrow from the mapped file.

use bytes::Bytes;
use half::{bf16, f16};

use super::OnnxError;
use super::messages::{StringStringEntryProto, TensorProto};

/// Element types of ONNX tensors, with the numbers of `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum DataType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Bfloat16 = 16,
}

impl DataType {
    /// The type with this `TensorProto.DataType` number; `None` for strings, complex numbers and
    /// types narrower than a byte.
    pub fn from_number(number: i32) -> Option<Self> {
        use DataType::*;
        [
            Float, Uint8, Int8, Uint16, Int16, Int32, Int64, Bool, Float16, Double, Uint32, Uint64,
            Bfloat16,
        ]
        .into_iter()
        .find(|d| *d as i32 == number)
    }

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        use DataType::*;
        match self {
            Uint8 | Int8 | Bool => 1,
            Uint16 | Int16 | Float16 | Bfloat16 => 2,
            Float | Int32 | Uint32 => 4,
            Int64 | Double | Uint64 => 8,
        }
    }

    /// Whether values of this type are real numbers that a gradient can flow through.
    pub fn is_float(self) -> bool {
        use DataType::*;
        matches!(self, Float | Float16 | Double | Bfloat16)
    }
}

/// A dense tensor; `data` holds the elements in row-major order, little-endian.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions; empty for a scalar.
    pub dims: Vec<usize>,
    /// Elements, `dims` product times the element size bytes.
    pub data: Bytes,
}

impl PartialEq for Tensor {
    /// Data that are one piece of memory are equal without being read.
    fn eq(&self, other: &Self) -> bool {
        let piece = |t: &Tensor| (t.data.as_ptr(), t.data.len());
        (self.dtype, &self.dims) == (other.dtype, &other.dims)
            && (piece(self) == piece(other) || self.data == other.data)
    }
}

/// The product of `dims`, or `None` if it overflows.
pub fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= isize::MAX as usize)
}

impl Tensor {
    /// A float32 tensor. The length of `values` must be the product of `dims`.
    pub fn f32(dims: &[usize], values: &[f32]) -> Self {
        debug_assert_eq!(element_count(dims), Some(values.len()));
        Tensor {
            dtype: DataType::Float,
            dims: dims.to_vec(),
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// An int64 tensor of one dimension.
    pub fn i64s(values: &[i64]) -> Self {
        Tensor {
            dtype: DataType::Int64,
            dims: vec![values.len()],
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// A float32 scalar.
    pub fn scalar_f32(value: f32) -> Self {
        Tensor::f32(&[], &[value])
    }

    /// An int64 scalar.
    pub fn scalar_i64(value: i64) -> Self {
        Tensor {
            dims: vec![],
            ..Tensor::i64s(&[value])
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements as float32, converted from any float type; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let d = &self.data;
        Some(match self.dtype {
            DataType::Float => chunks(d).map(f32::from_le_bytes).collect(),
            DataType::Double => chunks(d).map(|b| f64::from_le_bytes(b) as f32).collect(),
            DataType::Float16 => chunks(d).map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            DataType::Bfloat16 => chunks(d).map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            _ => return None,
        })
    }

    /// The elements as int64, converted from any integer or bool type; `None` for other types.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let d = &self.data;
        Some(match self.dtype {
            DataType::Int64 => chunks(d).map(i64::from_le_bytes).collect(),
            DataType::Int32 => chunks(d).map(|b| i32::from_le_bytes(b).into()).collect(),
            DataType::Int16 => chunks(d).map(|b| i16::from_le_bytes(b).into()).collect(),
            DataType::Int8 => d.iter().map(|&b| (b as i8).into()).collect(),
            DataType::Uint8 | DataType::Bool => d.iter().map(|&b| b.into()).collect(),
            DataType::Uint16 => chunks(d).map(|b| u16::from_le_bytes(b).into()).collect(),
            DataType::Uint32 => chunks(d).map(|b| u32::from_le_bytes(b).into()).collect(),
            DataType::Uint64 => chunks(d)
                .map(|b| i64::try_from(u64::from_le_bytes(b)).ok())
                .collect::<Option<_>>()?,
            _ => return None,
        })
    }

    /// This tensor's values replaced by `values`, in this tensor's own float type.
    pub fn with_f32_values(&self, values: &[f32]) -> Option<Self> {
        if values.len() != self.len() {
            return None;
        }
        let data = match self.dtype {
            DataType::Float => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DataType::Double => values
                .iter()
                .flat_map(|&v| f64::from(v).to_le_bytes())
                .collect(),
            DataType::Float16 => values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
            DataType::Bfloat16 => values
                .iter()
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect(),
            _ => return None,
        };
        Some(Tensor {
            data,
            ..self.clone()
        })
    }

    /// The tensor of a message whose values lie in the message itself.
    ///
    /// # Errors
    /// When the type is unsupported, the data is external, or its length does not fit the
    /// dimensions.
    pub fn from_proto(proto: &TensorProto) -> Result<Self, OnnxError> {
        let name = proto.name.as_deref().unwrap_or("");
        let (dtype, dims) = declaration(proto)?;
        if is_external(proto) && proto.raw_data.is_none() {
            return Err(OnnxError::tensor(name, "its data is external"));
        }
        let data = match &proto.raw_data {
            Some(raw) => raw.clone(),
            None => typed_data(proto, dtype),
        };
        Tensor::checked(name, dtype, dims, data)
    }

    /// A tensor whose data length has been held against its dimensions.
    pub(super) fn checked(
        name: &str,
        dtype: DataType,
        dims: Vec<usize>,
        data: Bytes,
    ) -> Result<Self, OnnxError> {
        Self::fits(name, dtype, &dims, data.len() as u64)?;
        Ok(Tensor { dtype, dims, data })
    }

    /// Holds the length of data in bytes against dimensions.
    pub(super) fn fits(
        name: &str,
        dtype: DataType,
        dims: &[usize],
        bytes: u64,
    ) -> Result<(), OnnxError> {
        let expected = element_count(dims).and_then(|n| n.checked_mul(dtype.size()));
        match expected.is_some_and(|n| n as u64 == bytes) {
            true => Ok(()),
            false => Err(OnnxError::tensor(
                name,
                format!("dimensions {dims:?} of {dtype:?} do not fit {bytes} bytes of data"),
            )),
        }
    }

    /// A message that holds this tensor in `raw_data`.
    pub fn to_proto(&self, name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            dims: self.dims.iter().map(|&d| d as i64).collect(),
            data_type: Some(self.dtype as i32),
            raw_data: Some(self.data.clone()),
            ..TensorProto::default()
        }
    }
}

/// Whether a message's values lie in another file.
pub fn is_external(proto: &TensorProto) -> bool {
    proto.data_location == Some(1)
}

/// Gives a message values that are to lie in another file once it is written.
pub(crate) fn set_at_hand(proto: &mut TensorProto, values: Bytes) {
    let is_place = |key: &str| ["location", "offset", "length"].contains(&key);
    let stays = |note: &StringStringEntryProto| !is_place(note.key.as_deref().unwrap_or_default());
    proto.external_data.retain(stays);
    proto.data_location = Some(1);
    proto.raw_data = Some(values);
}

/// Makes a message say that its values lie in the file `location`, `length` bytes from `offset`.
pub fn set_external(proto: &mut TensorProto, location: &str, offset: u64, length: usize) {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    proto.raw_data = None;
    proto.data_location = Some(1);
    proto.external_data = vec![
        entry("location", location.to_owned()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
}

/// Element type and dimensions that a tensor message declares.
///
/// # Errors
/// When the type is unsupported or a dimension negative.
pub fn declaration(proto: &TensorProto) -> Result<(DataType, Vec<usize>), OnnxError> {
    let name = proto.name.as_deref().unwrap_or("");
    let number = proto.data_type.unwrap_or(0);
    let dtype = DataType::from_number(number).ok_or_else(|| {
        OnnxError::tensor(name, format!("element type {number} is not supported"))
    })?;
    let dims = proto
        .dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| OnnxError::tensor(name, format!("negative dimension in {:?}", proto.dims)))?;
    Ok((dtype, dims))
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

/// The values of the typed repeated fields as raw bytes (`onnx.proto` says which field serves
/// which element type).
fn typed_data(proto: &TensorProto, dtype: DataType) -> Bytes {
    use DataType::*;
    let ints = proto.int32_data.iter();
    match dtype {
        Float => proto
            .float_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Double => proto
            .double_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Int64 => proto
            .int64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Uint64 => proto
            .uint64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        Uint32 => proto
            .uint64_data
            .iter()
            .flat_map(|&v| (v as u32).to_le_bytes())
            .collect(),
        Int32 => ints.flat_map(|v| v.to_le_bytes()).collect(),
        Int16 | Uint16 | Float16 | Bfloat16 => {
            ints.flat_map(|&v| (v as u16).to_le_bytes()).collect()
        }
        Int8 | Uint8 | Bool => ints.map(|&v| v as u8).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_fields_and_raw_data_give_the_same_values() {
        let typed = TensorProto {
            dims: vec![2],
            data_type: Some(10),
            int32_data: vec![0x3c00, 0xc000],
            ..TensorProto::default()
        };
        let tensor = Tensor::from_proto(&typed).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [1.0, -2.0]);
        let raw = tensor.to_proto("t");
        assert_eq!(Tensor::from_proto(&raw).unwrap(), tensor);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for dims in [vec![3], vec![-1], vec![i64::MAX, i64::MAX]] {
            let proto = TensorProto {
                dims,
                data_type: Some(1),
                raw_data: Some(Bytes::from_static(&[0; 8])),
                ..TensorProto::default()
            };
            assert!(Tensor::from_proto(&proto).is_err());
        }
    }

    #[test]
    fn float16_values_are_written_back_as_float16() {
        let t = Tensor {
            dtype: DataType::Float16,
            dims: vec![1],
            data: Bytes::from_static(&[0, 0x3c]),
        };
        let changed = t.with_f32_values(&[0.5]).unwrap();
        assert_eq!(changed.data.len(), 2);
        assert_eq!(changed.to_f32().unwrap(), [0.5]);
    }
}
