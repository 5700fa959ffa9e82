//! An int8 model of a float one, by onnxruntime's own tool.
//!
//! The tool is Python's `onnxruntime.quantization`: static, with a QuantizeLinear and a DequantizeLinear around each value,
//! weights per channel. Here it is only run, in a process of its own, on pictures as the model reads them.

mod error;

pub use error::QuantiseError;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::onnx::Model;
use crate::surgery::{Edited, Editor, METADATA_PREFIX};

/// What runs in Python.
const TOOL: &str = include_str!("quantise.py");
/// Pictures that go through the model at once, where it leaves that open.
const BATCH: usize = 8;

/// What a model is quantised by.
pub struct Calibration<'a> {
    /// The name of its input.
    pub input: &'a str,
    /// The input's dimensions for one picture.
    pub sample: &'a [usize],
    /// How many pictures go in at once; `None` where the model leaves it open.
    pub batch: Option<usize>,
    /// How many pictures there are.
    pub pictures: usize,
    /// Writes some of them, one behind the other.
    pub fill: &'a mut Fill<'a>,
}

/// Writes the pictures of a range, one behind the other.
pub type Fill<'f> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), QuantiseError> + 'f;

/// What a quantised model's metadata say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantised {
    /// To what: `int8`.
    pub to: String,
    /// Pictures that ranges were found by.
    pub calibrated_on: usize,
    /// Other pictures, of which the figures are.
    pub measured_on: usize,
    /// Shares of them of which the float model and the quantised one are right; `None` where the pictures have no labels.
    pub accuracy: Option<[f64; 2]>,
    /// The share of them of which both say the same.
    pub agreement: f64,
    /// What did it.
    #[serde(flatten)]
    pub versions: Versions,
}

impl Quantised {
    /// The metadata key, behind the [prefix](crate::surgery::METADATA_PREFIX): JSON.
    pub const KEY: &str = "quantised";

    /// What the metadata of a model say; `None` where they say nothing of it that can be read.
    pub fn of(model: &Model) -> Option<Self> {
        let text = model.metadata(&format!("{METADATA_PREFIX}{}", Self::KEY))?;
        serde_json::from_str(text).ok()
    }
}

/// The versions of what quantised a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of onnxruntime.
    pub onnxruntime: String,
    /// Of onnx.
    pub onnx: String,
}

/// What the tool says at its end.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Missing { missing: String, python: String },
    Failed { failed: String },
    Done(Versions),
}

/// Quantises `model` into the file `out`, in the folder of which temporary files are until it ends. The metadata of the model
/// are not in it: see [`with_metadata`].
///
/// # Errors
/// When there is no Python, it lacks a package, the tool fails, or a file cannot be written.
pub fn quantise(
    python: &Path,
    model: &Path,
    calibration: Calibration<'_>,
    out: &Path,
) -> Result<Versions, QuantiseError> {
    let folder = out.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = tempfile::tempdir_in(folder.unwrap_or(Path::new(".")))
        .map_err(|e| QuantiseError::write(out, e))?;
    let pictures = folder.path().join("pictures.npy");
    let batch = calibration.batch.unwrap_or(BATCH).min(calibration.pictures);
    write_pictures(&pictures, &mut { calibration })
        .map_err(|error| match error {
            Written::Io(e) => QuantiseError::write(&pictures, e),
            Written::Fill(e) => e,
        })
        .and_then(|input| {
            let job = json!({
                "model": model,
                "input": input,
                "pictures": pictures,
                "batch": batch,
                "out": out,
                "folder": folder.path(),
            });
            run(python, &job.to_string())
        })
}

enum Written {
    Io(std::io::Error),
    Fill(QuantiseError),
}

impl From<std::io::Error> for Written {
    fn from(error: std::io::Error) -> Self {
        Written::Io(error)
    }
}

/// Writes the pictures as `.npy`; gives the name of the input.
fn write_pictures<'a>(path: &Path, of: &mut Calibration<'a>) -> Result<&'a str, Written> {
    let mut file = BufWriter::new(File::create(path)?);
    let dims: Vec<String> = std::iter::once(&of.pictures)
        .chain(of.sample)
        .map(usize::to_string)
        .collect();
    let head = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        dims.join(", ")
    );
    // Magic, version and length of the head are 10 bytes, and all of it a multiple of 64 that ends in a line feed.
    let length = (10 + head.len() + 1).next_multiple_of(64) - 10;
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(length as u16).to_le_bytes())?;
    writeln!(file, "{head:<0$}", length - 1)?;
    let width: usize = of.sample.iter().product();
    let mut values = vec![0.0_f32; width];
    for at in 0..of.pictures {
        (of.fill)(at..at + 1, &mut values).map_err(Written::Fill)?;
        for value in &values {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()?;
    Ok(of.input)
}

fn run(python: &Path, job: &str) -> Result<Versions, QuantiseError> {
    let no_python = |source| QuantiseError::NoPython {
        python: python.to_owned(),
        source,
    };
    let mut child = Command::new(python)
        .args(["-c", TOOL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_python)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read says why below.
        let _ = stdin.write_all(job.as_bytes());
    }
    let output = child.wait_with_output().map_err(no_python)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().find(|line| line.starts_with('{'));
    match last.and_then(|line| serde_json::from_str(line).ok()) {
        Some(Said::Done(versions)) => Ok(versions),
        Some(Said::Failed { failed }) => Err(QuantiseError::Failed { reason: failed }),
        Some(Said::Missing { missing, python }) => Err(QuantiseError::Missing {
            python: python.into(),
            reason: missing,
        }),
        None => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().rev().find(|line| !line.trim().is_empty());
            Err(QuantiseError::Failed {
                reason: format!("{}: {}", output.status, last.unwrap_or("nothing is said")),
            })
        }
    }
}

/// The model at `path` with all metadata of `original` that it lacks, and `further` ones. The graph and all else are as the tool
/// wrote them.
///
/// # Errors
/// When the file cannot be read, or has fields beyond the schema.
pub fn with_metadata(
    path: &Path,
    original: &Model,
    further: &[(&str, String)],
) -> Result<Edited, QuantiseError> {
    let written = Model::open(path)?;
    let mut editor = Editor::new(&written)?;
    for entry in &original.proto.metadata_props {
        if let (Some(key), Some(value)) = (&entry.key, &entry.value)
            && written.metadata(key).is_none()
        {
            editor.set_metadata(key, value);
        }
    }
    for (key, value) in further {
        editor.set_metadata(&format!("{METADATA_PREFIX}{key}"), value);
    }
    Ok(editor.finish()?)
}

#[cfg(test)]
mod tests;
