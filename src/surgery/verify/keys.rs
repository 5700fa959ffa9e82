//! By what the parts of two models are matched, and by what their content is told apart.

use std::collections::{HashMap, HashSet};

use prost::Message;
use sha2::{Digest, Sha256};

use crate::hex;
use crate::onnx::messages::{
    FunctionProto, NodeProto, OperatorSetIdProto, SparseTensorProto, StringStringEntryProto,
    TensorAnnotation, TensorProto, ValueInfoProto,
};
use crate::onnx::{Model, OnnxError, is_external};

/// A part that has a name in its list.
pub(crate) trait Named: Message + Sized {
    /// The name, not empty where the message has any.
    fn key(&self) -> String;

    /// SHA-256 of the message as encoded, in hexadecimal; it is one of `files`.
    fn digest(&self, files: &Model) -> Result<String, OnnxError> {
        digest_of(self, files)
    }
}

/// SHA-256 of a message of `files` as encoded, in hexadecimal.
pub(super) fn digest_of(message: &impl Message, files: &Model) -> Result<String, OnnxError> {
    let mut hash = Sha256::new();
    files.pieces(message).blocks(|block| {
        hash.update(block);
        Ok::<_, OnnxError>(())
    })?;
    Ok(hex::encode(hash.finalize()))
}

/// SHA-256 of `pieces`, one behind the other, in hexadecimal.
pub(super) fn digest(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hex::encode(hash.finalize())
}

fn text(name: &Option<String>) -> String {
    name.clone().unwrap_or_default()
}

impl Named for NodeProto {
    fn key(&self) -> String {
        let output = self.output.iter().find(|o| !o.is_empty());
        output.cloned().unwrap_or_else(|| text(&self.name))
    }
}

impl Named for TensorProto {
    fn key(&self) -> String {
        text(&self.name)
    }

    /// The raw data behind the rest; of one that lies beside the model as if it had them inside.
    fn digest(&self, files: &Model) -> Result<String, OnnxError> {
        let mut hash = Sha256::new();
        if is_external(self)
            && let Some(values) = files.values_of(self)?
        {
            let inside = TensorProto {
                raw_data: Some(bytes::Bytes::new()),
                external_data: Vec::new(),
                data_location: None,
                ..without_raw(self)
            };
            hash.update(inside.encode_to_vec());
            values.blocks(|block| {
                hash.update(block);
                Ok::<_, OnnxError>(())
            })?;
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(without_raw(self).encode_to_vec());
        if let Some(raw) = &self.raw_data {
            files.values(raw).blocks(|block| {
                hash.update(block);
                Ok::<_, OnnxError>(())
            })?;
        }
        Ok(hex::encode(hash.finalize()))
    }
}

impl Named for SparseTensorProto {
    fn key(&self) -> String {
        self.values.as_ref().map_or_else(String::new, Named::key)
    }
}

impl Named for ValueInfoProto {
    fn key(&self) -> String {
        text(&self.name)
    }
}

impl Named for TensorAnnotation {
    fn key(&self) -> String {
        text(&self.tensor_name)
    }
}

impl Named for StringStringEntryProto {
    fn key(&self) -> String {
        text(&self.key)
    }
}

impl Named for OperatorSetIdProto {
    fn key(&self) -> String {
        match self.domain.as_deref().unwrap_or("") {
            "" => "ai.onnx".to_owned(),
            domain => domain.to_owned(),
        }
    }
}

impl Named for FunctionProto {
    fn key(&self) -> String {
        let name = format!("{}:{}", text(&self.domain), text(&self.name));
        match text(&self.overload) {
            overload if overload.is_empty() => name,
            overload => format!("{name}:{overload}"),
        }
    }
}

/// The message of a tensor with nothing in its raw data.
pub(super) fn without_raw(tensor: &TensorProto) -> TensorProto {
    TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        segment: tensor.segment.clone(),
        float_data: tensor.float_data.clone(),
        int32_data: tensor.int32_data.clone(),
        string_data: tensor.string_data.clone(),
        int64_data: tensor.int64_data.clone(),
        name: tensor.name.clone(),
        doc_string: tensor.doc_string.clone(),
        raw_data: tensor.raw_data.as_ref().map(|_| bytes::Bytes::new()),
        external_data: tensor.external_data.clone(),
        data_location: tensor.data_location,
        double_data: tensor.double_data.clone(),
        uint64_data: tensor.uint64_data.clone(),
        metadata_props: tensor.metadata_props.clone(),
    }
}

/// The names of a list's parts, each once: the second of a name is `NAME #2`.
pub(super) fn keys<M: Named>(list: &[M]) -> Vec<String> {
    let mut given: HashSet<String> = HashSet::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut numbered = |key: String| {
        let count = counts.entry(key.clone()).or_insert(1);
        let mut name = key.clone();
        while !given.insert(name.clone()) {
            *count += 1;
            name = format!("{key} #{count}");
        }
        name
    };
    list.iter().map(|m| numbered(m.key())).collect()
}

/// The name of a part without the number that [`keys`] gives to repeated ones.
pub(in crate::surgery) fn unnumbered(name: &str) -> &str {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match digits.strip_suffix(" #") {
        Some(key) if digits.len() < name.len() => key,
        _ => name,
    }
}
