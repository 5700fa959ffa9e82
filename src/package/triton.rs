//! A model repository of NVIDIA's Triton Inference Server.
//!
//! Source: `model_config.proto` of <https://github.com/triton-inference-server/common>, in protobuf's text format.

use std::fmt::Write;

use crate::onnx::DataType;

use super::facts::{Facts, Port};
use super::{Format, Package, PackageError, readme};

/// Samples that a server may run at once, where the model takes any number.
const MOST: usize = 16;
/// How long a request may wait for others to be run with, in microseconds.
const DELAY: usize = 500;

/// The repository: `NAME/1/model.onnx`, `NAME/config.pbtxt`, `NAME/labels.txt`.
pub(super) fn package(facts: &Facts) -> Result<Package, PackageError> {
    let name = &facts.name;
    let mut package = Package::of_model(&format!("{name}/1/model.onnx"));
    package.text(&format!("{name}/config.pbtxt"), config(facts)?);
    package.text(&format!("{name}/labels.txt"), super::labels(facts));
    package.text("README.md", readme::of(facts, Format::Triton));
    Ok(package)
}

/// The content of `config.pbtxt`.
///
/// # Errors
/// When Triton has no name for a type of the model.
pub(super) fn config(facts: &Facts) -> Result<String, PackageError> {
    // With a fixed batch, it is a dimension like any other, and the server makes no batches of its own.
    let batches = facts.batch.is_none();
    let most = match (batches, &facts.alone) {
        (false, _) => 0,
        (true, Some(_)) => 1,
        (true, None) => MOST,
    };
    let input = dims(batches, &facts.input, facts.input_dims());
    let output = dims(batches, &facts.output, facts.output_dims());
    let mut text = format!(
        "name: {}\nbackend: \"onnxruntime\"\nmax_batch_size: {most}\n",
        quoted(&facts.name)
    );
    let tensor = |port: &Port, dims: &str, more: &str| -> Result<String, PackageError> {
        let (name, dtype) = (quoted(&port.name), data_type(port.dtype)?);
        Ok(format!(
            "[\n  {{\n    name: {name}\n    data_type: {dtype}\n    dims: {dims}\n{more}  }}\n]\n"
        ))
    };
    // Of one number for two classes a server would name the first alone.
    let labels = match facts.is_single {
        true => "",
        false => "    label_filename: \"labels.txt\"\n",
    };
    let _ = write!(text, "input {}", tensor(&facts.input, &input, "")?);
    let _ = write!(text, "output {}", tensor(&facts.output, &output, labels)?);
    if most > 1 {
        let _ = write!(
            text,
            "dynamic_batching {{\n  max_queue_delay_microseconds: {DELAY}\n}}\n"
        );
    }
    text.push_str("instance_group [\n  {\n    count: 1\n    kind: KIND_AUTO\n  }\n]\n");
    let example = facts.example_dims(1);
    let example = listed(if batches { &example[1..] } else { &example });
    let _ = write!(
        text,
        "model_warmup [\n  {{\n    name: \"one sample of zeros\"\n    batch_size: 1\n    inputs {{\n      key: {}\n      \
         value {{\n        data_type: {}\n        dims: {example}\n        zero_data: true\n      }}\n    }}\n  }}\n]\n",
        quoted(&facts.input.name),
        data_type(facts.input.dtype)?,
    );
    Ok(text)
}

/// The dimensions of a tensor as the configuration lists them: without that of the batch, where the server makes batches.
fn dims(batches: bool, port: &Port, all: Vec<Option<usize>>) -> String {
    let dims = if batches { port.sample.clone() } else { all };
    let dims = dims.iter().map(|dim| dim.map_or(-1, |n| n as i64));
    listed(&dims.collect::<Vec<i64>>())
}

fn listed(dims: &[impl ToString]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[ {} ]", dims.join(", "))
}

/// A string of protobuf's text format: what is not ASCII by its bytes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(byte));
            }
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => {
                let _ = write!(quoted, "\\{byte:03o}");
            }
        }
    }
    quoted.push('"');
    quoted
}

fn data_type(dtype: DataType) -> Result<&'static str, PackageError> {
    Ok(match dtype {
        DataType::Bool => "TYPE_BOOL",
        DataType::Uint8 => "TYPE_UINT8",
        DataType::Uint16 => "TYPE_UINT16",
        DataType::Uint32 => "TYPE_UINT32",
        DataType::Uint64 => "TYPE_UINT64",
        DataType::Int8 => "TYPE_INT8",
        DataType::Int16 => "TYPE_INT16",
        DataType::Int32 => "TYPE_INT32",
        DataType::Int64 => "TYPE_INT64",
        DataType::Float16 => "TYPE_FP16",
        DataType::Float => "TYPE_FP32",
        DataType::Double => "TYPE_FP64",
        DataType::Bfloat16 => "TYPE_BF16",
    })
}
