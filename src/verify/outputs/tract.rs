//! Models in tract, which is written in Rust as this is and shares nothing with onnxruntime.

use std::path::Path;

use tract_onnx::prelude::tract_ndarray::{ArrayD, IxDyn};
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModelExt, TValue, TVec, Tensor as TractTensor,
};

use crate::onnx::{DataType, Tensor};
use crate::panics::caught;

use super::own::Run;

/// Of tract, as `Cargo.toml` asks for it.
pub(super) const VERSION: &str = "0.22";

/// A model that is ready to run on `inputs`.
pub(super) fn prepare<'r>(path: &Path, inputs: &[(String, Tensor)]) -> Result<Run<'r>, String> {
    let refused = || "tract panicked".to_owned();
    caught(|| ready(path, inputs)).ok_or_else(refused)?
}

fn ready<'r>(path: &Path, inputs: &[(String, Tensor)]) -> Result<Run<'r>, String> {
    let told = |error: tract_onnx::prelude::TractError| format!("{:#}", error);
    let mut model = tract_onnx::onnx().model_for_path(path).map_err(told)?;
    let mut given: TVec<TValue> = TVec::new();
    let outlets = model.inputs.clone();
    for (place, outlet) in outlets.iter().enumerate() {
        let name = model.node(outlet.node).name.clone();
        let found = inputs.iter().find(|(input, _)| *input == name);
        let (_, tensor) = found
            .or_else(|| inputs.get(place))
            .ok_or("it wants more inputs")?;
        let value =
            to_tract(tensor).ok_or_else(|| format!("input `{name}` is {:?}", tensor.dtype))?;
        let fact = tract_onnx::prelude::InferenceFact::dt_shape(value.datum_type(), value.shape());
        model.set_input_fact(place, fact).map_err(told)?;
        given.push(value.into());
    }
    let names: Vec<String> = model
        .outputs
        .iter()
        .map(|outlet| {
            let label = model.outlet_label(*outlet).map(str::to_owned);
            label.unwrap_or_else(|| model.node(outlet.node).name.clone())
        })
        .collect();
    let plan = model
        .into_optimized()
        .and_then(|m| m.into_runnable())
        .map_err(told)?;
    Ok(Box::new(move || {
        let outputs = caught(|| plan.run(given.clone()))
            .ok_or("tract panicked")?
            .map_err(told)?;
        let tensors = outputs.iter().map(|value| from_tract(value));
        let tensors: Vec<Tensor> = tensors.collect::<Result<_, _>>()?;
        Ok(names.iter().cloned().zip(tensors).collect())
    }))
}

fn to_tract(tensor: &Tensor) -> Option<TractTensor> {
    fn of<T: tract_onnx::prelude::Datum, const N: usize>(
        tensor: &Tensor,
        number: impl Fn([u8; N]) -> T,
    ) -> Option<TractTensor> {
        let chunks = tensor.data.as_chunks::<N>().0;
        let values: Vec<T> = chunks.iter().map(|&chunk| number(chunk)).collect();
        Some(
            ArrayD::from_shape_vec(IxDyn(&tensor.dims), values)
                .ok()?
                .into(),
        )
    }
    match tensor.dtype {
        DataType::Float => of(tensor, f32::from_le_bytes),
        DataType::Double => of(tensor, f64::from_le_bytes),
        DataType::Float16 => of(tensor, half::f16::from_le_bytes),
        DataType::Int64 => of(tensor, i64::from_le_bytes),
        DataType::Int32 => of(tensor, i32::from_le_bytes),
        DataType::Uint8 => of(tensor, u8::from_le_bytes),
        DataType::Bool => of(tensor, |[byte]: [u8; 1]| byte != 0),
        _ => None,
    }
}

fn from_tract(value: &TractTensor) -> Result<Tensor, String> {
    let dtype = match value.datum_type() {
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        DatumType::F16 => DataType::Float16,
        DatumType::I32 => DataType::Int32,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::U8 => DataType::Uint8,
        DatumType::I8 => DataType::Int8,
        DatumType::Bool => DataType::Bool,
        other => return Err(format!("it gives {other:?}")),
    };
    let cast = value.cast_to_dt(match dtype {
        DataType::Int64 => DatumType::I64,
        _ => value.datum_type(),
    });
    let cast = cast.map_err(|error| format!("{error:#}"))?;
    Ok(Tensor {
        dtype,
        dims: cast.shape().to_vec(),
        data: cast.as_bytes().to_vec().into(),
    })
}
