//! A split by the names of its samples, as kept in `split.json`.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Split};

/// A [`Split`] by the names of its samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// The names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// See [`Split::search`].
    pub search: Vec<String>,
    /// See [`Split::validation`].
    pub validation: Vec<String>,
    /// See [`Split::train`].
    pub train: Vec<String>,
    /// See [`Split::held_out`].
    pub held_out: Vec<String>,
}

impl SplitFile {
    /// The names of the samples of `split`, whose indices are those of `dataset`.
    pub fn new(split: &Split, dataset: &Dataset) -> Self {
        let names = |list: &[usize]| list.iter().map(|&index| dataset.name(index)).collect();
        Self {
            classes: dataset.classes().to_vec(),
            search: names(&split.search),
            validation: names(&split.validation),
            train: names(&split.train),
            held_out: names(&split.held_out),
        }
    }

    /// Writes the split to `path` as JSON; a file there is replaced in one step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let failed = |source| DataError::write(path, source);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        text.push(b'\n');
        let mut file = tempfile::Builder::new()
            .prefix(".split")
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    /// Reads a file that [`SplitFile::write`] wrote, or one like it.
    ///
    /// # Errors
    /// When the file cannot be read or is not such JSON.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read(path).map_err(|e| DataError::read(path, e))?;
        serde_json::from_slice(&text).map_err(|e| DataError::split_file(path, e))
    }

    /// The indices of the named samples in `dataset`; `path` names the file in errors.
    ///
    /// Samples the file does not name are in none of the lists.
    ///
    /// # Errors
    /// When the classes are not those of `dataset`, a name is not one of its samples, or a name
    /// occurs twice.
    pub fn resolve(&self, dataset: &Dataset, path: &Path) -> Result<Split, DataError> {
        if self.classes != dataset.classes() {
            return Err(DataError::split_file(
                path,
                format!(
                    "its classes are {:?}, those of the data set {:?}",
                    self.classes,
                    dataset.classes()
                ),
            ));
        }
        let mut unused: HashMap<String, (usize, Option<&str>)> = (0..dataset.len())
            .map(|index| (dataset.name(index), (index, None)))
            .collect();
        let mut indices = |list: &'static str, names: &[String]| {
            names
                .iter()
                .map(|name| match unused.get_mut(name) {
                    Some((index, used @ None)) => {
                        *used = Some(list);
                        Ok(*index)
                    }
                    Some((_, Some(first))) => Err(DataError::split_file(
                        path,
                        format!("{name:?} is named twice, in {first:?} and in {list:?}"),
                    )),
                    None => Err(DataError::split_file(
                        path,
                        format!("{name:?} in {list:?} is not in the data set"),
                    )),
                })
                .collect::<Result<Vec<usize>, DataError>>()
        };
        Ok(Split {
            search: indices("search", &self.search)?,
            validation: indices("validation", &self.validation)?,
            train: indices("train", &self.train)?,
            held_out: indices("held_out", &self.held_out)?,
        })
    }
}
