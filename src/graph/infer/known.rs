//! Values that are known before the graph runs: small tensors that follow from shapes and from
//! integer constants. Float weights are never taken for such constants, so nothing trainable folds.

use bytes::Bytes;

use crate::graph::{Attribute, GraphError, TensorInfo};
use crate::onnx::{DataType, Tensor, element_count};

use super::op::Op;
use super::{layout, parts, reduce, source};

/// Tensors of more elements are not followed.
pub(super) const LIMIT: usize = 1024;

/// Float initializers of at most so many elements may join a computation on known values.
const SCALARS: usize = 8;

/// Value of the first output of `op`, whose type and dimensions are `output`; `None` where it is
/// not known or not followed.
pub(super) fn evaluate(op: &Op, output: &TensorInfo) -> Result<Option<Tensor>, GraphError> {
    if element_count(&output.dims).is_none_or(|n| n > LIMIT) {
        return Ok(None);
    }
    match op.node.op_type.as_str() {
        "Shape" => {
            let dims = source::shape_part(op)?;
            return Ok(encode(
                output,
                &Numbers::Int(dims.iter().map(|&d| d as i64).collect()),
            ));
        }
        "Size" => {
            let size = op.product(op.dims(0)?)?;
            return Ok(encode(output, &Numbers::Int(vec![size as i64])));
        }
        _ => {}
    }
    let Some(inputs) = known_inputs(op) else {
        return Ok(None);
    };
    if let Some((source, places)) = rearrangement(op, output, &inputs)? {
        return Ok(pick(source, output, &places));
    }
    Ok(compute(op, output, &inputs)?.and_then(|values| encode(output, &values)))
}

/// All inputs (`None` for an absent one), if every one of them is known.
fn known_inputs<'a>(op: &Op<'a>) -> Option<Vec<Option<&'a Tensor>>> {
    let mut inputs = Vec::with_capacity(op.node.inputs.len());
    for (index, name) in op.node.inputs.iter().enumerate() {
        if name.is_empty() {
            inputs.push(None);
            continue;
        }
        let tensor = match op.shapes.constant(name) {
            Some(tensor) => tensor,
            None => op.known(index).filter(|t| t.len() <= SCALARS)?,
        };
        inputs.push(Some(tensor));
    }
    // A float result must come from a known value, not from float initializers alone.
    let mut floats = op
        .node
        .present_inputs()
        .filter(|name| op.shapes.info(name).is_ok_and(|info| info.dtype.is_float()));
    let mut any = false;
    let derived = floats.any(|name| {
        any = true;
        op.shapes.constant(name).is_some()
    });
    (derived || !any || op.node.is("Cast")).then_some(inputs)
}

/// For operators that only move elements: the tensor they come from and where each comes from.
#[allow(clippy::type_complexity)]
fn rearrangement<'t>(
    op: &Op,
    output: &TensorInfo,
    inputs: &[Option<&'t Tensor>],
) -> Result<Option<(Vec<&'t Tensor>, Vec<(usize, usize)>)>, GraphError> {
    let Some(&Some(data)) = inputs.first() else {
        return Ok(None);
    };
    let count = element_count(&output.dims).unwrap_or(0);
    let from_data = |place: &dyn Fn(&[usize]) -> Option<usize>| -> Option<Vec<(usize, usize)>> {
        (0..count)
            .map(|i| Some((0, place(&position(i, &output.dims))?)))
            .collect()
    };
    let places = match op.node.op_type.as_str() {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" => {
            from_data(&|at| Some(place(at, &output.dims)))
        }
        "Transpose" => {
            let order = layout::permutation(op)?;
            from_data(&|at| {
                let mut source = vec![0; at.len()];
                for (i, &axis) in order.iter().enumerate() {
                    source[axis] = at[i];
                }
                Some(place(&source, &data.dims))
            })
        }
        "Expand" => from_data(&|at| Some(broadcast_place(at, &data.dims))),
        "Tile" => from_data(&|at| {
            let source: Vec<usize> = at.iter().zip(&data.dims).map(|(i, d)| i % d).collect();
            Some(place(&source, &data.dims))
        }),
        "Slice" => {
            let cuts = parts::cuts(op)?;
            from_data(&|at| {
                let source: Option<Vec<usize>> = at
                    .iter()
                    .zip(&cuts)
                    .map(|(&i, cut)| {
                        let i = cut.start as i128 + i as i128 * i128::from(cut.step);
                        usize::try_from(i).ok()
                    })
                    .collect();
                Some(place(&source?, &data.dims))
            })
        }
        "Gather" => {
            let axis = op.axis(op.node.int("axis", 0)?, data.dims.len())?;
            let indices = inputs.get(1).copied().flatten();
            let Some((indices, values)) = indices.and_then(|t| Some((t, t.to_i64()?))) else {
                return Ok(None);
            };
            let length = data.dims[axis];
            let inner = axis + indices.dims.len();
            let places = from_data(&|at| {
                let index = values[place(&at[axis..inner], &indices.dims)];
                let index = i128::from(index) + if index < 0 { length as i128 } else { 0 };
                let index = usize::try_from(index).ok().filter(|&i| i < length)?;
                let source = [&at[..axis], &[index], &at[inner..]].concat();
                Some(place(&source, &data.dims))
            });
            if places.is_none() {
                return Err(op.error("an index is out of range"));
            }
            places
        }
        "Concat" => {
            let Some(all) = inputs.iter().copied().collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            let axis = op.axis(op.node.int("axis", 0)?, data.dims.len())?;
            let places = (0..count)
                .map(|i| {
                    let mut at = position(i, &output.dims);
                    let mut which = 0;
                    while at[axis] >= all[which].dims[axis] {
                        at[axis] -= all[which].dims[axis];
                        which += 1;
                    }
                    (which, place(&at, &all[which].dims))
                })
                .collect();
            return Ok(Some((all, places)));
        }
        _ => return Ok(None),
    };
    Ok(places.map(|places| (vec![data], places)))
}

/// The index of each axis of element `index` of a tensor.
fn position(mut index: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for (i, &d) in dims.iter().enumerate().rev() {
        at[i] = index % d.max(1);
        index /= d.max(1);
    }
    at
}

/// The element at a position.
fn place(at: &[usize], dims: &[usize]) -> usize {
    at.iter().zip(dims).fold(0, |index, (i, d)| index * d + i)
}

/// The element that broadcasts to a position.
fn broadcast_place(at: &[usize], dims: &[usize]) -> usize {
    let at = &at[at.len() - dims.len()..];
    at.iter()
        .zip(dims)
        .fold(0, |index, (i, d)| index * d + if *d == 1 { 0 } else { *i })
}

fn pick(sources: Vec<&Tensor>, output: &TensorInfo, places: &[(usize, usize)]) -> Option<Tensor> {
    let size = output.dtype.size();
    let mut data = Vec::with_capacity(places.len() * size);
    for &(which, index) in places {
        let start = index.checked_mul(size)?;
        data.extend_from_slice(
            sources
                .get(which)?
                .data
                .get(start..start.checked_add(size)?)?,
        );
    }
    Some(tensor(output, data))
}

fn tensor(output: &TensorInfo, data: Vec<u8>) -> Tensor {
    Tensor {
        dtype: output.dtype,
        dims: output.dims.clone(),
        data: Bytes::from(data),
    }
}

/// Elements, widened so that arithmetic on them and rounding back is exact.
enum Numbers {
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

fn encode(output: &TensorInfo, values: &Numbers) -> Option<Tensor> {
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
fn compute(
    op: &Op,
    output: &TensorInfo,
    inputs: &[Option<&Tensor>],
) -> Result<Option<Numbers>, GraphError> {
    let input = |i: usize| inputs.get(i).copied().flatten();
    let kind = op.node.op_type.as_str();
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
            let count = element_count(&output.dims)?;
            Some(match (decode(x)?, decode(y)?) {
                (Numbers::Int(a), Numbers::Int(b)) => Numbers::Int(
                    (0..count)
                        .map(|i| {
                            if mask[at(condition, i)] != 0 {
                                a[at(x, i)]
                            } else {
                                b[at(y, i)]
                            }
                        })
                        .collect(),
                ),
                _ => return None,
            })
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
                "Sqrt" => f64::sqrt,
                _ => return None,
            };
            Numbers::Float(v.into_iter().map(f).collect())
        }
    })
}

fn pairwise(kind: &str, x: &Tensor, y: &Tensor, output: &TensorInfo) -> Option<Numbers> {
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
                "Min" => |a, b| Some(a.min(b)),
                "Max" => |a, b| Some(a.max(b)),
                "Equal" => |a, b| Some(i64::from(a == b)),
                "Less" => |a, b| Some(i64::from(a < b)),
                "Greater" => |a, b| Some(i64::from(a > b)),
                "And" => |a, b| Some(i64::from(a != 0 && b != 0)),
                "Or" => |a, b| Some(i64::from(a != 0 || b != 0)),
                _ => return None,
            };
            let values = pairs.into_iter().map(|(i, j)| f(a[i], b[j]));
            Numbers::Int(values.collect::<Option<_>>()?)
        }
        (Numbers::Float(a), Numbers::Float(b)) => {
            let f: fn(f64, f64) -> f64 = match kind {
                "Add" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                "Min" => f64::min,
                "Max" => f64::max,
                _ => return None,
            };
            Numbers::Float(pairs.into_iter().map(|(i, j)| f(a[i], b[j])).collect())
        }
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
