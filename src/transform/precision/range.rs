//! Whether a type has the values of a tensor.

use half::{bf16, f16};

use crate::onnx::messages::TensorProto;
use crate::onnx::{DataType, Model, OnnxError, element_name};

/// Why a float32 tensor stays what it is, if another type of floats has not its values: some are beyond its range, or all
/// that are not 0 would be.
pub(super) fn unfit(
    model: &Model,
    tensor: &TensorProto,
    to: DataType,
) -> Result<Option<String>, OnnxError> {
    let narrow = |value: f32| match to {
        DataType::Float16 => f16::from_f32(value).to_f32(),
        DataType::Bfloat16 => bf16::from_f32(value).to_f32(),
        _ => value,
    };
    if tensor.data_type != Some(DataType::Float as i32) {
        return Ok(None);
    }
    let Some(values) = model.values_of(tensor)? else {
        return Ok(None);
    };
    let (mut beyond, mut largest, mut any, mut left) = (0u64, 0.0f32, false, false);
    values.blocks(|block| {
        for &bytes in block.as_chunks::<4>().0 {
            let value = f32::from_le_bytes(bytes);
            let new = narrow(value);
            if value.is_finite() && new.is_infinite() {
                beyond += 1;
                largest = largest.max(value.abs());
            }
            any |= value != 0.0;
            left |= new != 0.0;
        }
        Ok::<_, OnnxError>(())
    })?;
    let name = element_name(to as i32);
    Ok(if beyond > 0 {
        let are = if beyond == 1 {
            "value is"
        } else {
            "values are"
        };
        Some(format!(
            "{beyond} {are} beyond the range of {name}, up to {largest:.1e}"
        ))
    } else if any && !left {
        Some(format!("all of its values would be 0 in {name}"))
    } else {
        None
    })
}
