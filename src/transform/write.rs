//! Writing what an operation made, and holding it against what it was asked for before it gets its name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::onnx::{Model, TEMPORARY_PREFIX, is_same_file, lay_out, rename};
use crate::runtime::Runtime;
use crate::surgery::{Manifest, holds_but_for_places};

use super::{Numbers, Runtimes, TransformError, Transformed, numbers, stages};

/// Bytes of a model, values beside it included, up to which numbers are compared unless somebody says otherwise: both
/// models are run for it, which takes their size in memory.
pub const LARGEST_COMPARED: u64 = 256 << 20;

/// How a new model is held against what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    Off,
    /// What was written is read again: it is the original with the changes of the manifest and no other.
    Structure,
    /// And both models are run on the same random inputs.
    Numbers,
}

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct Writing {
    /// The file.
    pub out: PathBuf,
    /// Whether one that is there may be written over.
    pub overwrite: bool,
    /// How it is checked; without it, numbers are compared where there is onnxruntime and the model has no more than
    /// [`LARGEST_COMPARED`], and where that cannot be done it is no error.
    pub check: Option<Check>,
}

impl Writing {
    /// To this file, which is none that is there.
    pub fn to(out: &Path) -> Self {
        Writing {
            out: out.to_owned(),
            overwrite: false,
            check: None,
        }
    }

    setters! { overwrite: bool, check: Option<Check> }

    /// The name of the file beside the model: the model's and `.data`.
    fn data(&self) -> String {
        let name = self.out.file_name().unwrap_or_default();
        format!("{}.data", name.to_string_lossy())
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Every difference from the original.
    pub manifest: Manifest,
    /// The model's file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The file beside it, and its bytes.
    pub data: Option<(PathBuf, u64)>,
    /// What came of comparing numbers.
    pub numbers: Numbers,
}

/// Writes a model: into a folder of its own beside the file, where it is read again and checked; then it gets its name, the file
/// beside it first. What was there is untouched unless all is well. Values of tensors that lie beside the model are beside the
/// new one, too: in a file of its name and `.data`.
///
/// # Errors
/// When a file is there that may not be overwritten, or is read here; the new model is not what it should be; or a file
/// cannot be read or written.
pub fn write(
    transformed: &Transformed<'_>,
    writing: &Writing,
    runtimes: &dyn Runtimes,
) -> Result<Written, TransformError> {
    let model = transformed.model();
    let laid = lay_out(&model, transformed.placement, &writing.data())?;
    let out = &writing.out;
    let has_data = laid.data_bytes().is_some();
    let data = has_data.then(|| out.with_file_name(writing.data()));
    let stages = transformed.stages.iter().map(|stage| stage.model);
    for read in std::iter::once(transformed.original).chain(stages) {
        ensure_may_write(read, writing, data.as_deref())?;
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TransformError::Write { path, source }
    };
    let home = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempdir_in(home)
        .map_err(failed(home))?;
    let name = out
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    laid.write(folder.path(), &name)?;
    let (manifest, numbers) = checked(
        transformed,
        &folder.path().join(&name),
        writing.check,
        runtimes,
    )?;
    if let Some(data) = &data {
        rename(&folder.path().join(writing.data()), data).map_err(failed(data))?;
    }
    if let Err(source) = rename(&folder.path().join(&name), out) {
        if let Some(data) = &data {
            // On a full disk the room is needed, and no model reads it.
            let _ = fs::remove_file(data);
        }
        return Err(failed(out)(source));
    }
    Ok(Written {
        manifest,
        path: out.clone(),
        bytes: laid.file_bytes(),
        data: data.zip(laid.data_bytes()),
        numbers,
    })
}

/// The manifest with the places of values, and what came of comparing numbers.
fn checked(
    transformed: &Transformed<'_>,
    path: &Path,
    check: Option<Check>,
    runtimes: &dyn Runtimes,
) -> Result<(Manifest, Numbers), TransformError> {
    let mut manifest = transformed.manifest.clone();
    if check == Some(Check::Off) {
        return Ok((manifest, Numbers::NotAsked));
    }
    let original = transformed.original;
    let read = Model::open_in_place(path)?;
    let moved = holds_but_for_places(original, &read, &manifest)?;
    manifest.changes.extend(moved);
    original.ensure_unchanged()?;
    for stage in &transformed.stages {
        stage.model.ensure_unchanged()?;
    }
    let size = original.size().max(read.size());
    let compare = |runtime: &Runtime| match transformed.stages.as_slice() {
        [] => numbers::compare(runtime, original, &read, &transformed.promise),
        all => stages::compare(runtime, all, &read, &transformed.promise),
    };
    let numbers = match check {
        Some(Check::Structure) => Numbers::NotAsked,
        None if size > LARGEST_COMPARED => Numbers::NotCompared(format!(
            "both models would be in memory, of {} MiB; --check numbers does it",
            size >> 20
        )),
        Some(_) => {
            let runtime = runtimes.runtime()?;
            compare(&runtime)?
        }
        None => match runtimes.runtime() {
            Err(error) => Numbers::NotCompared(error.to_string()),
            Ok(runtime) => match compare(&runtime) {
                Err(TransformError::NotCompared { reason, source }) => {
                    let why = source.map_or(String::new(), |e| format!(": {e}"));
                    Numbers::NotCompared(format!("{reason}{why}"))
                }
                compared => compared?,
            },
        },
    };
    Ok((manifest, numbers))
}

/// That the files to be written are none that are there, or may be written over, and none that is read.
fn ensure_may_write(
    original: &Model,
    writing: &Writing,
    data: Option<&Path>,
) -> Result<(), TransformError> {
    let reads = original.files();
    for file in std::iter::once(writing.out.as_path()).chain(data) {
        if reads.iter().any(|read| is_same_file(read, file)) {
            return Err(TransformError::Reads {
                path: file.to_owned(),
            });
        }
        let there = file.try_exists().map_err(|source| TransformError::Write {
            path: file.to_owned(),
            source,
        })?;
        if there && !writing.overwrite {
            return Err(TransformError::Exists {
                path: file.to_owned(),
            });
        }
    }
    Ok(())
}
