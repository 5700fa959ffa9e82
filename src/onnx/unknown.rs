//! Finds fields of a model that the schema in [`super::messages`] does not know.
//!
//! prost drops unknown fields, so a model that has some would come out thinner than it went in.
//! This walk over the wire format notices them without decoding values.

/// For each message: its known field numbers and, for message fields, the name of the type.
#[rustfmt::skip]
const SCHEMA: &[(&str, &[(u64, &str)])] = &[
    ("AttributeProto", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, "TensorProto"), (6, "GraphProto"), (7, ""), (8, ""), (9, ""), (10, "TensorProto"), (11, "GraphProto"), (13, ""), (14, "TypeProto"), (15, "TypeProto"), (20, ""), (21, ""), (22, "SparseTensorProto"), (23, "SparseTensorProto")]),
    ("ValueInfoProto", &[(1, ""), (2, "TypeProto"), (3, ""), (4, "StringStringEntryProto")]),
    ("NodeProto", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, "AttributeProto"), (6, ""), (7, ""), (8, ""), (9, "StringStringEntryProto"), (10, "NodeDeviceConfigurationProto")]),
    ("IntIntListEntryProto", &[(1, ""), (2, "")]),
    ("NodeDeviceConfigurationProto", &[(1, ""), (2, "ShardingSpecProto"), (3, "")]),
    ("ShardingSpecProto", &[(1, ""), (2, ""), (3, "IntIntListEntryProto"), (4, "ShardedDimProto")]),
    ("ShardedDimProto", &[(1, ""), (2, "SimpleShardedDimProto")]),
    ("SimpleShardedDimProto", &[(1, ""), (2, ""), (3, "")]),
    ("TrainingInfoProto", &[(1, "GraphProto"), (2, "GraphProto"), (3, "StringStringEntryProto"), (4, "StringStringEntryProto")]),
    ("ModelProto", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, "GraphProto"), (8, "OperatorSetIdProto"), (14, "StringStringEntryProto"), (20, "TrainingInfoProto"), (25, "FunctionProto"), (26, "DeviceConfigurationProto")]),
    ("DeviceConfigurationProto", &[(1, ""), (2, ""), (3, "")]),
    ("StringStringEntryProto", &[(1, ""), (2, "")]),
    ("TensorAnnotation", &[(1, ""), (2, "StringStringEntryProto")]),
    ("GraphProto", &[(1, "NodeProto"), (2, ""), (5, "TensorProto"), (10, ""), (11, "ValueInfoProto"), (12, "ValueInfoProto"), (13, "ValueInfoProto"), (14, "TensorAnnotation"), (15, "SparseTensorProto"), (16, "StringStringEntryProto")]),
    ("Segment", &[(1, ""), (2, "")]),
    ("TensorProto", &[(1, ""), (2, ""), (3, "Segment"), (4, ""), (5, ""), (6, ""), (7, ""), (8, ""), (9, ""), (10, ""), (11, ""), (12, ""), (13, "StringStringEntryProto"), (14, ""), (16, "StringStringEntryProto")]),
    ("SparseTensorProto", &[(1, "TensorProto"), (2, "TensorProto"), (3, "")]),
    ("Dimension", &[(1, ""), (2, ""), (3, "")]),
    ("TensorShapeProto", &[(1, "Dimension")]),
    ("TensorType", &[(1, ""), (2, "TensorShapeProto")]),
    ("SequenceType", &[(1, "TypeProto")]),
    ("MapType", &[(1, ""), (2, "TypeProto")]),
    ("OptionalType", &[(1, "TypeProto")]),
    ("SparseTensorType", &[(1, ""), (2, "TensorShapeProto")]),
    ("OpaqueType", &[(1, ""), (2, "")]),
    ("TypeProto", &[(1, "TensorType"), (4, "SequenceType"), (5, "MapType"), (6, ""), (7, "OpaqueType"), (8, "SparseTensorType"), (9, "OptionalType")]),
    ("OperatorSetIdProto", &[(1, ""), (2, "")]),
    ("FunctionProto", &[(1, ""), (4, ""), (5, ""), (6, ""), (7, "NodeProto"), (8, ""), (9, "OperatorSetIdProto"), (10, ""), (11, "AttributeProto"), (12, "ValueInfoProto"), (13, ""), (14, "StringStringEntryProto")]),
];

/// Deepest nesting that is walked; prost refuses deeper messages anyway.
const MAX_DEPTH: usize = 100;

/// The first unknown field of an encoded `ModelProto`: the message it stands in and its number.
///
/// Bytes that are no valid protobuf end the walk silently; decoding reports those.
pub fn find_unknown_field(model: &[u8]) -> Option<(&'static str, u64)> {
    walk(model, "ModelProto", 0)
}

fn walk(mut bytes: &[u8], message: &str, depth: usize) -> Option<(&'static str, u64)> {
    let (name, fields) = SCHEMA.iter().find(|(name, _)| *name == message)?;
    while depth < MAX_DEPTH && !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, wire_type) = (key >> 3, key & 7);
        let body = match wire_type {
            0 => {
                varint(&mut bytes)?;
                &[]
            }
            1 => take(&mut bytes, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                take(&mut bytes, length)?
            }
            5 => take(&mut bytes, 4)?,
            _ => return None,
        };
        match fields.iter().find(|(n, _)| *n == number) {
            None => return Some((name, number)),
            Some((_, "")) => {}
            Some((_, inner)) => {
                if let Some(found) = walk(body, inner, depth + 1) {
                    return Some(found);
                }
            }
        }
    }
    None
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
    use prost::Message;

    #[test]
    fn a_field_beyond_the_schema_is_noticed_where_it_stands() {
        let node = NodeProto {
            op_type: Some("Relu".into()),
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node],
            ..Default::default()
        };
        let model = ModelProto {
            graph: Some(graph.clone()),
            ..Default::default()
        };
        assert_eq!(find_unknown_field(&model.encode_to_vec()), None);

        let mut inner = graph.encode_to_vec();
        inner.extend([0xf8, 0x07, 1]); // field 127, varint 1
        let mut outer = vec![0x3a, inner.len() as u8];
        outer.extend(inner);
        assert_eq!(find_unknown_field(&outer), Some(("GraphProto", 127)));
    }
}
