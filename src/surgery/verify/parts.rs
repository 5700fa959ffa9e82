//! How tensors differ, and nodes but for theirs.

use bytes::Bytes;
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
    if same_bytes(&before.raw_data, &after.raw_data)
        && without_raw(before).encode_to_vec() == without_raw(after).encode_to_vec()
    {
        return Ok(None);
    }
    if declared(before) != declared(after) {
        let content = after.digest();
        return Ok(Some(What::Changed { content }));
    }
    if is_external(before)
        && !is_external(after)
        && files.0.tensor(before)? == files.1.tensor(after)?
    {
        return Ok(Some(What::TakenIn));
    }
    let content = after.digest();
    Ok(Some(What::Set { content }))
}

/// Whether raw data are the same. Those that nobody has edited are one piece of memory, which is not read.
fn same_bytes(before: &Option<Bytes>, after: &Option<Bytes>) -> bool {
    match (before, after) {
        (Some(a), Some(b)) => (a.as_ptr(), a.len()) == (b.as_ptr(), b.len()) || a == b,
        (before, after) => before == after,
    }
}

/// How a sparse tensor differs, if it does.
pub(super) fn sparse_tensor(
    files: Files<'_>,
    before: &SparseTensorProto,
    after: &SparseTensorProto,
) -> Result<Option<What>, SurgeryError> {
    if before.encode_to_vec() == after.encode_to_vec() {
        return Ok(None);
    }
    // Without `..`, so that a new field of the schema has to be named.
    let SparseTensorProto {
        values,
        indices,
        dims,
    } = before;
    let mut taken_in = *dims == after.dims;
    let pairs = [(values, &after.values), (indices, &after.indices)];
    for pair in pairs {
        let what = match pair {
            (Some(before), Some(after)) => tensor(files, before, after)?,
            (None, None) => None,
            _ => Some(What::Removed),
        };
        taken_in &= matches!(what, None | Some(What::TakenIn));
    }
    Ok(Some(match taken_in {
        true => What::TakenIn,
        false => What::Changed {
            content: after.digest(),
        },
    }))
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
