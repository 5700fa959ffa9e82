//! How the values of two tensors differ, read in pieces.

use std::convert::Infallible;

use half::{bf16, f16};
use serde::Serialize;

use crate::onnx::messages::TensorProto;
use crate::onnx::{DataType, Model, OnnxError, Tensor, Values, is_external};

use super::norm::Norm;

/// Elements that are compared at a time.
const PIECE: usize = 1 << 16;

/// How the values of two tensors of equally many elements differ.
///
/// The norms are Euclidean, over the elements that are numbers before and after. What is not finite is null in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueChange {
    /// Elements of each of the two tensors.
    pub elements: u64,
    /// Those that differ, by their bits; of two element types, by their values.
    pub changed: u64,
    /// Norm of the values before.
    pub norm: f64,
    /// Norm of the difference.
    pub difference: f64,
    /// Norm of the difference over the norm before; `None` where that is 0.
    pub relative: Option<f64>,
    /// The largest difference of an element.
    pub largest: f64,
    /// The largest size of an element before, infinities left out.
    pub size: f64,
    /// How many elements are not a number, before and after.
    pub nan: [u64; 2],
    /// How many are a number in one of the two alone.
    pub nan_apart: u64,
}

/// What two tensors hold.
pub(super) enum Held {
    /// The same bytes.
    Same,
    /// Values that can be told apart one by one.
    Numbers(ValueChange),
    /// Others, of types that are not told apart.
    Others,
}

/// Compares the values of two tensors.
///
/// # Errors
/// When they cannot be read.
pub(super) fn compare(
    (a, before): (&Model, &TensorProto),
    (b, after): (&Model, &TensorProto),
) -> Result<Held, OnnxError> {
    let same_type = before.data_type() == after.data_type();
    let types = [before, after].map(|tensor| DataType::from_number(tensor.data_type()));
    let is_typed = |tensor: &TensorProto| tensor.raw_data.is_none() && !is_external(tensor);
    let has_values = |tensor: &TensorProto, known: Option<DataType>| match known {
        Some(_) => true,
        // Strings, and numbers of other types in typed fields.
        None => tensor.string_data.is_empty() && !is_typed(tensor),
    };
    if !has_values(before, types[0]) || !has_values(after, types[1]) {
        let fields = |t: &TensorProto| (t.string_data.clone(), t.int32_data.clone());
        let floats = |t: &TensorProto| t.float_data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let doubles = |t: &TensorProto| {
            t.double_data
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        };
        let same = same_type
            && is_typed(before) == is_typed(after)
            && fields(before) == fields(after)
            && floats(before) == floats(after)
            && doubles(before) == doubles(after);
        return Ok(if same { Held::Same } else { Held::Others });
    }
    let (Some(x), Some(y)) = (a.values_of(before)?, b.values_of(after)?) else {
        return Ok(Held::Others);
    };
    if same_type && x.same(&y)? {
        return Ok(Held::Same);
    }
    let [Some(old), Some(new)] = types else {
        return Ok(Held::Others);
    };
    let elements = [x.len() / old.size() as u64, y.len() / new.size() as u64];
    if elements[0] != elements[1] {
        return Ok(Held::Others);
    }
    let read = |values: Values| move |at: u64, to: &mut [u8]| values.read_at(at, to);
    let change = numbers((read(x), old), (read(y), new), elements[0])?;
    Ok(match change.changed {
        0 if !same_type => Held::Same,
        _ => Held::Numbers(change),
    })
}

/// How two tensors of the same dimensions differ; `None` where these are not the same.
pub(crate) fn between(before: &Tensor, after: &Tensor) -> Option<ValueChange> {
    if before.dims != after.dims {
        return None;
    }
    let read = |tensor: &Tensor| {
        let data = tensor.data.clone();
        move |at: u64, to: &mut [u8]| {
            let at = at as usize;
            to.copy_from_slice(&data[at..at + to.len()]);
            Ok::<_, Infallible>(())
        }
    };
    let elements = before.len().min(after.len()) as u64;
    let (x, y) = ((read(before), before.dtype), (read(after), after.dtype));
    let Ok(change) = numbers(x, y, elements);
    Some(change)
}

/// Compares so many elements, of which the functions write the bytes from a place on.
fn numbers<E>(
    (a, old): (impl Fn(u64, &mut [u8]) -> Result<(), E>, DataType),
    (b, new): (impl Fn(u64, &mut [u8]) -> Result<(), E>, DataType),
    elements: u64,
) -> Result<ValueChange, E> {
    let [mut x, mut y] = [vec![0; PIECE * old.size()], vec![0; PIECE * new.size()]];
    let [mut p, mut q] = [Vec::new(), Vec::new()];
    let [mut norm, mut difference] = [Norm::default(), Norm::default()];
    let (mut changed, mut largest, mut size) = (0, 0f64, 0f64);
    let (mut nan, mut nan_apart) = ([0; 2], 0);
    let mut at = 0;
    while at < elements {
        let count = usize::try_from(elements - at).unwrap_or(PIECE).min(PIECE);
        let (x, y) = (&mut x[..count * old.size()], &mut y[..count * new.size()]);
        a(at * old.size() as u64, x)?;
        b(at * new.size() as u64, y)?;
        at += count as u64;
        decode(x, old, &mut p);
        decode(y, new, &mut q);
        let bits = x.chunks(old.size()).zip(y.chunks(new.size()));
        for ((&p, &q), (x, y)) in p.iter().zip(&q).zip(bits) {
            nan[0] += u64::from(p.is_nan());
            nan[1] += u64::from(q.is_nan());
            nan_apart += u64::from(p.is_nan() != q.is_nan());
            let same = match old == new {
                true => x == y,
                false => p == q || p.is_nan() && q.is_nan(),
            };
            changed += u64::from(!same);
            if p.is_nan() || q.is_nan() {
                continue;
            }
            norm.add(p);
            if p.is_finite() {
                size = size.max(p.abs());
            }
            // Of two infinities, the difference is no number.
            if !same {
                difference.add(q - p);
                largest = largest.max((q - p).abs());
            }
        }
    }
    let (norm, difference) = (norm.value(), difference.value());
    Ok(ValueChange {
        elements,
        changed,
        norm,
        difference,
        relative: (norm > 0.0).then_some(difference / norm),
        largest,
        size,
        nan,
        nan_apart,
    })
}

/// The values of whole elements, as float64.
fn decode(bytes: &[u8], dtype: DataType, values: &mut Vec<f64>) {
    use DataType::*;
    fn each<const N: usize>(bytes: &[u8], values: &mut Vec<f64>, value: impl Fn([u8; N]) -> f64) {
        values.extend(bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)));
    }
    values.clear();
    match dtype {
        Float => each(bytes, values, |b| f32::from_le_bytes(b).into()),
        Double => each(bytes, values, f64::from_le_bytes),
        Float16 => each(bytes, values, |b| f16::from_le_bytes(b).into()),
        Bfloat16 => each(bytes, values, |b| bf16::from_le_bytes(b).into()),
        Int8 => each(bytes, values, |b| i8::from_le_bytes(b).into()),
        Int16 => each(bytes, values, |b| i16::from_le_bytes(b).into()),
        Int32 => each(bytes, values, |b| i32::from_le_bytes(b).into()),
        Int64 => each(bytes, values, |b| i64::from_le_bytes(b) as f64),
        Uint8 | Bool => each(bytes, values, |b| u8::from_le_bytes(b).into()),
        Uint16 => each(bytes, values, |b| u16::from_le_bytes(b).into()),
        Uint32 => each(bytes, values, |b| u32::from_le_bytes(b).into()),
        Uint64 => each(bytes, values, |b| u64::from_le_bytes(b) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &[f32], after: &[f32]) -> ValueChange {
        let [x, y] = [before, after].map(|values| Tensor::f32(&[values.len()], values));
        between(&x, &y).unwrap()
    }

    #[test]
    fn norms_are_of_numbers_and_what_is_none_is_counted() {
        let change = of(
            &[3.0, 4.0, f32::NAN, 1.0, f32::NAN],
            &[3.0, 1.0, f32::NAN, f32::NAN, 2.0],
        );
        let expected = ValueChange {
            elements: 5,
            changed: 3,
            norm: 5.0,
            difference: 3.0,
            relative: Some(0.6),
            largest: 3.0,
            size: 4.0,
            nan: [2, 2],
            nan_apart: 2,
        };
        assert_eq!(change, expected);
    }

    #[test]
    fn infinities_and_signed_zeros_are_told_by_their_bits() {
        let change = of(&[f32::INFINITY, 0.0], &[f32::INFINITY, -0.0]);
        assert_eq!((change.changed, change.difference), (1, 0.0));
        let change = of(&[f32::INFINITY, 0.0], &[f32::NEG_INFINITY, 0.0]);
        assert_eq!((change.changed, change.largest), (1, f64::INFINITY));
        assert_eq!(of(&[0.0], &[2.0]).relative, None);
    }

    #[test]
    fn pieces_come_to_what_the_whole_comes_to() {
        let count = 2 * PIECE + 3;
        let before: Vec<f32> = (0..count).map(|i| (i as f32).sin()).collect();
        let mut after = before.clone();
        for i in [0, PIECE - 1, PIECE, count - 1] {
            after[i] += 0.5;
        }
        let change = of(&before, &after);
        let sum = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let [p, q] = [&before, &after].map(|v| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let d: Vec<f64> = p.iter().zip(&q).map(|(p, q)| q - p).collect();
        assert_eq!((change.elements, change.changed), (count as u64, 4));
        assert!((change.norm - sum(&p)).abs() < 1e-9 * sum(&p));
        assert!((change.difference - sum(&d)).abs() < 1e-12);
    }
}
