//! Tensors and their data.

use crate::graph::schemas::type_element;
use crate::onnx::is_external;
use crate::onnx::messages::{SparseTensorProto, TensorProto};

use super::{Check, Rule};

const STRING: i32 = 8;

/// Bits of an element, by the number of its type; 0 of strings.
fn bits(number: i32) -> u64 {
    match number {
        STRING => 0,
        25 | 26 => 2,
        21..=23 => 4,
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        15 => 128,
        _ => 64,
    }
}

/// The field for values of a type that are not raw, and how many entries of it elements take.
fn field(number: i32, elements: u64) -> (&'static str, u64) {
    match number {
        1 => ("float_data", elements),
        14 => ("float_data", 2 * elements),
        11 => ("double_data", elements),
        15 => ("double_data", 2 * elements),
        7 => ("int64_data", elements),
        12 | 13 => ("uint64_data", elements),
        STRING => ("string_data", elements),
        _ if bits(number) < 8 => ("int32_data", (elements * bits(number)).div_ceil(8)),
        _ => ("int32_data", elements),
    }
}

impl Check<'_> {
    /// A tensor and whether its data are there; `what` names it.
    pub(super) fn tensor(&mut self, tensor: &TensorProto, what: &str) {
        self.found.tensors += 1;
        let mut fault = |text: String| self.fault(Rule::Tensor, format!("{what} {text}"));
        let number = tensor.data_type();
        if type_element(number).is_none() {
            return fault(match tensor.data_type {
                None | Some(0) => "does not say of which type it is".to_owned(),
                Some(number) => format!("is of type {number}, which ONNX does not have"),
            });
        }
        let sizes = tensor.dims.iter().map(|&d| u64::try_from(d).ok());
        let Some(elements) = sizes
            .collect::<Option<Vec<u64>>>()
            .and_then(|sizes| sizes.into_iter().try_fold(1u64, u64::checked_mul))
            .filter(|elements| *elements < 1 << 56)
        else {
            return fault(format!("has dimensions {:?}", tensor.dims));
        };
        let fields = [
            ("float_data", tensor.float_data.len()),
            ("int32_data", tensor.int32_data.len()),
            ("string_data", tensor.string_data.len()),
            ("int64_data", tensor.int64_data.len()),
            ("double_data", tensor.double_data.len()),
            ("uint64_data", tensor.uint64_data.len()),
        ];
        let mut typed = fields.iter().filter(|(_, count)| *count > 0);
        let (first, second) = (typed.next(), typed.next());
        let raw = tensor.raw_data.as_ref();
        let expected = (elements * bits(number)).div_ceil(8);
        if is_external(tensor) {
            if first.is_some() || raw.is_some_and(|raw| !raw.is_empty()) {
                fault("has data inside and in a file beside the model".to_owned());
            }
            return self.external(tensor, expected, what);
        }
        if second.is_some() || first.is_some() && raw.is_some() {
            return fault("has its values in more than one field".to_owned());
        }
        match (first, raw) {
            (_, Some(_)) if number == STRING => fault("has strings as raw data".to_owned()),
            (None, Some(raw)) if raw.len() as u64 != expected => fault(format!(
                "has {} bytes of data, and its type and dimensions come to {expected}",
                raw.len()
            )),
            (Some(&(name, count)), None) => {
                let (field, entries) = field(number, elements);
                if name != field {
                    fault(format!(
                        "has its values in `{name}`, and those of its type belong into `{field}`"
                    ));
                } else if count as u64 != entries {
                    fault(format!(
                        "has {count} entries of `{field}`, and its dimensions come to {entries}"
                    ));
                }
            }
            (None, None) if elements > 0 => fault("has no data".to_owned()),
            _ => {}
        }
    }

    /// Data in a file beside the model.
    fn external(&mut self, tensor: &TensorProto, expected: u64, what: &str) {
        if tensor.data_type() == STRING {
            return self.fault(
                Rule::Tensor,
                format!("{what} has strings in a file beside the model"),
            );
        }
        match self.model.values_of(tensor) {
            Err(error) => self.fault(Rule::Tensor, format!("{what}: {error}")),
            Ok(Some(values)) if values.len() != expected => {
                let text = format!(
                    "{what} has {} bytes in its file, and its type and dimensions come to {expected}",
                    values.len()
                );
                self.fault(Rule::Tensor, text);
            }
            Ok(_) => {}
        }
    }

    /// A sparse tensor.
    pub(super) fn sparse_tensor(&mut self, sparse: &SparseTensorProto, what: &str) {
        let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
            return self.fault(
                Rule::Tensor,
                format!("{what} lacks its values or their indices"),
            );
        };
        self.tensor(values, &format!("{what}, in its values,"));
        self.tensor(indices, &format!("{what}, in its indices,"));
        let count = values.dims.first().copied().unwrap_or(0);
        let rank = sparse.dims.len() as i64;
        let fits = match indices.dims[..] {
            [n] => n == count,
            [n, r] => n == count && r == rank,
            _ => false,
        };
        if values.dims.len() != 1 || indices.data_type() != 7 || !fits || rank == 0 {
            let text = format!(
                "{what} has values of dimensions {:?} with indices of {:?} for dimensions {:?}",
                values.dims, indices.dims, sparse.dims
            );
            self.fault(Rule::Tensor, text);
        }
    }
}
