//! What a runtime's process is asked, and what it answers: JSON files beside files of raw numbers.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::onnx::{DataType, Tensor, element_count};

use super::super::VerifyError;
use super::{Asked, Runner};

/// The file with the job, in the folder of a runtime's process.
pub(super) const JOB: &str = "job.json";
/// The file with its answer.
const ANSWER: &str = "answer.json";

/// What a process is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// What is to run the models.
    pub runtime: String,
    pub models: Vec<PathBuf>,
    pub inputs: Vec<Stored>,
    /// Where the answer goes.
    pub folder: PathBuf,
    /// For how many seconds each model is timed.
    pub seconds: f64,
}

/// A tensor in a file of its own: numbers one behind the other, little-endian, in row-major order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub name: String,
    /// As NumPy calls it.
    pub dtype: String,
    pub dims: Vec<usize>,
    pub file: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: String,
    models: Vec<WrittenModel>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenModel {
    error: Option<String>,
    outputs: Vec<Stored>,
    times: Vec<f64>,
}

/// What a process answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub version: String,
    pub models: Vec<Ran>,
}

/// What became of a model.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// Why it does not run.
    pub error: Option<String>,
    pub tensors: Vec<(String, Tensor)>,
    /// Seconds of each run that was timed.
    pub times: Vec<f64>,
}

const TYPES: [(DataType, &str); 12] = [
    (DataType::Float, "float32"),
    (DataType::Double, "float64"),
    (DataType::Float16, "float16"),
    (DataType::Int64, "int64"),
    (DataType::Int32, "int32"),
    (DataType::Int16, "int16"),
    (DataType::Int8, "int8"),
    (DataType::Uint8, "uint8"),
    (DataType::Uint16, "uint16"),
    (DataType::Uint32, "uint32"),
    (DataType::Uint64, "uint64"),
    (DataType::Bool, "bool"),
];

fn failed(path: &Path) -> impl Fn(std::io::Error) -> VerifyError {
    let path = path.to_owned();
    move |source| VerifyError::Io {
        path: path.clone(),
        source,
    }
}

fn store(name: &str, tensor: &Tensor, file: PathBuf) -> Result<Stored, VerifyError> {
    let known = TYPES.iter().find(|(dtype, _)| *dtype == tensor.dtype);
    let (_, dtype) = known.ok_or_else(|| VerifyError::Input {
        input: name.to_owned(),
        reason: format!(
            "{:?} has no form in which it could be handed over",
            tensor.dtype
        ),
    })?;
    fs::write(&file, &tensor.data).map_err(failed(&file))?;
    Ok(Stored {
        name: name.to_owned(),
        dtype: (*dtype).to_owned(),
        dims: tensor.dims.clone(),
        file,
    })
}

impl Stored {
    /// The tensor in the file.
    pub fn load(&self) -> Result<Tensor, String> {
        let known = TYPES.iter().find(|(_, name)| *name == self.dtype);
        let (dtype, _) =
            known.ok_or_else(|| format!("`{}` is of type {}", self.name, self.dtype))?;
        let data = fs::read(&self.file).map_err(|e| format!("`{}`: {e}", self.name))?;
        let elements = element_count(&self.dims).and_then(|n| n.checked_mul(dtype.size()));
        match elements == Some(data.len()) {
            true => Ok(Tensor {
                dtype: *dtype,
                dims: self.dims.clone(),
                data: data.into(),
            }),
            false => Err(format!(
                "`{}` has {} bytes for {:?}",
                self.name,
                data.len(),
                self.dims
            )),
        }
    }
}

impl Job {
    /// Writes a job into a folder that is made for it; gives its file.
    pub fn write(
        asked: &Asked<'_>,
        runner: &Runner,
        folder: &Path,
    ) -> Result<PathBuf, VerifyError> {
        fs::create_dir(folder).map_err(failed(folder))?;
        let stored = asked.inputs.iter().enumerate();
        let stored =
            stored.map(|(i, (name, tensor))| store(name, tensor, folder.join(format!("input{i}"))));
        let models = asked
            .models
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        let job = Job {
            runtime: runner.runtime.to_owned(),
            models: models.collect(),
            inputs: stored.collect::<Result<_, _>>()?,
            folder: folder.to_owned(),
            seconds: asked.latency.unwrap_or_default().as_secs_f64(),
        };
        let file = folder.join(JOB);
        let text = serde_json::to_vec(&job)
            .map_err(std::io::Error::from)
            .map_err(failed(&file))?;
        fs::write(&file, text).map_err(failed(&file))?;
        Ok(file)
    }

    /// Reads a job.
    pub fn read(file: &Path) -> Result<Self, VerifyError> {
        let text = fs::read(file).map_err(failed(file))?;
        serde_json::from_slice(&text)
            .map_err(std::io::Error::from)
            .map_err(failed(file))
    }
}

impl Answer {
    /// Writes an answer into the folder of its job.
    pub fn write(&self, folder: &Path) -> Result<(), VerifyError> {
        let mut models = Vec::new();
        for (m, ran) in self.models.iter().enumerate() {
            let stored = ran.tensors.iter().enumerate().map(|(i, (name, tensor))| {
                store(name, tensor, folder.join(format!("output{m}_{i}")))
            });
            models.push(WrittenModel {
                error: ran.error.clone(),
                outputs: stored.collect::<Result<_, _>>()?,
                times: ran.times.clone(),
            });
        }
        let written = Written {
            version: self.version.clone(),
            models,
        };
        let file = folder.join(ANSWER);
        let text = serde_json::to_vec(&written)
            .map_err(std::io::Error::from)
            .map_err(failed(&file))?;
        fs::write(&file, text).map_err(failed(&file))
    }

    /// Reads an answer from the folder of its job.
    ///
    /// # Errors
    /// In a line, when there is none that can be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let text = fs::read(folder.join(ANSWER)).map_err(|e| format!("it left no answer: {e}"))?;
        let written: Written =
            serde_json::from_slice(&text).map_err(|e| format!("its answer cannot be read: {e}"))?;
        let mut models = Vec::new();
        for model in written.models {
            let tensors = model
                .outputs
                .iter()
                .map(|stored| Ok((stored.name.clone(), stored.load()?)));
            let (tensors, unread) = match tensors.collect::<Result<Vec<_>, String>>() {
                Ok(tensors) => (tensors, None),
                Err(why) => (Vec::new(), Some(format!("its output {why}"))),
            };
            models.push(Ran {
                error: model.error.or(unread),
                tensors,
                times: model.times,
            });
        }
        Ok(Answer {
            version: written.version,
            models,
        })
    }
}
