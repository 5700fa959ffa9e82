//! Reading models, and writing them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use prost::Message;

use super::beside::LARGEST_FILE;
use super::external::Externals;
use super::functions;
use super::in_place::InPlace;
use super::messages::{GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use super::node_names;
use super::source::{Source, Stamp, release};
use super::tensor::{Tensor, is_external};
use super::wire::Survey;
use super::{OnnxError, write_atomic};

/// A graph with nothing in it.
pub(crate) static EMPTY_GRAPH: GraphProto = GraphProto {
    node: vec![],
    name: None,
    initializer: vec![],
    sparse_initializer: vec![],
    doc_string: None,
    input: vec![],
    output: vec![],
    value_info: vec![],
    quantization_annotation: vec![],
    metadata_props: vec![],
};

/// A model as it stands in its file. Weight data borrows from a private copy of it.
#[derive(Debug)]
pub struct Model {
    /// The decoded messages. Nodes of one graph have different names, also where those of the file repeat.
    pub proto: ModelProto,
    path: PathBuf,
    file: Bytes,
    /// What the file was when it was read, and what was read, if the model comes from one.
    read: Option<(Stamp, Bytes)>,
    /// The first field of the file that the schema does not know: its message and number.
    unknown: Option<(&'static str, u64)>,
    pub(super) externals: Arc<Externals>,
    /// The mapped copy, from which the weights of changed copies are borrowed too.
    map: Option<Arc<Mmap>>,
    /// The value that is asked for as its class scores.
    scores: Option<String>,
    /// How many nodes do not have the name that the file gives them.
    renamed: usize,
    /// What stands in memory for data that stay in their files.
    pub(super) in_place: InPlace,
}

/// Metadata key of the value that is a model's class scores, where a tuned one has others.
pub const OUTPUT: &str = "ftsurgery.output";

impl Model {
    /// Reads and decodes the file at `path`.
    ///
    /// What is read is a copy: in memory, or where it is large in a nameless temporary file which is
    /// mapped, so that it takes no memory that the system could not have back. Nothing that happens
    /// to the file later changes the model, see [`Model::ensure_unchanged`].
    ///
    /// # Errors
    /// When the file cannot be read, is no ONNX model, or has no graph.
    pub fn open(path: &Path) -> Result<Self, OnnxError> {
        let source = Source::open(path)?;
        ensure_encodable(&source, path)?;
        let copied = source.copy(0..source.len())?;
        Ok(Model {
            map: copied.map,
            read: Some((source.stamp(), copied.bytes.clone())),
            ..Self::decode(copied.bytes, path)?
        })
    }

    /// As [`Model::open`], for who looks at names, shapes and small constants alone: the data of
    /// tensors of 64 KiB and more is not read, and is zero.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_outline(path: &Path) -> Result<Self, OnnxError> {
        let source = Source::open(path)?;
        ensure_encodable(&source, path)?;
        Ok(Model {
            externals: Arc::new(Externals::outline()),
            ..Self::decode(source.outline()?.bytes, path)?
        })
    }

    /// Decodes a model that is already in memory; `path` serves messages and external data.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn decode(file: Bytes, path: &Path) -> Result<Self, OnnxError> {
        let fail = |reason: String| OnnxError::Decode {
            path: path.to_owned(),
            reason,
        };
        if file.is_empty() {
            return Err(fail("the file is empty".into()));
        }
        let survey = Survey::of(&file);
        if survey.crowded {
            return Err(fail(format!(
                "its {} bytes hold so many small messages that decoding them would take many times \
                 the memory",
                file.len()
            )));
        }
        let mut proto = ModelProto::decode(file.clone()).map_err(|e| fail(e.to_string()))?;
        if proto.graph.as_ref().is_none_or(|g| g.node.is_empty()) {
            return Err(fail("it holds no graph with nodes".into()));
        }
        if !functions::stay_few(&proto) {
            return Err(fail(format!(
                "its functions call one another in a circle, or so often that they come to more \
                 than {} nodes",
                functions::MOST_NODES
            )));
        }
        Ok(Model {
            renamed: node_names::tell_apart(&mut proto),
            proto,
            path: path.to_owned(),
            file,
            read: None,
            unknown: survey.unknown,
            externals: Arc::default(),
            map: None,
            scores: None,
            in_place: InPlace::default(),
        })
    }

    /// A changed copy of this model: other messages, the same path and external data.
    pub fn with_proto(&self, proto: ModelProto) -> Self {
        Model {
            proto,
            path: self.path.clone(),
            file: Bytes::new(),
            read: self.read.clone(),
            unknown: self.unknown,
            externals: Arc::clone(&self.externals),
            map: self.map.clone(),
            scores: self.scores.clone(),
            renamed: self.renamed,
            in_place: self.in_place.clone(),
        }
    }

    /// The same model, whose class scores are this value: one of its outputs, or what a node makes. `None`
    /// leaves it to its metadata, or to what is [found](crate::graph::Graph::from_model).
    #[must_use]
    pub fn with_scores(mut self, value: Option<&str>) -> Self {
        self.scores = value.map(str::to_owned);
        self
    }

    /// The value that is asked for as its class scores, or that its metadata name.
    pub fn scores(&self) -> Option<&str> {
        self.scores.as_deref().or_else(|| self.metadata(OUTPUT))
    }

    /// The file the model was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many nodes have another name than in the file, where that repeats: onnxruntime refuses repeated names.
    pub fn renamed_nodes(&self) -> usize {
        self.renamed
    }

    /// The bytes of the model's file, without external data; empty for a changed copy.
    pub fn file_bytes(&self) -> &Bytes {
        &self.file
    }

    /// Fails if the file, or a file with external data that was read, is no longer what it was: for
    /// runs that take long and whose result is told by the file's name. A file that was only touched
    /// is read once more.
    ///
    /// # Errors
    /// [`OnnxError::Changed`], or when a file cannot be read.
    pub fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        if let Some((stamp, bytes)) = &self.read {
            let now = Source::open(&self.path)?;
            if now.stamp() != *stamp && !now.holds(0..now.len(), bytes)? {
                return Err(OnnxError::Changed {
                    path: self.path.clone(),
                });
            }
        }
        self.in_place.ensure_unchanged()?;
        self.externals.ensure_unchanged()
    }

    /// Lets the operating system take the mapped copies, that of external data included, out of memory
    /// until they are read again, as it would by itself when memory runs short. For when what was needed
    /// of them has been copied.
    pub fn release(&self) {
        if let Some(map) = &self.map {
            release(map);
        }
        self.externals.release();
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        // `decode` let no model without a graph pass.
        self.proto.graph.as_ref().unwrap_or(&EMPTY_GRAPH)
    }

    /// The imported version of the default operator set (domain "" or "ai.onnx"); 1 if none is.
    pub fn opset(&self) -> i64 {
        self.proto
            .opset_import
            .iter()
            .find(|o| matches!(o.domain.as_deref().unwrap_or(""), "" | "ai.onnx"))
            .and_then(|o| o.version)
            .unwrap_or(1)
    }

    /// The nodes of this operator wherever they stand in the model, in inner graphs and functions, too.
    pub fn nodes_of(&self, op_type: &str) -> Vec<&NodeProto> {
        let mut nodes = functions::all_nodes(&self.proto);
        nodes.retain(|node| node.op_type.as_deref() == Some(op_type));
        nodes
    }

    /// The value of a metadata property.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.proto
            .metadata_props
            .iter()
            .find(|p| p.key.as_deref() == Some(key))
            .and_then(|p| p.value.as_deref())
    }

    /// The tensor of a message of this model, external data included.
    ///
    /// # Errors
    /// When declaration and data do not fit, or external data is missing or leaves the folder.
    pub fn tensor(&self, proto: &TensorProto) -> Result<Tensor, OnnxError> {
        // What is to lie beside the model and does not yet is in its message.
        if is_external(proto) && proto.raw_data.is_none() {
            return self.externals.tensor(proto, &self.path);
        }
        let mut tensor = Tensor::from_proto(proto)?;
        if !self.in_place.is_empty() {
            tensor.data = self.values(&tensor.data).read()?;
        }
        Ok(tensor)
    }

    /// The files that hold external data which was read, as the model names them, with the bytes
    /// read of each.
    pub fn external_files(&self) -> Vec<(String, Vec<Bytes>)> {
        self.externals.read()
    }

    /// Fails if the file has fields that encoding [`Model::proto`] would drop.
    ///
    /// # Errors
    /// [`OnnxError::UnknownField`] names the first such field.
    pub fn ensure_fully_known(&self) -> Result<(), OnnxError> {
        match self.unknown {
            None => Ok(()),
            Some((message, field)) => Err(OnnxError::UnknownField {
                path: self.path.clone(),
                message,
                field,
            }),
        }
    }
}

/// Sets a metadata property of a model, replacing one of the same key.
pub fn set_metadata(model: &mut ModelProto, key: &str, value: &str) {
    model
        .metadata_props
        .retain(|p| p.key.as_deref() != Some(key));
    model.metadata_props.push(StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    });
}

/// Encodes a model.
///
/// # Errors
/// [`OnnxError::TooLarge`] beyond protobuf's 2 GiB.
pub fn encode(model: &ModelProto) -> Result<Vec<u8>, OnnxError> {
    let bytes = model.encoded_len();
    if bytes > LARGEST_FILE {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(model.encode_to_vec())
}

/// Encodes a model and writes it atomically.
///
/// # Errors
/// When it is too large or cannot be written; an existing file is then untouched.
pub fn save(model: &ModelProto, path: &Path) -> Result<(), OnnxError> {
    write_atomic(path, &encode(model)?).map_err(|source| OnnxError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Refuses a file that is larger than a message may be, before it is read.
pub(super) fn ensure_encodable(source: &Source, path: &Path) -> Result<(), OnnxError> {
    match source.len() <= LARGEST_FILE as u64 {
        true => Ok(()),
        false => Err(OnnxError::Decode {
            path: path.to_owned(),
            reason: format!(
                "it has {} bytes, and protobuf's limit for one file is 2 GiB; larger models keep \
                 their weights in external data",
                source.len()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::NodeProto;

    /// Two weights of 100 KiB, one of them in the file `weights` beside the model, and a node.
    fn save_model(folder: &Path) -> PathBuf {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        let inside = Tensor::f32(&[25_600], &[1.5; 25_600]).to_proto("inside");
        let mut outside = Tensor::f32(&[25_600], &[2.5; 25_600]).to_proto("outside");
        let data = outside.raw_data.take().unwrap();
        std::fs::write(folder.join("weights"), [&[7; 8][..], &data].concat()).unwrap();
        outside.data_location = Some(1);
        outside.external_data = vec![entry("location", "weights"), entry("offset", "8")];
        let graph = GraphProto {
            node: vec![NodeProto {
                op_type: Some("Add".to_owned()),
                input: vec!["inside".to_owned(), "outside".to_owned()],
                output: vec!["sum".to_owned()],
                ..Default::default()
            }],
            initializer: vec![inside, outside],
            ..Default::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..Default::default()
        };
        let path = folder.join("model.onnx");
        save(&model, &path).unwrap();
        path
    }

    fn values(model: &Model, index: usize) -> Vec<f32> {
        let tensor = model.tensor(&model.graph().initializer[index]).unwrap();
        tensor.to_f32().unwrap()
    }

    #[test]
    fn an_outline_has_everything_but_the_values_of_large_weights() {
        let folder = tempfile::tempdir().unwrap();
        let path = save_model(folder.path());
        let whole = Model::open(&path).unwrap();
        let outline = Model::open_outline(&path).unwrap();
        assert_eq!(outline.graph().node, whole.graph().node);
        for (index, value) in [(0, 1.5), (1, 2.5)] {
            assert_eq!(values(&whole, index), [value; 25_600]);
            assert_eq!(values(&outline, index), [0.0; 25_600]);
        }
        let small = Tensor::f32(&[2], &[1.0, 2.0]).to_proto("small");
        let mut proto = whole.proto.clone();
        proto.graph.as_mut().unwrap().initializer.push(small);
        save(&proto, &path).unwrap();
        assert_eq!(values(&Model::open_outline(&path).unwrap(), 2), [1.0, 2.0]);
    }

    #[test]
    fn a_change_of_the_file_or_of_external_data_is_noticed_and_a_touch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = save_model(folder.path());
        let model = Model::open(&path).unwrap();
        let _ = values(&model, 1);
        let copy = model.with_proto(model.proto.clone());
        for name in ["model.onnx", "weights"] {
            let file = folder.path().join(name);
            let bytes = std::fs::read(&file).unwrap();
            for content in [&bytes[..100], &vec![9; bytes.len()]] {
                std::fs::write(&file, content).unwrap();
                for model in [&model, &copy] {
                    let error = model.ensure_unchanged().unwrap_err();
                    assert!(matches!(error, OnnxError::Changed { .. }), "{error}");
                    assert!(error.is_bad_input() && error.to_string().contains(name));
                }
            }
            std::fs::write(&file, &bytes).unwrap();
            model.ensure_unchanged().unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        assert!(model.ensure_unchanged().is_err());
        assert_eq!(values(&model, 0), [1.5; 25_600]);
    }

    #[test]
    fn external_data_that_changes_between_two_tensors_is_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let path = save_model(folder.path());
        let model = Model::open(&path).unwrap();
        let first = values(&model, 1);
        let mut other = model.graph().initializer[1].clone();
        other.dims = vec![1];
        other.external_data[1].value = Some("0".to_owned());
        let length = StringStringEntryProto {
            key: Some("length".to_owned()),
            value: Some("4".to_owned()),
        };
        other.external_data.push(length);
        assert!(model.tensor(&other).is_ok());
        std::fs::write(folder.path().join("weights"), vec![1; 8 + 4 * 25_600]).unwrap();
        other.external_data[1].value = Some("4".to_owned());
        let error = model.tensor(&other).unwrap_err();
        assert!(matches!(error, OnnxError::Changed { .. }), "{error}");
        assert_eq!(first, [2.5; 25_600]);
    }
}
