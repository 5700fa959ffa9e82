//! How tensors differ, and nodes but for theirs.

use prost::Message;

use crate::onnx::messages::{
    AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto,
};
use crate::onnx::{Model, is_external};

use super::super::SurgeryError;
use super::super::difference::What;
use super::keys::{Named, without_raw};

/// The models before and after, with their external data.
pub(super) type Files<'a> = (&'a Model, &'a Model);

/// How a tensor differs, if it does.
pub(super) fn tensor(
    files: Files<'_>,
    before: &TensorProto,
    after: &TensorProto,
) -> Result<Option<What>, SurgeryError> {
    // The raw data is compared on its own, not to copy large weights.
    let raw = |(files, tensor): (&Model, &TensorProto)| {
        let raw = tensor.raw_data.as_ref();
        raw.map(|raw| files.values(raw))
    };
    let same_raw = match (raw((files.0, before)), raw((files.1, after))) {
        (Some(before), Some(after)) => before.same(&after)?,
        (before, after) => before.is_none() && after.is_none(),
    };
    let same_rest = without_raw(before).encode_to_vec() == without_raw(after).encode_to_vec();
    let places = (is_external(before), is_external(after));
    // What names the same part of a file in the same folder has the same values.
    let same_folder = || files.0.path().parent() == files.1.path().parent();
    if same_raw && same_rest && (!places.0 || same_folder()) {
        return Ok(None);
    }
    if declared(before) == declared(after)
        && places != (false, false)
        && let Some(before) = files.0.values_of(before)?
        && let Some(after) = files.1.values_of(after)?
        && before.same(&after)?
    {
        return Ok(match places {
            (true, false) => Some(What::TakenIn),
            (false, _) => Some(What::PutBeside),
            (true, true) if same_rest => None,
            (true, true) => Some(What::Relocated),
        });
    }
    let content = after.digest(files.1)?;
    Ok(Some(match declared(before) == declared(after) {
        true => What::Set { content },
        false => What::Changed { content },
    }))
}

/// How a sparse tensor differs, if it does.
pub(super) fn sparse_tensor(
    files: Files<'_>,
    before: &SparseTensorProto,
    after: &SparseTensorProto,
) -> Result<Option<What>, SurgeryError> {
    // Without `..`, so that a new field of the schema has to be named.
    let SparseTensorProto {
        values,
        indices,
        dims,
    } = before;
    let mut found = None;
    let mut only_moved = *dims == after.dims;
    let pairs = [(values, &after.values), (indices, &after.indices)];
    for pair in pairs {
        let what = match pair {
            (Some(before), Some(after)) => tensor(files, before, after)?,
            (None, None) => None,
            _ => Some(What::Removed),
        };
        only_moved &= what.as_ref().is_none_or(What::is_place);
        found = found.or(what);
    }
    match (only_moved, found) {
        (true, found) => Ok(found),
        (false, _) => Ok(Some(What::Changed {
            content: after.digest(files.1)?,
        })),
    }
}

/// The numbers of a constant's attribute, floats by their bits.
pub(super) fn numbers(a: &AttributeProto) -> (Vec<u32>, Vec<i64>) {
    let floats = a.f.iter().chain(&a.floats).map(|v| v.to_bits());
    (
        floats.collect(),
        a.i.iter().chain(&a.ints).copied().collect(),
    )
}

/// A node with nothing in its tensors and graphs, and, of a constant, in its numbers, encoded.
pub(super) fn bare(node: &NodeProto, constant: bool) -> Vec<u8> {
    let attribute = |a: &AttributeProto| AttributeProto {
        name: a.name.clone(),
        ref_attr_name: a.ref_attr_name.clone(),
        doc_string: a.doc_string.clone(),
        r#type: a.r#type,
        f: if constant { a.f.map(|_| 0.0) } else { a.f },
        i: if constant { a.i.map(|_| 0) } else { a.i },
        s: a.s.clone(),
        t: a.t.as_ref().map(|_| TensorProto::default()),
        g: a.g.as_ref().map(|_| Box::default()),
        sparse_tensor: a
            .sparse_tensor
            .as_ref()
            .map(|_| SparseTensorProto::default()),
        tp: a.tp.clone(),
        floats: match constant {
            true => vec![0.0; a.floats.len()],
            false => a.floats.clone(),
        },
        ints: match constant {
            true => vec![0; a.ints.len()],
            false => a.ints.clone(),
        },
        strings: a.strings.clone(),
        tensors: vec![TensorProto::default(); a.tensors.len()],
        graphs: vec![GraphProto::default(); a.graphs.len()],
        sparse_tensors: vec![SparseTensorProto::default(); a.sparse_tensors.len()],
        type_protos: a.type_protos.clone(),
    };
    NodeProto {
        input: node.input.clone(),
        output: node.output.clone(),
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        overload: node.overload.clone(),
        attribute: node.attribute.iter().map(attribute).collect(),
        doc_string: node.doc_string.clone(),
        metadata_props: node.metadata_props.clone(),
        device_configurations: node.device_configurations.clone(),
    }
    .encode_to_vec()
}

/// A tensor's message without its values and without where they lie.
fn declared(tensor: &TensorProto) -> Vec<u8> {
    TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        segment: tensor.segment.clone(),
        name: tensor.name.clone(),
        doc_string: tensor.doc_string.clone(),
        metadata_props: tensor.metadata_props.clone(),
        float_data: Vec::new(),
        int32_data: Vec::new(),
        string_data: Vec::new(),
        int64_data: Vec::new(),
        raw_data: None,
        external_data: Vec::new(),
        data_location: None,
        double_data: Vec::new(),
        uint64_data: Vec::new(),
    }
    .encode_to_vec()
}
