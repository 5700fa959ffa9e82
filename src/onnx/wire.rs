//! A walk over the wire format of a model, before anything is decoded: what decoding would drop, what
//! it would take, and where the weights lie.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

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

/// What decoding may take in any case, in the units of [`weight`].
const FREE: u64 = 64 << 20;
/// What it may take more for every byte of fields. Nodes as exporters write them stay below.
const PER_BYTE: u64 = 32;
/// Bytes of one field that count for [`PER_BYTE`]: no weight makes room for many messages.
const COUNTED: u64 = 256;

/// About the bytes that a message, or a field without one, comes to in memory once it is a part of a
/// graph.
fn weight(message: &str) -> u64 {
    match message {
        "NodeProto" | "AttributeProto" => 1024,
        "GraphProto" | "FunctionProto" | "TensorProto" | "SparseTensorProto" | "ValueInfoProto"
        | "TrainingInfoProto" => 512,
        "" => 32,
        _ => 128,
    }
}

/// What a walk over an encoded `ModelProto` finds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// The first field that the schema does not know: the message it stands in and its number. prost
    /// drops such fields, so that the model would come out thinner than it went in.
    pub unknown: Option<(&'static str, u64)>,
    /// Whether it has more messages and fields than its size justifies. Decoding a few megabytes of
    /// empty messages takes gigabytes.
    pub crowded: bool,
    /// Sum of [`weight`].
    taken: u64,
    /// Bytes that count for [`PER_BYTE`].
    counted: u64,
}

impl Survey {
    /// Bytes that are no valid protobuf end the walk; decoding reports those.
    pub fn of(model: &[u8]) -> Self {
        let mut survey = Survey::default();
        survey.message(model, "ModelProto", 0);
        survey
    }

    /// Walks one message; `None` ends the walk.
    fn message(&mut self, mut bytes: &[u8], message: &str, depth: usize) -> Option<()> {
        let (name, fields) = SCHEMA.iter().find(|(name, _)| *name == message)?;
        self.take(message)?;
        while depth < MAX_DEPTH && !bytes.is_empty() {
            let before = bytes.len();
            let (number, body) = field(&mut bytes, 0)?;
            let inner = fields.iter().find(|(n, _)| *n == number);
            match (inner, body) {
                // The schema has no groups.
                (None, _) | (_, Body::Group) => {
                    self.unknown.get_or_insert((name, number));
                }
                (Some((_, inner)), Body::Bytes(body)) if !inner.is_empty() => {
                    self.counted += (before - bytes.len() - body.len()) as u64;
                    self.message(body, inner, depth + 1)?;
                }
                _ => {
                    self.counted += ((before - bytes.len()) as u64).min(COUNTED);
                    self.take("")?;
                }
            }
        }
        Some(())
    }

    fn take(&mut self, message: &str) -> Option<()> {
        self.taken += weight(message);
        self.crowded = self.taken > FREE + PER_BYTE * self.counted;
        (!self.crowded).then_some(())
    }
}

/// What a field holds.
enum Body<'a> {
    Number,
    Group,
    Bytes(&'a [u8]),
}

/// The next field's number and content; `None` where the bytes are no field.
fn field<'a>(bytes: &mut &'a [u8], depth: usize) -> Option<(u64, Body<'a>)> {
    let key = varint(bytes)?;
    let number = key >> 3;
    let body = match key & 7 {
        0 => varint(bytes).map(|_| Body::Number)?,
        1 => take(bytes, 8).map(|_| Body::Number)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Body::Bytes(take(bytes, length)?)
        }
        3 if depth < MAX_DEPTH => {
            // It lasts to the end mark with its number.
            loop {
                let mut next = *bytes;
                if varint(&mut next)? == number << 3 | 4 {
                    *bytes = next;
                    break Body::Group;
                }
                field(bytes, depth + 1)?;
            }
        }
        5 => take(bytes, 4).map(|_| Body::Number)?,
        _ => return None,
    };
    Some((number, body))
}

/// Where the raw data of large tensors lies in an encoded `ModelProto`, from `least` bytes on, found
/// without reading it. Bytes that are no valid protobuf end the search.
pub(super) fn large_weights(
    file: impl Read + Seek,
    len: u64,
    least: u64,
) -> io::Result<Vec<Range<u64>>> {
    let mut search = Search {
        file: BufReader::new(file),
        at: 0,
        least,
        found: Vec::new(),
    };
    search.file.seek(SeekFrom::Start(0))?;
    match search.message(len, "ModelProto", 0) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(error),
        _ => Ok(search.found),
    }
}

struct Search<R> {
    file: BufReader<R>,
    at: u64,
    least: u64,
    found: Vec<Range<u64>>,
}

impl<R: Read + Seek> Search<R> {
    fn message(&mut self, end: u64, message: &str, depth: usize) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let known = SCHEMA.iter().find(|(name, _)| *name == message);
        let (_, fields) = known.ok_or_else(invalid)?;
        while self.at < end {
            let key = self.varint()?;
            let length = match key & 7 {
                0 => {
                    self.varint()?;
                    continue;
                }
                1 => 8,
                2 => self.varint()?,
                5 => 4,
                _ => return Err(invalid()),
            };
            let stop = self.at.checked_add(length).filter(|&stop| stop <= end);
            let stop = stop.ok_or_else(invalid)?;
            let inner = fields.iter().find(|(n, _)| *n == key >> 3);
            match inner {
                Some((9, _)) if message == "TensorProto" && length >= self.least => {
                    self.found.push(self.at..stop);
                }
                // What is shorter holds no large weight.
                Some((_, inner))
                    if !inner.is_empty() && length >= self.least && depth < MAX_DEPTH =>
                {
                    self.message(stop, inner, depth + 1)?;
                }
                _ => {}
            }
            self.file.seek_relative((stop - self.at) as i64)?;
            self.at = stop;
        }
        Ok(())
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
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
    use crate::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
    use prost::Message;
    use std::io::Cursor;

    fn node() -> NodeProto {
        NodeProto {
            op_type: Some("Relu".into()),
            ..Default::default()
        }
    }

    fn model(node: Vec<NodeProto>) -> ModelProto {
        ModelProto {
            graph: Some(GraphProto {
                node,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// `model` whose graph has more fields behind its own.
    fn with_graph_fields(model: &ModelProto, more: &[u8]) -> Vec<u8> {
        let mut inner = model.graph.as_ref().unwrap().encode_to_vec();
        inner.extend(more);
        let mut outer = vec![0x3a];
        prost::encode_length_delimiter(inner.len(), &mut outer).unwrap();
        outer.extend(inner);
        outer
    }

    #[test]
    fn a_field_beyond_the_schema_is_noticed_where_it_stands() {
        let model = model(vec![node()]);
        assert_eq!(Survey::of(&model.encode_to_vec()).unknown, None);
        for more in [
            &[0xf8, 0x07, 1][..],                           // field 127, a number
            &[0xfb, 0x07, 0xfc, 0x07],                      // field 127, an empty group
            &[0xfb, 0x07, 0x08, 1, 0x13, 0x14, 0xfc, 0x07], // with a number and a group in it
            &[0xfb, 0x07, 0xfc, 0x07, 0xf8, 0x06, 1],       // and another field behind it
            &[0x0b, 0x0c, 0xf8, 0x07, 1],                   // a group where nodes stand
        ] {
            let bytes = with_graph_fields(&model, more);
            let number = if more[0] == 0x0b { 1 } else { 127 };
            assert_eq!(Survey::of(&bytes).unknown, Some(("GraphProto", number)));
        }
        // Behind the graph, as well.
        let mut bytes = model.encode_to_vec();
        bytes.extend([0xfb, 0x07, 0xfc, 0x07]);
        assert_eq!(Survey::of(&bytes).unknown, Some(("ModelProto", 127)));
    }

    #[test]
    fn many_empty_messages_are_refused_and_as_many_full_ones_are_not() {
        let crowded = |bytes: &[u8]| Survey::of(bytes).crowded;
        // Of GraphProto: node, initializer, input, value_info, quantization_annotation, metadata.
        for number in [1, 5, 11, 13, 14, 16] {
            let mut empty = Vec::new();
            prost::encoding::encode_varint(number << 3 | 2, &mut empty);
            empty.push(0);
            assert!(crowded(&with_graph_fields(
                &model(vec![]),
                &empty.repeat(1 << 21)
            )));
        }
        let attribute = AttributeProto {
            name: Some("kernel_shape".into()),
            ints: vec![3, 3],
            r#type: Some(7),
            ..Default::default()
        };
        let real = NodeProto {
            name: Some("/features/layer_12/conv/Conv".into()),
            input: vec!["/features/layer_11/act".into(), "layer_12.weight".into()],
            output: vec!["/features/layer_12/conv".into()],
            attribute: vec![attribute; 4],
            ..node()
        };
        assert!(!crowded(&model(vec![real; 200_000]).encode_to_vec()));
        // A large weight makes no room for more messages.
        let mut weighty = model(vec![NodeProto::default(); 1 << 17]);
        weighty.graph.as_mut().unwrap().initializer = vec![TensorProto {
            raw_data: Some(vec![0; 8 << 20].into()),
            ..Default::default()
        }];
        assert!(crowded(&weighty.encode_to_vec()));
    }

    #[test]
    fn large_weights_are_found_without_being_read() {
        let weight = |len: usize| TensorProto {
            raw_data: Some(vec![7; len].into()),
            ..Default::default()
        };
        let mut held = node();
        held.attribute = vec![AttributeProto {
            t: Some(weight(3000)),
            ..Default::default()
        }];
        let mut model = model(vec![held]);
        model.graph.as_mut().unwrap().initializer = vec![weight(10), weight(5000)];
        let bytes = model.encode_to_vec();
        let found = large_weights(Cursor::new(&bytes), bytes.len() as u64, 1000).unwrap();
        let lengths: Vec<u64> = found.iter().map(|r| r.end - r.start).collect();
        assert_eq!(lengths, [3000, 5000]);
        for range in found {
            let range = range.start as usize..range.end as usize;
            assert!(bytes[range].iter().all(|&b| b == 7));
        }
        let cut = &bytes[..bytes.len() - 1];
        assert!(large_weights(Cursor::new(cut), cut.len() as u64, 1000).is_ok());
    }
}
