//! What a session is fed with: floats as values of the type that its input has.

use ndarray::ArrayD;

use crate::onnx::DataType;
use crate::runtime::Array;

use super::ClassifierError;

/// The input of a session, by its name, and what it takes.
pub(super) struct Feed {
    pub(super) name: String,
    dtype: DataType,
}

impl Feed {
    /// An input of a type that pixels can be.
    ///
    /// # Errors
    /// When it is of another.
    pub(super) fn new(name: &str, dtype: Option<DataType>) -> Result<Self, ClassifierError> {
        use DataType::{Double, Float, Float16, Int32, Uint8};
        match dtype {
            Some(dtype @ (Float | Float16 | Double | Uint8 | Int32)) => Ok(Feed {
                name: name.to_owned(),
                dtype,
            }),
            _ => Err(ClassifierError::Mismatch(format!(
                "input `{name}` of the model is {}; images are made floats or whole numbers from 0 to 255",
                dtype.map_or("unknown".into(), |d| format!("{d:?}"))
            ))),
        }
    }

    /// Values of these dimensions as it takes them; whole numbers are the nearest.
    ///
    /// # Errors
    /// When there are more or fewer values.
    pub(super) fn array(&self, dims: &[usize], values: Vec<f32>) -> Result<Array, ClassifierError> {
        fn of<T>(
            dims: &[usize],
            values: Vec<f32>,
            each: impl Fn(f32) -> T,
        ) -> Result<ArrayD<T>, ClassifierError> {
            let values = values.into_iter().map(each).collect();
            ArrayD::from_shape_vec(dims, values)
                .map_err(|e| ClassifierError::Mismatch(e.to_string()))
        }
        Ok(match self.dtype {
            DataType::Float16 => Array::F16(of(dims, values, half::f16::from_f32)?),
            DataType::Double => Array::F64(of(dims, values, f64::from)?),
            DataType::Uint8 => Array::U8(of(dims, values, |v| v.round() as u8)?),
            DataType::Int32 => Array::I32(of(dims, values, |v| v.round() as i32)?),
            _ => Array::F32(of(dims, values, |v| v)?),
        })
    }
}
