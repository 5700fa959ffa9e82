//! Declared inputs and outputs.

use crate::onnx::messages::{
    Dimension, DimensionValue, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use crate::onnx::{DataType, OnnxError};

/// One dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A fixed size.
    Known(usize),
    /// A named or nameless size that is not fixed.
    Symbolic(String),
}

/// A declared input or output: name, element type and shape (`None` when the rank is unknown).
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name of the value.
    pub name: String,
    /// Element type.
    pub dtype: DataType,
    /// Declared shape.
    pub dims: Option<Vec<Dim>>,
}

impl Value {
    /// A value of fixed shape.
    pub fn fixed(name: &str, dtype: DataType, dims: &[usize]) -> Self {
        Value {
            name: name.to_owned(),
            dtype,
            dims: Some(dims.iter().map(|&d| Dim::Known(d)).collect()),
        }
    }

    /// A float32 value of any number `N` of samples, each of dimensions `sample`.
    pub fn batched(name: &str, sample: &[usize]) -> Self {
        let batch = std::iter::once(Dim::Symbolic("N".to_owned()));
        Value {
            name: name.to_owned(),
            dtype: DataType::Float,
            dims: Some(batch.chain(sample.iter().map(|&d| Dim::Known(d))).collect()),
        }
    }
}

pub(super) fn value_from_proto(proto: &ValueInfoProto) -> Result<Value, OnnxError> {
    let name = proto.name.clone().unwrap_or_default();
    let tensor = match proto.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Tensor(t)) => Some(t),
        None => None,
        Some(_) => {
            return Err(OnnxError::Tensor {
                tensor: name,
                reason: "is no tensor; sequences, maps and optionals are not supported".to_owned(),
            });
        }
    };
    let number = tensor.and_then(|t| t.elem_type).unwrap_or(0);
    let dtype = match number {
        0 => DataType::Float,
        n => DataType::from_number(n).ok_or_else(|| OnnxError::Tensor {
            tensor: name.clone(),
            reason: format!("element type {n} is not supported"),
        })?,
    };
    let dims = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
        shape
            .dim
            .iter()
            .map(|d| match &d.value {
                Some(DimensionValue::DimValue(v)) if *v > 0 => Dim::Known(*v as usize),
                Some(DimensionValue::DimParam(p)) => Dim::Symbolic(p.clone()),
                _ => Dim::Symbolic(String::new()),
            })
            .collect()
    });
    Ok(Value { name, dtype, dims })
}

/// A value's declaration as a message.
pub fn value_to_proto(value: &Value) -> ValueInfoProto {
    let dimension = |d: &Dim| Dimension {
        value: match d {
            Dim::Known(v) => Some(DimensionValue::DimValue(*v as i64)),
            Dim::Symbolic(p) if p.is_empty() => None,
            Dim::Symbolic(p) => Some(DimensionValue::DimParam(p.clone())),
        },
        denotation: None,
    };
    ValueInfoProto {
        name: Some(value.name.clone()),
        r#type: Some(TypeProto {
            denotation: None,
            value: Some(TypeValue::Tensor(TensorType {
                elem_type: Some(value.dtype as i32),
                shape: value.dims.as_ref().map(|dims| TensorShapeProto {
                    dim: dims.iter().map(dimension).collect(),
                }),
            })),
        }),
        ..ValueInfoProto::default()
    }
}
