//! Models whose large data stay in their files.
//!
//! A model that is [opened in place](Model::open_in_place) has, where the data of large tensors stand in its file, zeros
//! that take no memory. Where such a piece of memory lies says which bytes of the file it stands for, also in an edited
//! copy of the messages; [`Values`] are these bytes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::each_tensor::each_tensor;
use super::external::Externals;
use super::file::ensure_encodable;
use super::messages::TensorProto;
use super::source::{LARGE_WEIGHT, Outline, Source, zeros};
use super::tensor::{DataType, Tensor, declaration, is_external, set_at_hand};
use super::values::{Pieces, Values};
use super::{Model, OnnxError};

/// Zeros in memory for values that are somewhere else.
#[derive(Debug)]
pub(super) struct Placeholder {
    of: Of,
    zeros: Bytes,
    /// Which of them stand for something: in order, apart from one another.
    left_out: Vec<Range<u64>>,
}

#[derive(Debug)]
enum Of {
    /// Parts of a file, in which they have the place that they have among the zeros.
    File(Arc<Source>),
    /// These.
    Values(Values),
}

impl Placeholder {
    /// Of a whole file, of which these parts are left out.
    fn of_file(source: Arc<Source>, outline: Bytes, left_out: Vec<Range<u64>>) -> Self {
        Placeholder {
            of: Of::File(source),
            zeros: outline,
            left_out,
        }
    }

    /// Of values.
    fn of_values(values: &Values) -> io::Result<Self> {
        let all = 0..values.len();
        Ok(Placeholder {
            zeros: zeros(values.len())?,
            of: Of::Values(values.clone()),
            left_out: std::iter::once(all).collect(),
        })
    }

    fn find(&self, bytes: &Bytes) -> Option<Values> {
        let start = bytes.as_ptr().addr();
        let start = start.checked_sub(self.zeros.as_ptr().addr())? as u64;
        let end = start.checked_add(bytes.len() as u64)?;
        let at = self.left_out.partition_point(|part| part.end <= start);
        let part = self.left_out.get(at)?;
        match &self.of {
            Of::File(source) => {
                let inside = part.start <= start && end <= part.end;
                inside.then(|| Values::in_file(Arc::clone(source), start..end))
            }
            Of::Values(values) => (*part == (start..end)).then(|| values.clone()),
        }
    }

    fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        match &self.of {
            Of::File(source) => source.ensure_unchanged(),
            Of::Values(values) => values.ensure_unchanged(),
        }
    }
}

/// What stands for values elsewhere in the messages of a model, and in those of its changed copies.
#[derive(Clone, Debug, Default)]
pub(super) struct InPlace(Arc<Mutex<Vec<Arc<Placeholder>>>>);

impl InPlace {
    fn of(placeholders: Vec<Arc<Placeholder>>) -> Self {
        InPlace(Arc::new(Mutex::new(placeholders)))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Placeholder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub fn ensure_unchanged(&self) -> Result<(), OnnxError> {
        let all = self.all().clone();
        all.iter().try_for_each(|one| one.ensure_unchanged())
    }

    fn find(&self, bytes: &Bytes) -> Option<Values> {
        self.all().iter().find_map(|one| one.find(bytes))
    }
}

impl Model {
    /// As [`Model::open`], for who edits the file: the data of tensors of 64 KiB and more are left where they are,
    /// and are read from there when they are asked for ([`Model::tensor`], [`Model::values_of`]), compared or written
    /// ([`lay_out`](super::lay_out)). So a model takes little more memory than its messages, however large its weights
    /// are. In the messages themselves such data are zeros.
    ///
    /// Who makes something of it sees at the end, by [`Model::ensure_unchanged`], that nobody has changed the file
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_in_place(path: &Path) -> Result<Self, OnnxError> {
        let source = Source::open(path)?;
        ensure_encodable(&source, path)?;
        let Outline { bytes, left_out } = source.outline()?;
        let placeholder = Placeholder::of_file(Arc::new(source), bytes.clone(), left_out);
        let mut model = Self::decode(bytes, path)?;
        model.in_place = InPlace::of(vec![Arc::new(placeholder)]);
        Ok(model)
    }

    /// The same messages, for who looks at names, shapes and small constants alone, as [`Model::open_outline`] reads
    /// them: the data of large tensors are zeros, where they are left in their files.
    #[must_use]
    pub fn outlined(&self) -> Self {
        let mut model = self.with_proto(self.proto.clone());
        model.in_place = InPlace::default();
        model.externals = Arc::new(Externals::outline());
        model
    }

    /// The files that the model's tensors name as external data, as it names them, each once.
    pub fn external_locations(&self) -> Vec<String> {
        let mut locations = BTreeSet::new();
        self.each_external(|tensor| {
            let mut notes = tensor.external_data.iter();
            let location = notes.find(|note| note.key.as_deref() == Some("location"));
            locations.extend(location.and_then(|note| note.value.clone()));
        });
        locations.into_iter().collect()
    }

    /// The files that the model is read from: its own, and those beside it that hold values.
    pub fn files(&self) -> Vec<PathBuf> {
        let beside = self.external_locations().into_iter();
        let beside = beside.map(|location| self.path().with_file_name(location));
        std::iter::once(self.path().to_owned())
            .chain(beside)
            .collect()
    }

    /// Bytes of the model's file and of what lies beside it, as far as that is there.
    pub fn size(&self) -> u64 {
        let mut size = self.proto.encoded_len() as u64;
        self.each_external(|tensor| {
            size += self
                .external_values(tensor)
                .map_or(0, |values| values.len());
        });
        size
    }

    fn each_external(&self, mut visit: impl FnMut(&TensorProto)) {
        let mut proto = self.proto.clone();
        let visited: Result<(), Infallible> = each_tensor(&mut proto, |tensor| {
            if is_external(tensor) {
                visit(tensor);
            }
            Ok(())
        });
        let Ok(()) = visited;
    }

    /// The external data that a message of this model names.
    pub(super) fn external_values(&self, proto: &TensorProto) -> Result<Values, OnnxError> {
        self.externals.values(proto, self.path())
    }

    /// What a field of bytes of this model's messages holds.
    pub(crate) fn values(&self, bytes: &Bytes) -> Values {
        let large = bytes.len() as u64 >= LARGE_WEIGHT;
        let found = large.then(|| self.in_place.find(bytes)).flatten();
        found.unwrap_or_else(|| Values::in_memory(bytes.clone()))
    }

    /// The values of a tensor of this model, which need not be of a type that is known here where they are raw or
    /// external; `None` of strings.
    ///
    /// # Errors
    /// When declaration and data do not fit, or external data is missing or leaves the folder.
    pub fn values_of(&self, tensor: &TensorProto) -> Result<Option<Values>, OnnxError> {
        match &tensor.raw_data {
            _ if !tensor.string_data.is_empty() => Ok(None),
            None if is_external(tensor) => self.external_values(tensor).map(Some),
            Some(raw) => Ok(Some(self.values(raw))),
            None => Ok(Some(Values::in_memory(Tensor::from_proto(tensor)?.data))),
        }
    }

    /// Bytes that can stand in a message of this model, or of a changed copy of it, for `values`.
    ///
    /// # Errors
    /// When the system has no room for them.
    pub(super) fn stand_in(&self, values: &Values) -> Result<Bytes, OnnxError> {
        if values.are_in_memory() || values.len() < LARGE_WEIGHT {
            return values.read();
        }
        let placeholder = Placeholder::of_values(values);
        let placeholder = placeholder.map_err(|source| OnnxError::Read {
            path: self.path().to_owned(),
            source,
        })?;
        let zeros = placeholder.zeros.clone();
        self.in_place.all().push(Arc::new(placeholder));
        Ok(zeros)
    }

    /// The message of a float tensor of this model, or of a changed copy of it, with each value as the nearest of another
    /// float type. Large ones are read when they are asked for; what lies beside the model is to lie there again.
    ///
    /// # Errors
    /// When it is no float tensor, or its values cannot be found.
    pub(crate) fn cast(
        &self,
        tensor: &TensorProto,
        to: DataType,
    ) -> Result<TensorProto, OnnxError> {
        let name = tensor.name.as_deref().unwrap_or_default();
        let (from, _) = declaration(tensor)?;
        let values = match self.values_of(tensor)? {
            Some(values) if from.is_float() => values.cast([from, to]),
            _ => return Err(OnnxError::tensor(name, "it has no floats")),
        };
        let raw = self.stand_in(&values)?;
        let is_place = |key: &str| ["location", "offset", "length"].contains(&key);
        let notes = tensor.external_data.iter();
        let notes = notes.filter(|note| !is_place(note.key.as_deref().unwrap_or_default()));
        Ok(TensorProto {
            data_type: Some(to as i32),
            raw_data: Some(raw),
            float_data: Vec::new(),
            int32_data: Vec::new(),
            double_data: Vec::new(),
            external_data: notes.cloned().collect(),
            ..tensor.clone()
        })
    }

    /// Has the message of an initializer of this model hold external values itself, as a model in another folder may
    /// hold it: they are left in their file, and lie beside the model again once it is written.
    ///
    /// # Errors
    /// As [`Model::values_of`].
    pub(crate) fn take_to_hand(&self, tensor: &mut TensorProto) -> Result<(), OnnxError> {
        if is_external(tensor) && tensor.raw_data.is_none() {
            let values = self.external_values(tensor)?;
            set_at_hand(tensor, self.stand_in(&values)?);
        }
        Ok(())
    }

    /// Takes the tensors of another model that are in place along, so that messages of both can stand in one.
    pub fn with_values_of(mut self, other: &Model) -> Self {
        let mut both = self.in_place.all().clone();
        both.extend(other.in_place.all().iter().cloned());
        self.in_place = InPlace::of(both);
        self
    }

    /// A message of this model, encoded.
    pub(crate) fn pieces(&self, message: &impl Message) -> Pieces {
        Pieces::of(message, |bytes| self.values(bytes))
    }
}
