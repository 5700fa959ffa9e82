//! Writing models that one file cannot hold: the data of large tensors lie in a file beside it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use prost::Message;

use super::file::encode;
use super::messages::ModelProto;
use super::source::LARGE_WEIGHT;
use super::tensor::set_external;
use super::{OnnxError, write_atomic, write_atomic_with};

/// Bytes that one file may have: protobuf's limit.
pub const LARGEST_FILE: usize = i32::MAX as usize;

/// Writes a model to `path`: all of it, where that takes at most `most` bytes, else with the data of
/// initializers of 64 KiB and more in the file `data` of the same folder. Gives whether that was written.
///
/// Each file is written atomically, the data first, in place of what has that name. Each tensor's data begin at a
/// multiple of 64 KiB, so that every system can map them (`onnx.proto`, at `external_data`).
///
/// # Errors
/// When what is left is beyond protobuf's limit, or a file cannot be written. The model that was there is then
/// untouched; data that were there under this name are not, if it was the model that could not be written.
pub fn save_within(
    most: usize,
    mut model: ModelProto,
    path: &Path,
    data: &str,
) -> Result<bool, OnnxError> {
    let parts = match model.encoded_len() > most {
        true => put_beside(&mut model, data),
        false => Vec::new(),
    };
    let messages = encode(&model)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| OnnxError::Write { path, source }
    };
    let beside = path.with_file_name(data);
    if !parts.is_empty() {
        write_atomic_with(&beside, |to| write(to, &parts)).map_err(failed(&beside))?;
    }
    if let Err(error) = write_atomic(path, &messages) {
        if !parts.is_empty() {
            // On a full disk the room is needed, and no model reads it.
            let _ = fs::remove_file(&beside);
        }
        return Err(failed(path)(error));
    }
    Ok(!parts.is_empty())
}

/// Moves the data of large initializers out of a model; gives each with its place in the file `location`.
fn put_beside(model: &mut ModelProto, location: &str) -> Vec<(u64, Bytes)> {
    let mut parts = Vec::new();
    let mut end = 0;
    for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
        // One that says in words that its data are inside would not be what it was when they are again.
        let is_plain = tensor.data_location.is_none() && tensor.external_data.is_empty();
        let is_large = |raw: &mut Bytes| is_plain && raw.len() as u64 >= LARGE_WEIGHT;
        if let Some(raw) = tensor.raw_data.take_if(is_large) {
            let offset = u64::next_multiple_of(end, LARGE_WEIGHT);
            end = offset + raw.len() as u64;
            set_external(tensor, location, offset, raw.len());
            parts.push((offset, raw));
        }
    }
    parts
}

fn write(path: &Path, parts: &[(u64, Bytes)]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for (offset, bytes) in parts {
        file.seek(SeekFrom::Start(*offset))?;
        file.write_all(bytes)?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{GraphProto, NodeProto, TensorProto};
    use crate::onnx::{Model, Tensor, save};

    /// Two large tensors, one whose message says that it is inside, and a small one.
    fn model() -> ModelProto {
        let large = |value: f32| Tensor::f32(&[20_000], &[value; 20_000]);
        let said = TensorProto {
            data_location: Some(0),
            ..large(3.0).to_proto("said")
        };
        let graph = GraphProto {
            node: vec![NodeProto {
                op_type: Some("Sum".to_owned()),
                input: ["a", "b", "said", "small"].map(str::to_owned).to_vec(),
                output: vec!["sum".to_owned()],
                ..NodeProto::default()
            }],
            initializer: vec![
                large(1.0).to_proto("a"),
                large(2.0).to_proto("b"),
                said,
                Tensor::f32(&[2], &[4.0, 5.0]).to_proto("small"),
            ],
            ..GraphProto::default()
        };
        ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        }
    }

    #[test]
    fn what_one_file_cannot_hold_lies_beside_it_and_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let whole = model().encoded_len();
        assert!(!save_within(whole, model(), &path, "model.onnx.data").unwrap());
        assert_eq!(Model::open(&path).unwrap().proto, model());
        assert!(!folder.path().join("model.onnx.data").exists());

        let mut small = model();
        small.graph.as_mut().unwrap().initializer.drain(..2);
        assert!(!save_within(0, small, &path, "model.onnx.data").unwrap());
        assert!(!folder.path().join("model.onnx.data").exists());

        assert!(save_within(whole - 1, model(), &path, "model.onnx.data").unwrap());
        let written = Model::open(&path).unwrap();
        let all = &written.graph().initializer;
        for (tensor, before) in all.iter().zip(model().graph.unwrap().initializer) {
            let expected = Tensor::from_proto(&before).unwrap();
            assert_eq!(written.tensor(tensor).unwrap(), expected);
        }
        let places = all.iter().map(|t| t.data_location);
        assert_eq!(
            places.collect::<Vec<_>>(),
            [Some(1), Some(1), Some(0), None]
        );
        let (name, parts) = written.external_files().remove(0);
        assert_eq!((name.as_str(), parts.len()), ("model.onnx.data", 2));
        let length = std::fs::metadata(folder.path().join(name)).unwrap().len();
        // The second begins at the next multiple of 64 KiB behind 80,000 bytes.
        assert_eq!(length, 2 * LARGE_WEIGHT + 80_000);
    }

    #[test]
    fn data_of_a_model_that_cannot_be_written_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        // A folder stands where the model should go.
        let path = folder.path().join("model.onnx");
        std::fs::create_dir(&path).unwrap();
        let error = save_within(0, model(), &path, "model.onnx.data").unwrap_err();
        assert!(error.to_string().contains("model.onnx"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_model_whose_data_cannot_be_written_leaves_the_one_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        save(&model(), &path).unwrap();
        // A folder stands where the data should go.
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        let error = save_within(0, model(), &path, "taken").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(Model::open(&path).unwrap().proto, model());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
