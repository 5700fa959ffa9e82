//! Scales and zero points, and what they make of numbers.
//!
//! A QuantizeLinear of scale s and zero point z gives q = min(max(round(x / s) + z, low), high), where halves are rounded
//! to even numbers, and low and high are the least and the largest number of its type. A DequantizeLinear gives (q − z) s.

use std::collections::HashMap;

use crate::graph::GraphError;
use crate::onnx::messages::NodeProto;
use crate::onnx::{DataType, Tensor};

use super::super::SurgeryError;

/// Scale and zero point of a node, one number or one along an axis each.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// The node, for messages.
    node: String,
    pub scale: Vec<f32>,
    pub zero: Vec<i64>,
    axis: i64,
    /// The type of the floats.
    pub dtype: DataType,
    /// The least and the largest number.
    range: [i64; 2],
}

impl Steps {
    /// Those of a node, whose scale and zero point are among `tensors`.
    pub fn of(node: &NodeProto, tensors: &HashMap<String, Tensor>) -> Result<Self, SurgeryError> {
        let refuse = |reason: &str| Err(refused(&named(node), reason));
        let number = |name: &str, default: i64| {
            let mut all = node.attribute.iter();
            let found = all.find(|a| a.name.as_deref() == Some(name));
            found.and_then(|a| a.i).unwrap_or(default)
        };
        if number("block_size", 0) != 0 {
            return refuse("its scales are those of blocks");
        }
        let input = |place: usize| node.input.get(place).filter(|name| !name.is_empty());
        let scale = input(1).and_then(|name| tensors.get(name));
        let Some((scale, values)) = scale.and_then(|t| Some((t, t.to_f32()?))) else {
            return refuse("its scale is computed");
        };
        let zero = match input(2) {
            None => None,
            Some(name) => match tensors.get(name) {
                Some(tensor) => Some(tensor),
                None => {
                    return refuse(
                        "its zero point is computed, or of a type that is not known here",
                    );
                }
            },
        };
        // Without a zero point a DequantizeLinear has the type of what it reads.
        let read = input(0).and_then(|name| tensors.get(name));
        let stored = match (zero, read.filter(|t| !t.dtype.is_float())) {
            (Some(tensor), _) | (None, Some(tensor)) => tensor.dtype,
            (None, None) => {
                DataType::from_number(number("output_dtype", 2) as i32).unwrap_or(DataType::Uint8)
            }
        };
        let range = match stored {
            DataType::Uint8 => [0, 255],
            DataType::Int8 => [-128, 127],
            DataType::Uint16 => [0, 65_535],
            DataType::Int16 => [-32_768, 32_767],
            _ => [i64::from(i32::MIN), i64::from(i32::MAX)],
        };
        let zero = match zero {
            None => vec![0; values.len()],
            Some(tensor) => tensor
                .to_i64()
                .ok_or_else(|| refused(&named(node), "its zero point is no integer"))?,
        };
        if zero.len() != values.len() {
            return refuse("its scales and zero points are not as many");
        }
        Ok(Steps {
            node: named(node),
            zero,
            scale: values,
            axis: number("axis", 1),
            dtype: scale.dtype,
            range,
        })
    }

    /// The axis along which scale and zero point vary; `None` where both are one number.
    pub fn axis(&self, dims: &[usize]) -> Result<Option<usize>, SurgeryError> {
        if self.scale.len() == 1 {
            return Ok(None);
        }
        let rank = dims.len() as i64;
        let axis = usize::try_from(if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        });
        let axis = axis
            .ok()
            .filter(|&a| dims.get(a) == Some(&self.scale.len()));
        let misfit = || {
            refused(
                &self.node,
                "scale, zero point and tensor do not fit each other",
            )
        };
        axis.ok_or_else(misfit).map(Some)
    }

    /// Scale and zero point of each element of a tensor, row by row.
    fn each(&self, dims: &[usize]) -> Result<Vec<(f32, i64)>, SurgeryError> {
        let count: usize = dims.iter().product();
        let Some(axis) = self.axis(dims)? else {
            return Ok(vec![(self.scale[0], self.zero[0]); count]);
        };
        let behind: usize = dims[axis + 1..].iter().product();
        let at = |i: usize| (i / behind.max(1)) % self.scale.len();
        Ok((0..count)
            .map(|i| (self.scale[at(i)], self.zero[at(i)]))
            .collect())
    }

    /// What stored integers stand for.
    pub fn floats(&self, stored: &Tensor) -> Result<Tensor, SurgeryError> {
        let values = stored
            .to_i64()
            .ok_or_else(|| refused(&self.node, "its input holds no integers"))?;
        self.worth(&stored.dims, &values)
    }

    /// The integers that floats of a tensor of these dimensions become.
    pub fn integers(&self, dims: &[usize], floats: &[f32]) -> Result<Vec<i64>, SurgeryError> {
        let [low, high] = self.range;
        let round = |(&v, (s, z)): (&f32, (f32, i64))| {
            let steps = (v / s).round_ties_even() as i64;
            steps.saturating_add(z).clamp(low, high)
        };
        Ok(floats.iter().zip(self.each(dims)?).map(round).collect())
    }

    /// Floats, rounded to what integers stand for.
    pub fn rounded(&self, tensor: &Tensor) -> Result<Tensor, SurgeryError> {
        let values = tensor
            .to_f32()
            .ok_or_else(|| refused(&self.node, "its input holds no floats"))?;
        self.worth(&tensor.dims, &self.integers(&tensor.dims, &values)?)
    }

    /// What integers of a tensor of these dimensions stand for.
    fn worth(&self, dims: &[usize], integers: &[i64]) -> Result<Tensor, SurgeryError> {
        let each = integers.iter().zip(self.each(dims)?);
        let floats: Vec<f32> = each.map(|(&v, (s, z))| (v - z) as f32 * s).collect();
        Ok(like(self.dtype, dims, &floats))
    }

    /// The one scale and zero point of a pair on data.
    pub fn single(&self) -> Result<(f32, i64), SurgeryError> {
        match (self.scale.as_slice(), self.zero.as_slice()) {
            (&[scale], &[zero]) => Ok((scale, zero)),
            _ => Err(refused(
                &self.node,
                "it quantises data with a scale for each channel",
            )),
        }
    }

    /// How many steps the least and the largest number are from this zero point.
    pub fn reach(&self, zero: i64) -> [f32; 2] {
        self.range.map(|v| (v - zero) as f32)
    }
}

/// A tensor of floats.
pub(super) fn like(dtype: DataType, dims: &[usize], values: &[f32]) -> Tensor {
    let zero = Tensor {
        dtype,
        dims: dims.to_vec(),
        data: vec![0; values.len() * dtype.size()].into(),
    };
    zero.with_f32_values(values)
        .unwrap_or_else(|| Tensor::f32(dims, values))
}

fn refused(node: &str, reason: &str) -> SurgeryError {
    GraphError::Node {
        node: node.to_owned(),
        reason: format!("it cannot be dequantised: {reason}"),
    }
    .into()
}

fn named(node: &NodeProto) -> String {
    let output = node.output.first().map_or("", String::as_str);
    let name = node
        .name
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or(output);
    format!("`{name}` ({})", node.op_type())
}
