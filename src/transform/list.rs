//! The parameters of a model.

use std::collections::HashSet;

use half::{bf16, f16};
use serde::Serialize;

use crate::graph::{Graph, weights};
use crate::onnx::messages::TensorProto;
use crate::onnx::{DataType, Model, OnnxError, Values, is_external};
use crate::strategy::pattern::matches;

use super::TransformError;

/// An initializer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its element type, as ONNX calls it; the number of one that is not known here.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its dimensions.
    pub dims: Vec<i64>,
    /// Bytes of its values; `None` of strings.
    pub bytes: Option<u64>,
    /// Whether its values lie in a file beside the model.
    pub beside: bool,
    /// Whether it is a weight, which training changes: floats that meet the data, and no running statistics.
    pub trainable: bool,
    /// What its values are like, where they are numbers and somebody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
}

impl Listed {
    /// How many elements it has.
    pub fn elements(&self) -> u64 {
        let sizes = self.dims.iter().map(|&d| u64::try_from(d).unwrap_or(0));
        sizes.fold(1, u64::saturating_mul)
    }
}

/// What numbers are like. Those that are not finite are counted, and in nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of all of them.
    pub std: f64,
    /// How many are zero.
    pub zeros: u64,
    /// How many are infinite or not a number.
    pub not_finite: u64,
}

/// The initializers of the graph whose names match one of `patterns`, in the order of the file; all, where there are none.
/// `statistics` reads their values, block by block.
///
/// # Errors
/// When a pattern matches none, or values cannot be read.
pub fn list(
    model: &Model,
    patterns: &[String],
    statistics: bool,
) -> Result<Vec<Listed>, TransformError> {
    let tensors = &model.graph().initializer;
    let idle = |pattern: &&String| !tensors.iter().any(|t| matches(pattern, t.name()));
    if let Some(pattern) = patterns.iter().find(idle) {
        return Err(TransformError::NoMatch {
            pattern: pattern.clone(),
            kinds: "tensors".to_owned(),
        });
    }
    // Of a graph that is not understood no weights are known.
    let graph = Graph::from_model(&model.outlined()).ok();
    let weights = graph.iter().flat_map(weights);
    let trainable: HashSet<&str> = weights.map(|w| w.name).collect();
    let is_meant = |name: &str| patterns.is_empty() || patterns.iter().any(|p| matches(p, name));
    let mut listed = Vec::new();
    for tensor in tensors.iter().filter(|t| is_meant(t.name())) {
        let values = model.values_of(tensor).unwrap_or(None);
        let statistics = match (statistics, &values) {
            (true, _) => {
                let values = model.values_of(tensor)?;
                values.map_or(Ok(None), |values| of(tensor, &values))?
            }
            _ => None,
        };
        listed.push(Listed {
            name: tensor.name().to_owned(),
            dtype: type_name(tensor),
            dims: tensor.dims.clone(),
            bytes: values.map(|values| values.len()),
            beside: is_external(tensor),
            trainable: trainable.contains(tensor.name()),
            statistics,
        });
    }
    Ok(listed)
}

fn type_name(tensor: &TensorProto) -> String {
    let number = tensor.data_type.unwrap_or(0);
    match DataType::from_number(number) {
        Some(dtype) => format!("{dtype:?}").to_lowercase(),
        None if number == 8 => "string".to_owned(),
        None => number.to_string(),
    }
}

/// The statistics of a tensor of numbers.
fn of(tensor: &TensorProto, values: &Values) -> Result<Option<Statistics>, OnnxError> {
    let Some(dtype) = tensor.data_type.and_then(DataType::from_number) else {
        return Ok(None);
    };
    let mut found = Statistics {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        ..Statistics::default()
    };
    let (mut count, mut sum, mut squares) = (0u64, 0.0, 0.0);
    let mut take = |value: f64| {
        if !value.is_finite() {
            found.not_finite += 1;
            return;
        }
        count += 1;
        found.zeros += u64::from(value == 0.0);
        found.min = found.min.min(value);
        found.max = found.max.max(value);
        sum += value;
        squares += value * value;
    };
    // Blocks end between elements, whose sizes are powers of two.
    values.blocks(|block| {
        fn each<const N: usize>(block: &[u8], take: &mut impl FnMut(f64), f: fn([u8; N]) -> f64) {
            block
                .as_chunks::<N>()
                .0
                .iter()
                .for_each(|bytes| take(f(*bytes)));
        }
        use DataType::*;
        match dtype {
            Float => each(block, &mut take, |b| f32::from_le_bytes(b).into()),
            Double => each(block, &mut take, f64::from_le_bytes),
            Float16 => each(block, &mut take, |b| f16::from_le_bytes(b).to_f64()),
            Bfloat16 => each(block, &mut take, |b| bf16::from_le_bytes(b).to_f64()),
            Int8 => each(block, &mut take, |b: [u8; 1]| (b[0] as i8).into()),
            Uint8 | Bool => each(block, &mut take, |b: [u8; 1]| b[0].into()),
            Int16 => each(block, &mut take, |b| i16::from_le_bytes(b).into()),
            Uint16 => each(block, &mut take, |b| u16::from_le_bytes(b).into()),
            Int32 => each(block, &mut take, |b| i32::from_le_bytes(b).into()),
            Uint32 => each(block, &mut take, |b| u32::from_le_bytes(b).into()),
            Int64 => each(block, &mut take, |b| i64::from_le_bytes(b) as f64),
            Uint64 => each(block, &mut take, |b| u64::from_le_bytes(b) as f64),
        }
        Ok::<_, OnnxError>(())
    })?;
    if count == 0 {
        return Ok((found.not_finite > 0).then(|| Statistics {
            not_finite: found.not_finite,
            ..Statistics::default()
        }));
    }
    found.mean = sum / count as f64;
    found.std = (squares / count as f64 - found.mean * found.mean)
        .max(0.0)
        .sqrt();
    Ok(Some(found))
}
