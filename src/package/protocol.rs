//! The Open Inference Protocol: what a server says of a model.
//!
//! Source: <https://github.com/kserve/open-inference-protocol>, `inference_rest.md`.

use serde_json::{Value, json};

use crate::onnx::DataType;

use super::PackageError;
use super::facts::{Facts, Port};

/// The protocol's name of an element type.
///
/// # Errors
/// When it has none.
pub fn datatype(dtype: DataType) -> Result<&'static str, PackageError> {
    Ok(match dtype {
        DataType::Bool => "BOOL",
        DataType::Uint8 => "UINT8",
        DataType::Uint16 => "UINT16",
        DataType::Uint32 => "UINT32",
        DataType::Uint64 => "UINT64",
        DataType::Int8 => "INT8",
        DataType::Int16 => "INT16",
        DataType::Int32 => "INT32",
        DataType::Int64 => "INT64",
        DataType::Float16 => "FP16",
        DataType::Float => "FP32",
        DataType::Double => "FP64",
        DataType::Bfloat16 => {
            return Err(PackageError::Unfit(
                "the model takes or gives bfloat16, which the Open Inference Protocol does not name".to_owned(),
            ));
        }
    })
}

/// The answer to `GET v2/models/NAME`; where the model takes any number of samples, or any size, it says −1.
///
/// # Errors
/// When the protocol has no name for a type of the model.
pub fn metadata(facts: &Facts) -> Result<Value, PackageError> {
    let tensor = |port: &Port, dims: Vec<Option<usize>>| -> Result<Value, PackageError> {
        let shape = dims.iter().map(|dim| dim.map_or(-1, |n| n as i64));
        Ok(json!({
            "name": port.name,
            "datatype": datatype(port.dtype)?,
            "shape": shape.collect::<Vec<i64>>(),
        }))
    };
    Ok(json!({
        "name": facts.name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [tensor(&facts.input, facts.input_dims())?],
        "outputs": [tensor(&facts.output, facts.output_dims())?],
    }))
}
