//! A trial between two steps, in a file.
//!
//! The file is a safetensors file. Its tensors, all float32, are `value/NAME` of each parameter and
//! running statistic, `first/NAME` and `second/NAME` of each parameter's moments that the optimizer
//! keeps, and `best/NAME` of the best epoch so far. One entry of its metadata is a JSON object: the
//! format's number, what trial this is ([`Identity`]), how far it has come ([`Progress`]) and the CRC-32C
//! of every tensor's bytes; another is the CRC-32C of that object's text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::tensor::{Dtype, SafeTensorError, View, serialize_to_file};
use serde::{Deserialize, Serialize};

use crate::choice::Choice;
use crate::classifier::Score;
use crate::data::DataError;
use crate::onnx::write_atomic_with;
use crate::runtime::Buffer;

use super::{EpochMetrics, Moments, PlateauState, TrainingError, TrialSpec, TriedRate};

pub(super) use super::identity::Identity;

mod reader;

use reader::{Reader, Refused, damaged};

/// Where a trial keeps its state, so that it can go on after an interruption.
///
/// The file is replaced as a whole, so that after a crash at any moment it is one of the trial. It
/// is written after a step or an epoch when the last writing was long enough ago, whenever the
/// observer asks to stop, and at the end if that is asked for.
#[derive(Clone, Debug)]
pub struct Checkpointing {
    /// The file. No other trial may have it.
    pub path: PathBuf,
    /// The least time between two writings that nobody asked for; longer where writing takes long.
    /// Zero writes after every step.
    pub every: Duration,
    /// Whether it is also written when the trial has ended, so that one of more epochs can go on from there.
    pub at_end: bool,
}

/// Number of the format; another is refused.
const FORMAT: u32 = 3;
/// Key of the metadata's entry.
const ENTRY: &str = "ftsurgery.checkpoint";
/// Key of the entry with that entry's checksum, in decimal digits.
const CHECKSUM: &str = "ftsurgery.checkpoint.crc32c";
/// The longest header that is read, in bytes; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes before the header, which hold its length.
const LENGTH: u64 = 8;

/// Names and content of parameters and running statistics.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub names: &'a [String],
    pub buffers: &'a [Buffer],
    /// Their averages, where the trial has any.
    pub averages: Option<&'a [Buffer]>,
}

/// All that a trial goes on from, but for its [`Values`].
pub(super) struct State {
    pub progress: Progress,
    /// Of each parameter.
    pub moments: Vec<Moments>,
    /// Parameters and running statistics after the best epoch; empty before any is scored.
    pub best: Vec<Vec<f32>>,
}

/// How far a trial has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The present epoch, from 1.
    pub epoch: usize,
    /// Steps of it that are done.
    pub done: usize,
    /// Steps of the trial that are done.
    pub step: usize,
    /// Sum over the samples of those steps of the epoch that are done.
    #[serde(with = "bits")]
    pub loss_sum: f64,
    /// The same of what penalties added to the loss.
    #[serde(with = "bits", default, skip_serializing_if = "bits::is_zero")]
    pub penalty_sum: f64,
    /// The learning rate that the schedule begins from; what a plateau has made of it. `None` while it is not
    /// found.
    pub rate: Option<f32>,
    /// The rates that were tried to find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<TriedRate>,
    /// Epochs of trainings with rates that came to nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abandoned: usize,
    pub plateau: PlateauState,
    /// The first is epoch 0 where that was scored.
    pub epochs: Vec<EpochMetrics>,
    /// Also 0 where there is none yet.
    pub best_epoch: usize,
    /// Seconds that the trial has taken.
    pub seconds: f64,
}

impl Progress {
    /// At the start.
    pub fn new(spec: &TrialSpec) -> Self {
        Progress {
            epoch: 1,
            done: 0,
            step: 0,
            loss_sum: 0.0,
            penalty_sum: 0.0,
            rate: spec.optimizer.learning_rate.given(),
            tried: Vec::new(),
            abandoned: 0,
            plateau: PlateauState::default(),
            epochs: Vec::new(),
            best_epoch: 0,
            seconds: 0.0,
        }
    }

    /// The score of the best epoch.
    pub fn best(&self) -> Option<Score> {
        let best = self.epochs.iter().find(|e| e.epoch == self.best_epoch);
        best?.validation
    }

    /// Whether a trial of so many steps per epoch can have come here.
    fn is_possible(&self, spec: &TrialSpec, per_epoch: usize) -> bool {
        let first = self.epochs.first().map_or(1, |e| e.epoch);
        let ended = self.epochs.last().map_or(0, |e| e.epoch);
        let steps = ended
            .checked_mul(per_epoch)
            .and_then(|s| s.checked_add(self.done));
        let numbered = self.epochs.iter().zip(first..).all(|(e, n)| e.epoch == n);
        let best = self.epochs.iter().any(|e| e.epoch == self.best_epoch);
        let is_open = self.step == 0 && spec.optimizer.learning_rate == Choice::Auto;
        (self.rate.is_some() || is_open)
            && self.epoch.checked_sub(1) == Some(ended)
            && ended <= spec.epochs
            && self.done <= per_epoch
            && steps == Some(self.step)
            && (first == 1 || (first == 0 && spec.score_start))
            && numbered
            && (best || (self.epochs.is_empty() && self.best_epoch == 0))
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Entry<'a> {
    format: u32,
    trial: &'a Identity,
    progress: &'a Progress,
    checksums: BTreeMap<&'a str, u32>,
}

/// What every version of the entry has.
#[derive(Deserialize)]
struct Numbered {
    format: u32,
}

#[derive(Deserialize)]
struct Saved {
    trial: Identity,
    progress: Progress,
    checksums: HashMap<String, u32>,
}

/// Writes a trial's state to `path`, in place of what was there.
///
/// # Errors
/// [`DataError::Write`] when the file cannot be written; the old one then stays.
pub(super) fn write(
    path: &Path,
    identity: &Identity,
    state: &State,
    values: Values<'_>,
) -> Result<(), TrainingError> {
    let failed = |source| DataError::Write {
        path: path.to_owned(),
        source,
    };
    let guards = values.buffers.iter().map(Buffer::as_f32);
    let guards = guards.collect::<Result<Vec<_>, _>>()?;
    let averages = values.averages.unwrap_or_default().iter();
    let averages = averages
        .map(Buffer::as_f32)
        .collect::<Result<Vec<_>, _>>()?;
    let mut tensors: Vec<(String, Floats)> = Vec::new();
    for (i, (name, buffer)) in values.names.iter().zip(values.buffers).enumerate() {
        let moments = state.moments.get(i);
        let parts = [
            ("value", Some(&*guards[i])),
            ("average", averages.get(i).map(|average| &**average)),
            ("first", moments.map(|m| m.first.as_slice())),
            ("second", moments.map(|m| m.second.as_slice())),
            ("best", state.best.get(i).map(Vec::as_slice)),
        ];
        for (part, values) in parts {
            let dims = buffer.dims();
            // Moments that the optimizer does not keep are empty.
            if let Some(values) = values
                && values.len() == dims.iter().product::<usize>()
            {
                tensors.push((format!("{part}/{name}"), Floats { dims, values }));
            }
        }
    }
    let sum =
        |(name, floats): &'_ (String, Floats<'_>)| (name.clone(), crc32c::crc32c(&floats.data()));
    let sums: Vec<(String, u32)> = tensors.iter().map(sum).collect();
    let entry = serde_json::to_string(&Entry {
        format: FORMAT,
        trial: identity,
        progress: &state.progress,
        checksums: sums
            .iter()
            .map(|(name, sum)| (name.as_str(), *sum))
            .collect(),
    });
    let entry = entry.map_err(|e| failed(e.into()))?;
    let checksum = crc32c::crc32c(entry.as_bytes()).to_string();
    let metadata = HashMap::from([(ENTRY.to_owned(), entry), (CHECKSUM.to_owned(), checksum)]);
    write_atomic_with(path, |file| {
        serialize_to_file(tensors, Some(metadata), file).map_err(|error| match error {
            SafeTensorError::IoError(error) => error,
            error => io::Error::other(error),
        })
    })
    .map_err(failed)?;
    Ok(())
}

/// The state in the file at `path`, with the [`Values`] written into their buffers; `None` if there is no file.
///
/// # Errors
/// [`TrainingError::Checkpoint`] when the file cannot be read, is damaged, or is of another trial; the
/// buffers may then have been written.
pub(super) fn load(
    path: &Path,
    identity: &Identity,
    spec: &TrialSpec,
    per_epoch: usize,
    values: Values<'_>,
) -> Result<Option<State>, TrainingError> {
    let refused = |why: Refused| {
        let (reason, is_damaged) = match why {
            Refused::Damaged(reason) => (reason, true),
            Refused::Other(reason) => (reason, false),
        };
        TrainingError::Checkpoint {
            path: path.to_owned(),
            reason,
            is_damaged,
        }
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(refused(Refused::Other("it is not a file".to_owned()))),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refused(Refused::Other(e.to_string()))),
    }
    let file = File::open(path).map_err(|e| refused(Refused::Other(e.to_string())))?;
    let mut reader = Reader::new(file).map_err(refused)?;
    let progress = reader.progress(identity).map_err(refused)?;
    if !progress.is_possible(spec, per_epoch) {
        let why = damaged("its numbers contradict each other");
        return Err(refused(why));
    }
    let [first, second] = spec.optimizer.kept_moments();
    let mut state = State {
        progress,
        moments: vec![Moments::default(); spec.trainable.len()],
        best: Vec::new(),
    };
    for (i, (name, buffer)) in values.names.iter().zip(values.buffers).enumerate() {
        let dims = buffer.dims();
        let mut read = |part: &str, into: &mut [f32]| {
            reader
                .read(&format!("{part}/{name}"), dims, into)
                .map_err(refused)
        };
        let mut current = buffer.as_f32_mut()?;
        let length = current.len();
        read("value", &mut current)?;
        if let Some(average) = values.averages.and_then(|averages| averages.get(i)) {
            read("average", &mut average.as_f32_mut()?)?;
        }
        if let Some(moments) = state.moments.get_mut(i) {
            let parts = [
                ("first", first, &mut moments.first),
                ("second", second, &mut moments.second),
            ];
            for (part, kept, into) in parts {
                // Before the first step there are none.
                if kept && state.progress.step > 0 {
                    into.resize(length, 0.0);
                    read(part, into)?;
                }
            }
        }
        if !state.progress.epochs.is_empty() {
            let mut best = vec![0.0; length];
            read("best", &mut best)?;
            state.best.push(best);
        }
    }
    Ok(Some(state))
}

/// A tensor to be written.
struct Floats<'a> {
    dims: &'a [usize],
    values: &'a [f32],
}

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            return Cow::Borrowed(bytemuck::cast_slice(self.values));
        }
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// A float as the number of its bits, which JSON keeps even if it is infinite.
pub(super) mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub fn is_zero(value: &f64) -> bool {
        value.to_bits() == 0
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}
