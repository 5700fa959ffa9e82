//! Types of values that are to be inputs or outputs.

use std::collections::HashMap;

use crate::graph::{Dim, Graph, Value, infer_what_fits, normalise, value_to_proto};
use crate::onnx::messages::{DimensionValue, GraphProto, TypeValue, ValueInfoProto};
use crate::onnx::{DataType, Model};
use crate::runtime::Port;

use super::{Runtimes, TransformError, probe};

/// The declarations of these values of the model's graph: as its file has them, else as onnxruntime infers them, or
/// without it as far as they are inferred here.
///
/// # Errors
/// [`TransformError::NoType`] names a value of which nothing is known.
pub(super) fn declarations(
    model: &Model,
    names: &[String],
    runtimes: &dyn Runtimes,
) -> Result<Vec<ValueInfoProto>, TransformError> {
    let graph = model.graph();
    let known = |name: &String| declared(graph, name).is_some();
    let open: Vec<&str> = names
        .iter()
        .filter(|n| !known(n))
        .map(String::as_str)
        .collect();
    let inferred = match open.is_empty() {
        true => HashMap::new(),
        false => inferred(model, &open, runtimes)?,
    };
    let declaration = |name: &String| match declared(graph, name) {
        Some(declared) => Ok(declared),
        None => inferred
            .get(name)
            .map(value_to_proto)
            .ok_or_else(|| TransformError::ExoticType {
                value: name.clone(),
            }),
    };
    names.iter().map(declaration).collect()
}

/// The declaration of a value that the file has, if it says a type.
pub(super) fn declared(graph: &GraphProto, name: &str) -> Option<ValueInfoProto> {
    let noted = graph
        .input
        .iter()
        .chain(&graph.output)
        .chain(&graph.value_info);
    let mut noted = noted.filter(|v| v.name() == name && has_type(v));
    // One that says a shape goes before one that says none.
    let all: Vec<&ValueInfoProto> = noted.by_ref().collect();
    if let Some(declared) = all.iter().find(|v| has_shape(v)).or(all.first()) {
        return Some((*declared).clone());
    }
    let tensor = graph.initializer.iter().find(|t| t.name() == name)?;
    let dims: Option<Vec<usize>> = tensor
        .dims
        .iter()
        .map(|&d| usize::try_from(d).ok())
        .collect();
    let mut value = value_to_proto(&Value::fixed(name, DataType::Float, &dims?));
    if let Some(TypeValue::Tensor(declared)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
    {
        declared.elem_type = tensor.data_type;
    }
    Some(value)
}

/// The size of the first dimension of a tensor, where it is declared.
pub(super) fn first_size(value: &ValueInfoProto) -> Option<i64> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => match tensor.shape.as_ref()?.dim.first()?.value {
            Some(DimensionValue::DimValue(size)) => Some(size),
            _ => None,
        },
        _ => None,
    }
}

fn has_type(value: &ValueInfoProto) -> bool {
    match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Tensor(tensor)) => tensor.elem_type.unwrap_or(0) != 0,
        other => other.is_some(),
    }
}

fn has_shape(value: &ValueInfoProto) -> bool {
    match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Tensor(tensor)) => tensor.shape.is_some(),
        _ => true,
    }
}

fn inferred(
    model: &Model,
    names: &[&str],
    runtimes: &dyn Runtimes,
) -> Result<HashMap<String, Value>, TransformError> {
    let runtime = match runtimes.runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            let found = inferred_here(model, names).unwrap_or_default();
            return match names.iter().find(|name| !found.contains_key(**name)) {
                None => Ok(found),
                Some(name) => Err(TransformError::NoType {
                    value: (*name).to_owned(),
                    source: Some(Box::new(error)),
                }),
            };
        }
    };
    let session = probe::outline(&runtime, model, names)?;
    let mut found = HashMap::new();
    let mut here = None;
    for mut value in session.outputs().iter().filter_map(value) {
        // No dimensions are a scalar's, or those of a value of which onnxruntime knows none.
        if value.dims.as_ref().is_some_and(Vec::is_empty) {
            let here = here.get_or_insert_with(|| inferred_here(model, names).unwrap_or_default());
            let same = |known: &&Value| known.dtype == value.dtype;
            value.dims = here
                .get(&value.name)
                .filter(same)
                .and_then(|known| known.dims.clone());
        }
        found.insert(value.name.clone(), value);
    }
    Ok(found)
}

/// What onnxruntime says of a value.
fn value(port: &Port) -> Option<Value> {
    let symbol = |axis: usize| port.symbols.get(axis).cloned().unwrap_or_default();
    let dims = port.dims.iter().enumerate();
    let dims = dims.map(|(axis, size)| match size {
        Some(size) => Dim::Known(*size),
        None => Dim::Symbolic(symbol(axis)),
    });
    Some(Value {
        name: port.name.clone(),
        dtype: DataType::from_number(port.dtype)?,
        dims: Some(dims.collect()),
    })
}

/// Sizes at which shapes are inferred: of a first dimension, and of others.
const AT: [(usize, usize); 2] = [(5, 224), (7, 256)];

/// As far as it is known here: each dimension that the inputs leave open at two sizes.
fn inferred_here(model: &Model, names: &[&str]) -> Option<HashMap<String, Value>> {
    let mut graph = Graph::from_model(&model.outlined()).ok()?;
    // Normal form keeps what the outputs need.
    let float = |name: &&str| Value {
        name: (*name).to_owned(),
        dtype: DataType::Float,
        dims: None,
    };
    graph.outputs = names.iter().map(float).collect();
    normalise(&mut graph).ok()?;
    let mut symbols: Vec<(String, [usize; 2])> = Vec::new();
    let mut at = [HashMap::new(), HashMap::new()];
    for input in &graph.inputs {
        let mut sizes = [Vec::new(), Vec::new()];
        for (axis, dim) in input.dims.as_ref()?.iter().enumerate() {
            let pair = match dim {
                Dim::Known(size) => [*size; 2],
                Dim::Symbolic(name) => {
                    let known = symbols
                        .iter()
                        .find(|(known, _)| known == name && !name.is_empty());
                    let pair = match (known, axis) {
                        (Some((_, pair)), _) => *pair,
                        (None, 0) => AT.map(|(first, _)| first),
                        (None, _) => AT.map(|(_, other)| other),
                    };
                    symbols.push((name.clone(), pair));
                    pair
                }
            };
            sizes[0].push(pair[0]);
            sizes[1].push(pair[1]);
        }
        let [first, second] = sizes;
        at[0].insert(input.name.clone(), first);
        at[1].insert(input.name.clone(), second);
    }
    let (first, _) = infer_what_fits(&graph, &at[0]).ok()?;
    let (second, _) = infer_what_fits(&graph, &at[1]).ok()?;
    let mut found = HashMap::new();
    for name in names {
        let (Ok(a), Ok(b)) = (first.info(name), second.info(name)) else {
            continue;
        };
        if a.dims.len() != b.dims.len() {
            continue;
        }
        let dims = a.dims.iter().zip(&b.dims).map(|(&a, &b)| {
            let symbol = symbols.iter().find(|(_, pair)| *pair == [a, b]);
            match (a == b, symbol) {
                (true, _) => Dim::Known(a),
                (_, Some((name, _))) => Dim::Symbolic(name.clone()),
                (_, None) => Dim::Symbolic(String::new()),
            }
        });
        let value = Value {
            name: (*name).to_owned(),
            dtype: a.dtype,
            dims: Some(dims.collect()),
        };
        found.insert((*name).to_owned(), value);
    }
    Some(found)
}
