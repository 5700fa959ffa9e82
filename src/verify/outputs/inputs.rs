//! Inputs on which models are run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use half::f16;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadableElement};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::onnx::messages::{DimensionValue, TypeValue, ValueInfoProto};
use crate::onnx::{DataType, Model, Tensor, element_count};
use crate::random::{Purpose, stream};

use super::super::VerifyError;

/// Bytes of an input beyond which none is made.
const MOST: usize = 1 << 28;

/// Values for the inputs of a model: those of the arrays in `given`, by their names, else random ones of the declared types and
/// dimensions, the same for the same `seed`. Floats are between -1 and 1, bytes any, other whole numbers 0 or 1, for they may
/// be places in small tables. Dimensions that are left open are `dims`, by their names, else 1.
///
/// # Errors
/// When an input is no tensor of numbers, an array is not there or does not fit, or `dims` names what is not open.
pub fn inputs(
    model: &Model,
    given: Option<&Path>,
    dims: &BTreeMap<String, usize>,
    seed: u64,
) -> Result<Vec<(String, Tensor)>, VerifyError> {
    let graph = model.graph();
    let initializers: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !initializers.contains(input.name()));
    let inputs: Vec<&ValueInfoProto> = inputs.collect();
    let open: BTreeSet<&str> = inputs.iter().flat_map(|input| symbols(input)).collect();
    if let Some(name) = dims.keys().find(|name| !open.contains(name.as_str())) {
        let open: Vec<&str> = open.into_iter().collect();
        return Err(VerifyError::Dimension {
            name: name.clone(),
            open: if open.is_empty() {
                "none".to_owned()
            } else {
                open.join(", ")
            },
        });
    }
    let mut archive = given.map(Archive::open).transpose()?;
    inputs
        .iter()
        .map(|input| {
            let name = input.name();
            let fail = |reason: String| VerifyError::Input {
                input: name.to_owned(),
                reason,
            };
            let (dtype, declared) = declaration(input).map_err(fail)?;
            let tensor = match &mut archive {
                None => {
                    let sizes = declared.iter().map(|dim| match dim {
                        Ok(size) => *size,
                        Err(symbol) => dims.get(*symbol).copied().unwrap_or(1),
                    });
                    random(name, dtype, sizes.collect(), seed).map_err(fail)?
                }
                Some(archive) => {
                    let array = archive.array(name, inputs.len() == 1, dtype)?;
                    let fits = array.dims.len() == declared.len()
                        && array
                            .dims
                            .iter()
                            .zip(&declared)
                            .all(|(size, dim)| dim.is_err() || *dim == Ok(*size));
                    if !fits {
                        let text = format!("the array given has dimensions {:?}", array.dims);
                        return Err(fail(text));
                    }
                    array
                }
            };
            Ok((name.to_owned(), tensor))
        })
        .collect()
}

/// The names of the dimensions that an input leaves open.
fn symbols(input: &ValueInfoProto) -> Vec<&str> {
    let Some(TypeValue::Tensor(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Vec::new();
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    dims.filter_map(|dim| match &dim.value {
        Some(DimensionValue::DimParam(name)) => Some(name.as_str()),
        _ => None,
    })
    .collect()
}

/// A dimension: its size or, where that is open, its name.
type Size<'n> = Result<usize, &'n str>;

/// An input's type, and of each of its dimensions the size or, where it is open, the name.
fn declaration(input: &ValueInfoProto) -> Result<(DataType, Vec<Size<'_>>), String> {
    let kind = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(TypeValue::Tensor(tensor)) = kind else {
        return Err("it is no tensor".to_owned());
    };
    let dtype = DataType::from_number(tensor.elem_type());
    let dtype = dtype.ok_or_else(|| "no values are made of its type".to_owned())?;
    let shape = tensor
        .shape
        .as_ref()
        .ok_or_else(|| "it does not say how many dimensions it has".to_owned())?;
    let dims = shape.dim.iter().map(|dim| match &dim.value {
        Some(DimensionValue::DimValue(size)) => usize::try_from(*size).map_err(|_| ""),
        Some(DimensionValue::DimParam(name)) => Err(name.as_str()),
        None => Err(""),
    });
    Ok((dtype, dims.collect()))
}

fn random(name: &str, dtype: DataType, dims: Vec<usize>, seed: u64) -> Result<Tensor, String> {
    let bytes = element_count(&dims).and_then(|count| count.checked_mul(dtype.size()));
    let Some(bytes) = bytes.filter(|&bytes| bytes <= MOST) else {
        return Err(format!(
            "dimensions {dims:?} are too many for random values"
        ));
    };
    let mut rng = stream(Purpose::Comparison, seed, &[name.as_bytes()]);
    let count = bytes / dtype.size();
    let mut data = Vec::with_capacity(bytes);
    for _ in 0..count {
        let float = |rng: &mut ChaCha8Rng| rng.random_range(-1.0f32..1.0);
        match dtype {
            DataType::Float => data.extend(float(&mut rng).to_le_bytes()),
            DataType::Double => data.extend(f64::from(float(&mut rng)).to_le_bytes()),
            DataType::Float16 => data.extend(f16::from_f32(float(&mut rng)).to_le_bytes()),
            DataType::Bfloat16 => data.extend(half::bf16::from_f32(float(&mut rng)).to_le_bytes()),
            DataType::Uint8 => data.push(rng.random()),
            whole => {
                let mut number = vec![0; whole.size()];
                number[0] = u8::from(rng.random::<bool>());
                data.extend(number);
            }
        }
    }
    Ok(Tensor {
        dtype,
        dims,
        data: data.into(),
    })
}

/// Arrays in a file of NumPy.
struct Archive<'p> {
    path: &'p Path,
    reader: NpzReader<File>,
    names: Vec<String>,
}

impl<'p> Archive<'p> {
    fn open(path: &'p Path) -> Result<Self, VerifyError> {
        let fail = |reason: String| VerifyError::Inputs {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let mut reader = NpzReader::new(file).map_err(|e| fail(e.to_string()))?;
        let names = reader.names().map_err(|e| fail(e.to_string()))?;
        let names = names
            .into_iter()
            .map(|name| name.trim_end_matches(".npy").to_owned());
        Ok(Archive {
            path,
            reader,
            names: names.collect(),
        })
    }

    /// The array of a name, or where there is one input and one array, that.
    fn array(&mut self, name: &str, only: bool, dtype: DataType) -> Result<Tensor, VerifyError> {
        let found = match &self.names[..] {
            names if names.iter().any(|known| known == name) => Some(name.to_owned()),
            [one] if only => Some(one.clone()),
            _ => None,
        };
        let Some(found) = found else {
            return Err(VerifyError::Inputs {
                path: self.path.to_owned(),
                reason: format!("it has no array `{name}`, but {}", self.names.join(", ")),
            });
        };
        match dtype {
            DataType::Float => self.read(&found, dtype, f32::to_le_bytes),
            DataType::Double => self.read(&found, dtype, f64::to_le_bytes),
            DataType::Int64 => self.read(&found, dtype, i64::to_le_bytes),
            DataType::Int32 => self.read(&found, dtype, i32::to_le_bytes),
            DataType::Int16 => self.read(&found, dtype, i16::to_le_bytes),
            DataType::Int8 => self.read(&found, dtype, i8::to_le_bytes),
            DataType::Uint8 => self.read(&found, dtype, u8::to_le_bytes),
            DataType::Uint16 => self.read(&found, dtype, u16::to_le_bytes),
            DataType::Uint32 => self.read(&found, dtype, u32::to_le_bytes),
            DataType::Uint64 => self.read(&found, dtype, u64::to_le_bytes),
            DataType::Bool => self.read(&found, dtype, |b: bool| [u8::from(b)]),
            DataType::Float16 | DataType::Bfloat16 => Err(VerifyError::Input {
                input: name.to_owned(),
                reason: "arrays of float16 are not read; leave --inputs out".to_owned(),
            }),
        }
    }

    fn read<T: ReadableElement + Copy, const N: usize>(
        &mut self,
        name: &str,
        dtype: DataType,
        bytes: impl Fn(T) -> [u8; N],
    ) -> Result<Tensor, VerifyError> {
        let array: Result<ndarray::ArrayBase<OwnedRepr<T>, IxDyn>, _> = self
            .reader
            .by_name(&format!("{name}.npy"))
            .or_else(|_| self.reader.by_name(name));
        let array: ArrayD<T> = array.map_err(|e| VerifyError::Inputs {
            path: self.path.to_owned(),
            reason: format!("array `{name}`, of which {dtype:?} is wanted: {e}"),
        })?;
        let data: Vec<u8> = array.iter().flat_map(|&value| bytes(value)).collect();
        Ok(Tensor {
            dtype,
            dims: array.shape().to_vec(),
            data: data.into(),
        })
    }
}
