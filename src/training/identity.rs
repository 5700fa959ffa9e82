//! What decides how a trial goes, to tell whether a checkpoint is of the same one.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::hex;
use crate::runtime::Buffer;
use crate::task::Task;

use super::{Lab, TrainingError, TrialSpec};

/// The specification of a trial as it stands, the rest as digests.
///
/// The images' files and the frozen weights are not part of it: they are the same for all trials of a
/// run, and the run's to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    spec: Map<String, Value>,
    /// How samples become the values that a step reads.
    input: Map<String, Value>,
    /// Indices and labels.
    train: String,
    validation: String,
    /// Names, dimensions and first values of parameters and running statistics.
    parameters: String,
    /// Dropout, device and operators.
    network: String,
    /// Of the trained filters; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub groups: String,
}

impl Identity {
    /// The identity of a trial whose `buffers` hold the first values of what has these `names`.
    ///
    /// # Errors
    /// When a buffer is in use.
    pub fn new(
        lab: &Lab<'_>,
        spec: &TrialSpec,
        [train, validation]: [&[usize]; 2],
        names: &[String],
        buffers: &[Buffer],
    ) -> Result<Self, TrainingError> {
        let has_length = spec.schedule.has_length();
        let mut spec = match serde_json::to_value(spec) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        // How many steps there will be shows in none, but where the schedule says so.
        let epochs = spec.remove("epochs");
        let cycles = match spec.remove("cycles") {
            Some(Value::Array(cycles)) if cycles.len() > 1 => Some(Value::Array(cycles)),
            Some(Value::Array(mut cycles)) => cycles.pop().or(epochs),
            _ => epochs,
        };
        if let (Some(epochs), true) = (cycles, has_length) {
            spec.insert("schedule's epochs".to_owned(), epochs);
        }
        let options = &lab.options;
        let input = Map::from_iter([
            ("augment".to_owned(), options.augment.to_string().into()),
            (
                "views".to_owned(),
                options.views.map(NonZeroUsize::get).into(),
            ),
            (
                "feature precision".to_owned(),
                options.feature_precision.to_string().into(),
            ),
            ("layout".to_owned(), json(&lab.input().layout)),
            ("preprocessing".to_owned(), json(&lab.input().preprocess)),
        ]);
        let samples = |samples: &[usize]| {
            let mut hash = Sha256::new();
            for &i in samples {
                hash.update((i as u64).to_le_bytes());
                match lab.dataset.sets() {
                    None => hash.update(lab.dataset.labels()[i].to_le_bytes()),
                    Some(sets) => {
                        let own = sets.get(i);
                        hash.update((own.len() as u64).to_le_bytes());
                        own.iter()
                            .for_each(|class| hash.update(class.to_le_bytes()));
                    }
                }
            }
            hex::encode(hash.finalize())
        };
        let mut parameters = Sha256::new();
        for (name, buffer) in names.iter().zip(buffers) {
            text(&mut parameters, name);
            text(&mut parameters, &format!("{:?}", buffer.dims()));
            for value in buffer.as_f32()?.iter() {
                parameters.update(value.to_le_bytes());
            }
        }
        let mut network = Sha256::new();
        if lab.network.task != Task::SingleLabel {
            text(&mut network, &lab.network.task.to_string());
        }
        for dropout in &lab.network.dropout {
            text(&mut network, &dropout.value);
            network.update(dropout.ratio.to_le_bytes());
            network.update((dropout.width as u64).to_le_bytes());
        }
        text(&mut network, &lab.options.device.to_string());
        if lab.options.tf32 {
            text(&mut network, "tf32");
        }
        text(&mut network, &format!("{:?}", lab.operators()));
        Ok(Identity {
            spec,
            input,
            train: samples(train),
            validation: samples(validation),
            parameters: hex::encode(parameters.finalize()),
            network: hex::encode(network.finalize()),
            groups: String::new(),
        })
    }

    /// What of this saved identity is different in `now`, in words.
    pub fn differences(&self, now: &Identity) -> Vec<String> {
        let mut differences = different(&self.spec, &now.spec);
        differences.extend(different(&self.input, &now.input));
        for (what, old, new) in [
            ("the training samples have", &self.train, &now.train),
            (
                "the validation samples have",
                &self.validation,
                &now.validation,
            ),
            (
                "the first values of the parameters have",
                &self.parameters,
                &now.parameters,
            ),
            (
                "the head's dropout, the device or the operators have",
                &self.network,
                &now.network,
            ),
            ("the groups of filters have", &self.groups, &now.groups),
        ] {
            if old != new {
                differences.push(format!("{what} changed"));
            }
        }
        differences
    }
}

/// What entries of `old` are not as in `new`, or only in one of them.
fn different(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let null = Value::Null;
    let added = new.keys().filter(|k| !old.contains_key(*k));
    old.keys()
        .chain(added)
        .filter_map(|key| {
            let value = |of: &Map<String, Value>| of.get(key).unwrap_or(&null).clone();
            match (value(old), value(new)) {
                (old, new) if old == new => None,
                // The names of the parameters: too many to tell.
                (Value::Array(_), _) | (_, Value::Array(_)) => Some(format!("{key} has changed")),
                (old, new) => Some(format!("{key} was {old} and is {new}")),
            }
        })
        .collect()
}

/// A value as JSON; whatever cannot be written so could not be read back either.
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Hashes a text so that it cannot run into the next.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}
