//! Dimensions of inputs that are declared from now on.

use std::collections::{BTreeMap, HashSet};

use crate::onnx::messages::{
    Dimension, DimensionValue, GraphProto, TensorShapeProto, TypeValue, ValueInfoProto,
};
use crate::surgery::{Editor, Part};

use super::super::TransformError;
use super::Folding;

/// Declares them; gives the dimensions of all inputs that are then fixed, where one was changed.
pub(super) fn fix(
    editor: &mut Editor<'_>,
    folding: &Folding,
) -> Result<Vec<(String, Vec<usize>)>, TransformError> {
    if folding.shapes.is_empty() && folding.dims.is_empty() {
        return Ok(Vec::new());
    }
    let mut symbols: BTreeMap<String, usize> = BTreeMap::new();
    let mut agree = |symbol: &str, size: usize| match symbols.insert(symbol.to_owned(), size) {
        Some(other) if other != size => Err(TransformError::Unfit(format!(
            "the dimension `{symbol}` cannot be {other} and {size}"
        ))),
        _ => Ok(()),
    };
    let graph = editor.graph();
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let inputs = || {
        let inputs = graph.input.iter();
        inputs.filter(|v| !stored.contains(v.name()))
    };
    for (symbol, size) in &folding.dims {
        let is_it =
            |d: &Dimension| matches!(&d.value, Some(DimensionValue::DimParam(s)) if s == symbol);
        if !inputs().any(|v| shape(v).is_some_and(|dims| dims.iter().any(is_it))) {
            let known: Vec<String> = inputs().flat_map(named).collect();
            return Err(TransformError::Unfit(format!(
                "no input has a dimension named `{symbol}`{}",
                match known.is_empty() {
                    true => String::new(),
                    false => format!(", but {}", known.join(", ")),
                }
            )));
        }
        agree(symbol, *size)?;
    }
    let mut nameless: Vec<(String, Vec<usize>)> = Vec::new();
    for (name, sizes) in &folding.shapes {
        let Some(input) = inputs().find(|v| v.name() == name) else {
            return Err(TransformError::NoMatch {
                pattern: name.clone(),
                kinds: "inputs".to_owned(),
            });
        };
        if let Some(dims) = shape(input) {
            if dims.len() != sizes.len() {
                return Err(TransformError::Unfit(format!(
                    "the input `{name}` has {} dimensions, not {}",
                    dims.len(),
                    sizes.len()
                )));
            }
            for (axis, (dim, &size)) in dims.iter().zip(sizes).enumerate() {
                match &dim.value {
                    Some(DimensionValue::DimValue(own)) if *own > 0 && *own != size as i64 => {
                        return Err(TransformError::Unfit(format!(
                            "dimension {axis} of the input `{name}` is {own} already, not {size}"
                        )));
                    }
                    Some(DimensionValue::DimParam(symbol)) if !symbol.is_empty() => {
                        agree(symbol, size)?;
                    }
                    _ => {}
                }
            }
        }
        nameless.push((name.clone(), sizes.clone()));
    }
    editor.change(|model, told| {
        let graph = model.graph.get_or_insert_default();
        for (name, sizes) in &nameless {
            for input in graph.input.iter_mut().filter(|v| v.name() == name) {
                if declare(input, sizes) {
                    told.part(Part::Input, name);
                }
            }
        }
        let lists = [
            (Part::Input, &mut graph.input),
            (Part::Output, &mut graph.output),
            (Part::ValueInfo, &mut graph.value_info),
        ];
        for (part, values) in lists {
            for value in values {
                if name_sizes(value, &symbols) {
                    told.part(part, value.name());
                }
            }
        }
    });
    Ok(fixed(editor.graph()))
}

/// The dimensions of inputs that are fixed.
fn fixed(graph: &GraphProto) -> Vec<(String, Vec<usize>)> {
    let sizes = |value: &ValueInfoProto| -> Option<Vec<usize>> {
        let dims = shape(value)?.iter().map(|dim| match dim.value {
            Some(DimensionValue::DimValue(size)) => usize::try_from(size).ok(),
            _ => None,
        });
        dims.collect()
    };
    let all = graph.input.iter();
    all.filter_map(|v| Some((v.name().to_owned(), sizes(v)?)))
        .collect()
}

fn shape(value: &ValueInfoProto) -> Option<&Vec<Dimension>> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => tensor.shape.as_ref().map(|s| &s.dim),
        _ => None,
    }
}

fn named(value: &ValueInfoProto) -> Vec<String> {
    let dims = shape(value).into_iter().flatten();
    dims.filter_map(|dim| match &dim.value {
        Some(DimensionValue::DimParam(symbol)) if !symbol.is_empty() => Some(format!("`{symbol}`")),
        _ => None,
    })
    .collect()
}

/// Declares the sizes that are open; whether one was.
fn declare(value: &mut ValueInfoProto, sizes: &[usize]) -> bool {
    let Some(TypeValue::Tensor(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        return false;
    };
    let shape = tensor.shape.get_or_insert_with(|| TensorShapeProto {
        dim: vec![Dimension::default(); sizes.len()],
    });
    let mut changed = false;
    for (dim, &size) in shape.dim.iter_mut().zip(sizes) {
        let new = Some(DimensionValue::DimValue(size as i64));
        changed |= dim.value != new;
        dim.value = new;
    }
    changed
}

/// Gives dimensions of these names their sizes; whether there was one.
fn name_sizes(value: &mut ValueInfoProto, symbols: &BTreeMap<String, usize>) -> bool {
    let Some(TypeValue::Tensor(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        return false;
    };
    let mut changed = false;
    for dim in tensor.shape.iter_mut().flat_map(|s| &mut s.dim) {
        if let Some(DimensionValue::DimParam(symbol)) = &dim.value
            && let Some(&size) = symbols.get(symbol)
        {
            dim.value = Some(DimensionValue::DimValue(size as i64));
            changed = true;
        }
    }
    changed
}
