//! Parts of a model in words.

use crate::onnx::messages::{
    AttributeProto, Dimension, DimensionValue, NodeProto, StringStringEntryProto, TensorProto,
    TypeProto, TypeValue, ValueInfoProto,
};
use crate::onnx::{element_name, is_external};

/// Elements of a list that are written out.
const SHOWN: usize = 64;

fn list<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = items.iter().take(SHOWN).map(word).collect();
    let more = match items.len() > SHOWN {
        true => format!(", … ({} in all)", items.len()),
        false => String::new(),
    };
    format!("[{}{more}]", shown.join(", "))
}

/// Type and dimensions of a tensor, `float32[64, 3, 7, 7]`.
pub(super) fn declared(tensor: &TensorProto) -> String {
    let dims = list(&tensor.dims, i64::to_string);
    format!("{}{dims}", element_name(tensor.data_type()))
}

fn text(bytes: &[u8]) -> String {
    format!("`{}`", String::from_utf8_lossy(bytes))
}

fn dimension(dim: &Dimension) -> String {
    match &dim.value {
        Some(DimensionValue::DimValue(size)) => size.to_string(),
        Some(DimensionValue::DimParam(name)) => name.clone(),
        None => "?".to_owned(),
    }
}

/// The type of a value, `float32[N, 3, 224, 224]`.
pub(super) fn value_type(kind: &TypeProto) -> String {
    let inner =
        |kind: &Option<Box<TypeProto>>| kind.as_deref().map_or_else(|| "?".to_owned(), value_type);
    match &kind.value {
        None => "of no type".to_owned(),
        Some(TypeValue::Tensor(tensor)) => {
            let element = element_name(tensor.elem_type());
            match &tensor.shape {
                Some(shape) => format!("{element}{}", list(&shape.dim, dimension)),
                None => format!("{element} of any shape"),
            }
        }
        Some(TypeValue::Sequence(sequence)) => {
            format!("sequence of {}", inner(&sequence.elem_type))
        }
        Some(TypeValue::Optional(optional)) => format!("optional {}", inner(&optional.elem_type)),
        Some(other) => format!("{other:?}"),
    }
}

/// The type of a declared value.
pub(super) fn value_info(value: &ValueInfoProto) -> String {
    let kind = value.r#type.as_ref();
    kind.map_or_else(|| "of no type".to_owned(), value_type)
}

/// The value of an attribute.
pub(super) fn attribute(a: &AttributeProto) -> String {
    if let Some(name) = a.ref_attr_name.as_ref().filter(|name| !name.is_empty()) {
        return format!("@{name}");
    }
    let several = |what: &str, count: usize| format!("{count} {what}");
    match a {
        _ if a.f.is_some() => a.f().to_string(),
        _ if a.i.is_some() => a.i().to_string(),
        _ if a.s.is_some() => text(a.s()),
        _ if a.t.is_some() => a.t.as_ref().map(declared).unwrap_or_default(),
        _ if a.g.is_some() => "a graph".to_owned(),
        _ if a.sparse_tensor.is_some() => "a sparse tensor".to_owned(),
        _ if a.tp.is_some() => a.tp.as_ref().map(value_type).unwrap_or_default(),
        _ if !a.floats.is_empty() => list(&a.floats, f32::to_string),
        _ if !a.ints.is_empty() => list(&a.ints, i64::to_string),
        _ if !a.strings.is_empty() => list(&a.strings, |s| text(s)),
        _ if !a.tensors.is_empty() => several("tensors", a.tensors.len()),
        _ if !a.graphs.is_empty() => several("graphs", a.graphs.len()),
        _ if !a.sparse_tensors.is_empty() => several("sparse tensors", a.sparse_tensors.len()),
        _ if !a.type_protos.is_empty() => list(&a.type_protos, value_type),
        _ => "empty".to_owned(),
    }
}

/// Entries `KEY: VALUE`, in the order of their keys.
pub(super) fn entries(entries: &[StringStringEntryProto]) -> String {
    let mut texts: Vec<String> = entries
        .iter()
        .map(|e| format!("`{}`: `{}`", e.key(), e.value()))
        .collect();
    texts.sort();
    texts.join(", ")
}

/// Its name or, without one, its first output.
pub(super) fn node(node: &NodeProto) -> String {
    let output = || node.output.iter().find(|o| !o.is_empty());
    match node.name() {
        "" => output().cloned().unwrap_or_default(),
        name => name.to_owned(),
    }
}

/// Where the values of a tensor are stored.
pub(super) fn stored(tensor: &TensorProto) -> String {
    if is_external(tensor) {
        let mut entries = tensor.external_data.iter();
        let location = entries.find(|e| e.key() == "location");
        return format!("file `{}`", location.map_or("", |e| e.value()));
    }
    match tensor.raw_data {
        Some(_) => "raw_data".to_owned(),
        None => "a typed field".to_owned(),
    }
}
