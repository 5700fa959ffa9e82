//! Arithmetic on values that are known before the graph runs. What would overflow is not followed.

use crate::graph::{Attribute, GraphError, TensorInfo};
use crate::onnx::{DataType, Tensor, element_count};

use super::elementwise::broadcast;
use super::known::{broadcast_place, position, tensor};
use super::op::Op;
use super::reduce;

/// Elements, widened so that arithmetic on them and rounding back is exact.
pub(super) enum Numbers {
    Int(Vec<i64>),
    Float(Vec<f64>),
}

fn decode(tensor: &Tensor) -> Option<Numbers> {
    Some(match tensor.dtype {
        DataType::Float => Numbers::Float(tensor.to_f32()?.into_iter().map(f64::from).collect()),
        DataType::Double => Numbers::Float(
            tensor
                .data
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b))
                .collect(),
        ),
        DataType::Float16 | DataType::Bfloat16 => return None,
        _ => Numbers::Int(tensor.to_i64()?),
    })
}

pub(super) fn encode(output: &TensorInfo, values: &Numbers) -> Option<Tensor> {
    let ints = |values: &[i64]| -> Option<Vec<u8>> {
        let mut data = Vec::new();
        for &v in values {
            match output.dtype {
                DataType::Int64 => data.extend(v.to_le_bytes()),
                DataType::Uint64 => data.extend(u64::try_from(v).ok()?.to_le_bytes()),
                DataType::Int32 => data.extend(i32::try_from(v).ok()?.to_le_bytes()),
                DataType::Uint32 => data.extend(u32::try_from(v).ok()?.to_le_bytes()),
                DataType::Int16 => data.extend(i16::try_from(v).ok()?.to_le_bytes()),
                DataType::Uint16 => data.extend(u16::try_from(v).ok()?.to_le_bytes()),
                DataType::Int8 => data.extend(i8::try_from(v).ok()?.to_le_bytes()),
                DataType::Uint8 => data.extend(u8::try_from(v).ok()?.to_le_bytes()),
                DataType::Bool => data.push(u8::from(v != 0)),
                _ => return None,
            }
        }
        Some(data)
    };
    let data = match (values, output.dtype) {
        (Numbers::Float(v), DataType::Float) => {
            v.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
        }
        (Numbers::Float(v), DataType::Double) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (Numbers::Int(v), _) => ints(v)?,
        _ => return None,
    };
    Some(tensor(output, data))
}

/// Values of operators that calculate.
pub(super) fn compute(
    op: &Op,
    output: &TensorInfo,
    inputs: &[Option<&Tensor>],
) -> Result<Option<Numbers>, GraphError> {
    let input = |i: usize| inputs.get(i).copied().flatten();
    let kind = match op.node.op_type.as_str() {
        "Mod" if op.node.int("fmod", 0)? != 0 => "fmod",
        kind => kind,
    };
    let values = match kind {
        "ConstantOfShape" => {
            let fill = match op.node.attributes.get("value") {
                Some(Attribute::Tensor(value)) => decode(value),
                _ => Some(Numbers::Float(vec![0.0])),
            };
            let count = element_count(&output.dims).unwrap_or(0);
            fill.and_then(|fill| match fill {
                Numbers::Int(v) => Some(Numbers::Int(vec![*v.first()?; count])),
                Numbers::Float(v) => Some(Numbers::Float(vec![*v.first()?; count])),
            })
        }
        "Range" => range(input(0), input(2), output),
        "Cast" => input(0).and_then(|t| cast(decode(t)?, output.dtype)),
        "ReduceProd" | "ReduceSum" | "ReduceMin" | "ReduceMax" => {
            let axes = reduce::reduced_axes(op)?;
            input(0).and_then(|t| fold(kind, t, &axes))
        }
        "Where" => (|| {
            let (condition, x, y) = (input(0)?, input(1)?, input(2)?);
            let mask = condition.to_i64()?;
            let at = |t: &Tensor, i: usize| broadcast_place(&position(i, &output.dims), &t.dims);
            let places = 0..element_count(&output.dims)?;
            let of_x = |i: usize| mask[at(condition, i)] != 0;
            Some(match (decode(x)?, decode(y)?) {
                (Numbers::Int(a), Numbers::Int(b)) => {
                    let pick = |i| if of_x(i) { a[at(x, i)] } else { b[at(y, i)] };
                    Numbers::Int(places.map(pick).collect())
                }
                (Numbers::Float(a), Numbers::Float(b)) => {
                    let pick = |i| if of_x(i) { a[at(x, i)] } else { b[at(y, i)] };
                    Numbers::Float(places.map(pick).collect())
                }
                _ => return None,
            })
        })(),
        "Clip" => (|| {
            let mut values = decode(input(0)?)?;
            for (kind, bound) in [("Max", input(1)), ("Min", input(2))] {
                if let Some(bound) = bound {
                    values = pairwise(kind, &encode(output, &values)?, bound, output)?;
                }
            }
            Some(values)
        })(),
        _ if inputs.len() == 1 => input(0).and_then(|t| unary(kind, decode(t)?)),
        _ if inputs.len() == 2 => (|| pairwise(kind, input(0)?, input(1)?, output))(),
        _ => None,
    };
    Ok(values)
}

fn unary(kind: &str, values: Numbers) -> Option<Numbers> {
    Some(match values {
        Numbers::Int(v) => {
            let f: fn(i64) -> Option<i64> = match kind {
                "Neg" => i64::checked_neg,
                "Abs" => i64::checked_abs,
                "Not" => |v| Some(i64::from(v == 0)),
                _ => return None,
            };
            Numbers::Int(v.into_iter().map(f).collect::<Option<_>>()?)
        }
        Numbers::Float(v) => {
            let f: fn(f64) -> f64 = match kind {
                "Neg" => |v| -v,
                "Abs" => f64::abs,
                "Floor" => f64::floor,
                "Ceil" => f64::ceil,
                "Round" => f64::round_ties_even,
                "Reciprocal" => f64::recip,
                "Sqrt" => f64::sqrt,
                _ => return None,
            };
            Numbers::Float(v.into_iter().map(f).collect())
        }
    })
}

fn pairwise(kind: &str, x: &Tensor, y: &Tensor, output: &TensorInfo) -> Option<Numbers> {
    // Operators of one input may have been given two.
    if broadcast(&x.dims, &y.dims)? != output.dims {
        return None;
    }
    let pairs: Vec<(usize, usize)> = (0..element_count(&output.dims)?)
        .map(|i| {
            let at = position(i, &output.dims);
            (broadcast_place(&at, &x.dims), broadcast_place(&at, &y.dims))
        })
        .collect();
    Some(match (decode(x)?, decode(y)?) {
        (Numbers::Int(a), Numbers::Int(b)) => {
            let f: fn(i64, i64) -> Option<i64> = match kind {
                "Add" => i64::checked_add,
                "Sub" => i64::checked_sub,
                "Mul" => i64::checked_mul,
                "Div" => i64::checked_div,
                // The sign is the dividend's, that of `Mod` otherwise the divisor's.
                "fmod" => i64::checked_rem,
                "Mod" => |a, b| a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
                "Min" => |a, b| Some(a.min(b)),
                "Max" => |a, b| Some(a.max(b)),
                "Equal" => |a, b| Some(i64::from(a == b)),
                "Less" => |a, b| Some(i64::from(a < b)),
                "LessOrEqual" => |a, b| Some(i64::from(a <= b)),
                "Greater" => |a, b| Some(i64::from(a > b)),
                "GreaterOrEqual" => |a, b| Some(i64::from(a >= b)),
                "Pow" => |a, b| a.checked_pow(u32::try_from(b).ok()?),
                "And" => |a, b| Some(i64::from(a != 0 && b != 0)),
                "Or" => |a, b| Some(i64::from(a != 0 || b != 0)),
                _ => return None,
            };
            let values = pairs.into_iter().map(|(i, j)| f(a[i], b[j]));
            Numbers::Int(values.collect::<Option<_>>()?)
        }
        (Numbers::Float(a), Numbers::Float(b)) => {
            let holds: Option<fn(&f64, &f64) -> bool> = match kind {
                "Equal" => Some(f64::eq),
                "Less" => Some(f64::lt),
                "LessOrEqual" => Some(f64::le),
                "Greater" => Some(f64::gt),
                "GreaterOrEqual" => Some(f64::ge),
                _ => None,
            };
            if let Some(holds) = holds {
                let values = pairs.into_iter().map(|(i, j)| holds(&a[i], &b[j]));
                return Some(Numbers::Int(values.map(i64::from).collect()));
            }
            let f: fn(f64, f64) -> f64 = match kind {
                "Add" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                "fmod" => |a, b| a % b,
                "Min" => f64::min,
                "Max" => f64::max,
                "Pow" => f64::powf,
                _ => return None,
            };
            Numbers::Float(pairs.into_iter().map(|(i, j)| f(a[i], b[j])).collect())
        }
        (Numbers::Float(a), Numbers::Int(b)) if kind == "Pow" => Numbers::Float(
            pairs
                .into_iter()
                .map(|(i, j)| a[i].powf(b[j] as f64))
                .collect(),
        ),
        _ => return None,
    })
}

fn cast(values: Numbers, to: DataType) -> Option<Numbers> {
    Some(match (values, to.is_float()) {
        (Numbers::Int(v), true) => Numbers::Float(v.into_iter().map(|v| v as f64).collect()),
        (Numbers::Float(v), false) if to == DataType::Bool => {
            Numbers::Int(v.into_iter().map(|v| i64::from(v != 0.0)).collect())
        }
        // Beyond 2⁵³ or for NaN the result differs between machines.
        (Numbers::Float(v), false) => Numbers::Int(
            v.into_iter()
                .map(|v| (v.abs() < 9e15).then_some(v as i64))
                .collect::<Option<_>>()?,
        ),
        (values, _) => values,
    })
}

fn range(start: Option<&Tensor>, delta: Option<&Tensor>, output: &TensorInfo) -> Option<Numbers> {
    let start = *start?.to_i64()?.first()?;
    let delta = *delta?.to_i64()?.first()?;
    let count = i64::try_from(element_count(&output.dims)?).ok()?;
    let values = (0..count).map(|i| start.checked_add(i.checked_mul(delta)?));
    Some(Numbers::Int(values.collect::<Option<_>>()?))
}

/// A reduction of integers; the result is in row-major order whether axes are kept or not.
fn fold(kind: &str, data: &Tensor, axes: &[usize]) -> Option<Numbers> {
    let Numbers::Int(values) = decode(data)? else {
        return None;
    };
    let kept: Vec<usize> = data
        .dims
        .iter()
        .enumerate()
        .map(|(i, &d)| if axes.contains(&i) { 1 } else { d })
        .collect();
    let mut results: Vec<Option<i64>> = vec![None; element_count(&kept)?];
    for (i, v) in values.into_iter().enumerate() {
        let slot = &mut results[broadcast_place(&position(i, &data.dims), &kept)];
        *slot = Some(match (*slot, kind) {
            (None, _) => v,
            (Some(old), "ReduceProd") => old.checked_mul(v)?,
            (Some(old), "ReduceSum") => old.checked_add(v)?,
            (Some(old), "ReduceMin") => old.min(v),
            (Some(old), _) => old.max(v),
        });
    }
    let empty = match kind {
        "ReduceProd" => Some(1),
        "ReduceSum" => Some(0),
        _ => None,
    };
    let results = results.into_iter().map(|r| r.or(empty));
    Some(Numbers::Int(results.collect::<Option<_>>()?))
}
