//! Values that are known before the graph runs: small tensors that follow from shapes and from
//! constants. Few numbers in a float initializer may have a part in them, as the scales that the sizes
//! of a `Resize` are computed with; a float that comes of it is known and still not folded away
//! ([`Shapes::is_of_floats`](crate::graph::Shapes::is_of_floats)), for the initializer may be a weight.

use bytes::Bytes;

use crate::graph::operators::Elements;
use crate::graph::{GraphError, TensorInfo};
use crate::onnx::{Tensor, element_count};

use super::arithmetic::{Numbers, compute, encode};
use super::op::Op;
use super::{layout, parts, source};

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
    Some(inputs)
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
        _ if matches!(op.node.elements(), Elements::Same | Elements::Reshaped) => {
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
pub(super) fn position(mut index: usize, dims: &[usize]) -> Vec<usize> {
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
pub(super) fn broadcast_place(at: &[usize], dims: &[usize]) -> usize {
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

pub(super) fn tensor(output: &TensorInfo, data: Vec<u8>) -> Tensor {
    Tensor {
        dtype: output.dtype,
        dims: output.dims.clone(),
        data: Bytes::from(data),
    }
}
