//! Where the values of tensors lie when a model is written: in its file, or in one beside it.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::beside::LARGEST_FILE;
use super::each_tensor::each_tensor;
use super::messages::{ModelProto, TensorProto};
use super::source::LARGE_WEIGHT;
use super::tensor::{is_external, set_external};
use super::values::{Origin, Values, write_parts};
use super::{DataType, Model, OnnxError};

/// Where the values of a model's tensors are to lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Inside what is inside, beside the model what is beside it.
    #[default]
    AsItIs,
    /// Beside it those of initializers of so many bytes and more, and all that are there already. Integers of up to
    /// 1 KiB stay inside: runtimes look at these before they run, as sizes are made of them.
    Beside {
        /// Bytes from which a tensor's values go there.
        least: u64,
    },
    /// All inside.
    Inside,
}

/// Bytes up to which integers stay inside.
const SIZES: u64 = 1024;

/// A model, and where its values are to lie.
#[derive(Debug)]
pub struct Laid {
    model: Model,
    data: String,
    /// What goes to the file beside it, in the order of the file.
    parts: Vec<(u64, Values)>,
    /// How many tensors' values go beside it that were not there.
    pub put_beside: usize,
    /// How many tensors' values come inside.
    pub taken_in: usize,
    /// How many tensors' values are beside it.
    pub beside: usize,
}

/// Decides where the values of `model` are to lie, whose own external data are looked up where they are: those that are
/// beside it go to the file `data`.
///
/// Tensors whose values are one part of a file share it there again. Each of 64 KiB and more begins at a multiple of
/// that, so that every system can map it (`onnx.proto`, at `external_data`).
///
/// # Errors
/// When external data cannot be read, or what is left inside is beyond protobuf's 2 GiB.
pub fn lay_out(model: &Model, placement: Placement, data: &str) -> Result<Laid, OnnxError> {
    let mut proto = model.proto.clone();
    let mut laid = Laid {
        model: model.with_proto(ModelProto::default()),
        data: data.to_owned(),
        parts: Vec::new(),
        put_beside: 0,
        taken_in: 0,
        beside: 0,
    };
    let mut shared = HashMap::new();
    // They are visited first.
    let mut initializers = proto.graph.as_ref().map_or(0, |g| g.initializer.len());
    each_tensor(&mut proto, |tensor| {
        let is_initializer = initializers > 0;
        initializers = initializers.saturating_sub(1);
        if is_external(tensor) {
            let values = match &tensor.raw_data {
                Some(raw) => model.values(raw),
                None => model.external_values(tensor)?,
            };
            match placement {
                Placement::Inside => {
                    clear(tensor);
                    tensor.external_data.clear();
                    tensor.data_location = None;
                    tensor.raw_data = Some(laid.model.stand_in(&values)?);
                    laid.taken_in += 1;
                }
                _ => laid.put(tensor, values, &mut shared),
            }
        } else if let Placement::Beside { least } = placement
            && is_initializer
            // What is in a typed field and of a type that is not known here stays.
            && let Ok(Some(values)) = model.values_of(tensor)
            && values.len() >= least.max(1)
            && !is_size(tensor, &values)
        {
            clear(tensor);
            laid.put(tensor, values, &mut shared);
            laid.put_beside += 1;
        }
        Ok(())
    })?;
    let bytes = proto.encoded_len();
    if bytes > LARGEST_FILE {
        return Err(OnnxError::TooLarge { bytes });
    }
    laid.model.proto = proto;
    Ok(laid)
}

/// Whether shapes may be made of a tensor.
fn is_size(tensor: &TensorProto, values: &Values) -> bool {
    let number = tensor.data_type.unwrap_or(0);
    let integers = [DataType::Int64, DataType::Int32].map(|t| t as i32);
    integers.contains(&number) && values.len() <= SIZES
}

/// Takes the values out of a message.
fn clear(tensor: &mut TensorProto) {
    tensor.float_data.clear();
    tensor.int32_data.clear();
    tensor.int64_data.clear();
    tensor.double_data.clear();
    tensor.uint64_data.clear();
    tensor.raw_data = None;
}

impl Laid {
    /// Puts values into the file beside the model.
    fn put(&mut self, tensor: &mut TensorProto, values: Values, shared: &mut HashMap<Origin, u64>) {
        let len = values.len();
        let end = self.parts.last().map_or(0, |(at, part)| at + part.len());
        let place = match len {
            LARGE_WEIGHT.. => end.next_multiple_of(LARGE_WEIGHT),
            _ => end.next_multiple_of(64),
        };
        let known = values
            .origin()
            .map(|origin| *shared.entry(origin).or_insert(place));
        let offset = known.unwrap_or(place);
        let notes = std::mem::take(&mut tensor.external_data);
        set_external(tensor, &self.data, offset, len as usize);
        let is_place = |key: &str| ["location", "offset", "length"].contains(&key);
        let notes = notes.into_iter();
        tensor
            .external_data
            .extend(notes.filter(|note| !is_place(note.key.as_deref().unwrap_or_default())));
        if offset == place {
            self.parts.push((offset, values));
        }
        self.beside += 1;
    }

    /// The model as it is to be written. Of what lies beside it, its messages name the file that is to be.
    pub fn proto(&self) -> &ModelProto {
        &self.model.proto
    }

    /// Bytes of the model's own file.
    pub fn file_bytes(&self) -> u64 {
        self.model.proto.encoded_len() as u64
    }

    /// Bytes of the file beside it; `None` where there is none.
    pub fn data_bytes(&self) -> Option<u64> {
        let end = self.parts.last().map_or(0, |(at, part)| at + part.len());
        (self.beside > 0).then_some(end)
    }

    /// Writes both files into a folder, whose files of these names are lost, and has the system put them on the disk.
    ///
    /// # Errors
    /// When a file cannot be read or written, or one that is read has been changed.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), OnnxError> {
        if self.beside > 0 {
            let parts = self.parts.iter().map(|(at, part)| (Some(*at), part));
            write_parts(&folder.join(&self.data), &Vec::from_iter(parts))?;
        }
        self.model
            .pieces(&self.model.proto)
            .write(&folder.join(name))?;
        self.model.ensure_unchanged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Tensor;
    use crate::onnx::messages::{GraphProto, NodeProto};

    /// Of `a` and `b` in one file the first half is `a`, and so is `tied`; `sizes` and `word` are inside.
    fn model(folder: &Path) -> Model {
        let values: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        std::fs::write(folder.join("weights"), &values).unwrap();
        let outside = |name: &str, offset: u64| {
            let mut tensor = Tensor::f32(&[25_000], &[0.0; 25_000]).to_proto(name);
            set_external(&mut tensor, "weights", offset, 100_000);
            tensor
        };
        let word = TensorProto {
            name: Some("word".to_owned()),
            data_type: Some(8),
            string_data: vec![bytes::Bytes::from(vec![b'a'; 5000])],
            ..TensorProto::default()
        };
        let names = ["a", "b", "tied", "sizes", "large", "word"];
        let graph = GraphProto {
            node: vec![NodeProto {
                op_type: Some("Any".to_owned()),
                input: names.map(str::to_owned).to_vec(),
                output: vec!["y".to_owned()],
                ..NodeProto::default()
            }],
            initializer: vec![
                outside("a", 0),
                outside("b", 100_000),
                outside("tied", 0),
                Tensor::i64s(&[1; 100]).to_proto("sizes"),
                Tensor::i64s(&[1; 1000]).to_proto("large"),
                word,
            ],
            ..GraphProto::default()
        };
        let proto = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        crate::onnx::save(&proto, &folder.join("model.onnx")).unwrap();
        Model::open_in_place(&folder.join("model.onnx")).unwrap()
    }

    fn beside(laid: &Laid) -> Vec<&str> {
        let tensors = laid.proto().graph.as_ref().unwrap().initializer.iter();
        let beside = tensors.filter(|t| is_external(t));
        beside.map(|t| t.name()).collect()
    }

    #[test]
    fn what_shared_a_part_of_a_file_shares_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let laid = lay_out(&model, Placement::AsItIs, "new.data").unwrap();
        assert_eq!(beside(&laid), ["a", "b", "tied"]);
        // The second begins at the next multiple of 64 KiB.
        assert_eq!(laid.data_bytes(), Some((2 << 16) + 100_000));
        let out = tempfile::tempdir().unwrap();
        laid.write(out.path(), "new.onnx").unwrap();
        let read = Model::open(&out.path().join("new.onnx")).unwrap();
        for (new, old) in read
            .graph()
            .initializer
            .iter()
            .zip(&model.graph().initializer)
        {
            let values = |model: &Model, t| model.values_of(t).unwrap().map(|v| v.read().unwrap());
            assert_eq!(values(&read, new), values(&model, old), "{}", new.name());
        }
    }

    #[test]
    fn sizes_and_strings_stay_inside_whatever_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let laid = lay_out(&model, Placement::Beside { least: 0 }, "new.data").unwrap();
        assert_eq!(beside(&laid), ["a", "b", "tied", "large"]);
        assert_eq!((laid.put_beside, laid.beside), (1, 4));
    }

    #[test]
    fn all_comes_inside_and_more_than_a_file_holds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        let laid = lay_out(&model, Placement::Inside, "new.data").unwrap();
        assert_eq!((beside(&laid).len(), laid.taken_in), (0, 3));
        assert_eq!(laid.data_bytes(), None);
        let path = folder.path().join("huge.onnx");
        let mut proto = model.proto.clone();
        let graph = proto.graph.as_mut().unwrap();
        graph.initializer.truncate(1);
        let file = std::fs::File::create(folder.path().join("huge")).unwrap();
        file.set_len(3 << 30).unwrap();
        graph.initializer[0].dims = vec![3 << 28];
        set_external(&mut graph.initializer[0], "huge", 0, 3 << 30);
        crate::onnx::save(&proto, &path).unwrap();
        let huge = Model::open_in_place(&path).unwrap();
        let error = lay_out(&huge, Placement::Inside, "new.data").unwrap_err();
        assert!(matches!(error, OnnxError::TooLarge { .. }), "{error}");
        assert!(lay_out(&huge, Placement::AsItIs, "new.data").is_ok());
    }
}
