//! A split by the names of its samples, as kept in `split.json`.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex;

use super::error::regular;
use super::list::{self, Columns, Wanted};
use super::names::composed;
use super::{DataError, Dataset, Given, Part, Split};

/// The parts of a data set by the names of its samples: a whole [`Split`], as a run keeps it, or some parts, as people
/// write them. A part that is missing is split off from what is trained on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// The names of the classes, in the order of their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// See [`Split::search`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Vec<String>>,
    /// See [`Split::validation`].
    #[serde(
        default,
        alias = "val",
        alias = "valid",
        skip_serializing_if = "Option::is_none"
    )]
    pub validation: Option<Vec<String>>,
    /// See [`Split::train`].
    pub train: Vec<String>,
    /// See [`Split::held_out`].
    #[serde(default, alias = "test", skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Vec<String>>,
    /// The lists that the winners are trained on: `train`, and `search` unless it is kept apart, as
    /// in files without this entry.
    #[serde(default = "train_alone")]
    pub winners_train_on: Vec<String>,
}

fn train_alone() -> Vec<String> {
    vec![TRAIN.to_owned()]
}

const SEARCH: &str = "search";
const TRAIN: &str = "train";

impl SplitFile {
    /// The names of the samples of `split`, whose indices are those of `dataset`.
    pub fn new(split: &Split, dataset: &Dataset) -> Self {
        let names = |list: &[usize]| list.iter().map(|&index| dataset.name(index)).collect();
        Self {
            classes: Some(dataset.classes().to_vec()),
            search: Some(names(&split.search)),
            validation: Some(names(&split.validation)),
            train: names(&split.train),
            held_out: Some(names(&split.held_out)),
            winners_train_on: match split.search_apart {
                true => train_alone(),
                false => vec![SEARCH.to_owned(), TRAIN.to_owned()],
            },
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

    /// Reads a file that [`SplitFile::write`] wrote, one like it, or a list (`.csv`, `.tsv`, `.txt`, `.jsonl`) of paths and
    /// their parts.
    ///
    /// # Errors
    /// When the file cannot be read or is neither.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        if list::is_list(path) {
            return Self::of_list(path);
        }
        regular(path, |reason| DataError::split_file(path, reason))?;
        let text = std::fs::read(path).map_err(|e| DataError::read(path, e))?;
        serde_json::from_slice(&text).map_err(|e| DataError::split_file(path, e))
    }

    fn of_list(path: &Path) -> Result<Self, DataError> {
        let rows = list::read(path, &Columns::default(), Wanted::Parts)?.rows;
        let names = |part: Part| -> Vec<String> {
            let of_part = rows.iter().filter(|row| row.part == Some(part));
            of_part.map(|row| row.path.clone()).collect()
        };
        let some = |part| Some(names(part)).filter(|names| !names.is_empty());
        Ok(Self {
            validation: some(Part::Validation),
            train: names(Part::Train),
            held_out: some(Part::HeldOut),
            ..Self::default()
        })
    }

    /// The parts that it gives besides that which is trained on.
    pub(super) fn beside(&self) -> Vec<Part> {
        let all = [
            (Part::Search, &self.search),
            (Part::Validation, &self.validation),
            (Part::HeldOut, &self.held_out),
        ];
        let given = all.into_iter().filter(|(_, names)| names.is_some());
        given.map(|(part, _)| part).collect()
    }

    /// All that it names.
    fn names(&self) -> impl Iterator<Item = &String> {
        let some = [&self.search, &self.validation, &self.held_out];
        some.into_iter().flatten().flatten().chain(&self.train)
    }

    /// The indices of the named samples in `dataset`; `path` names the file in errors.
    ///
    /// Samples the file does not name are in none of the lists.
    ///
    /// # Errors
    /// When the classes are not those of `dataset`, a name is not one of its samples, or a name
    /// occurs twice.
    pub fn resolve(&self, dataset: &Dataset, path: &Path) -> Result<Given, DataError> {
        // Its classes may come in another order, and not all of them be there.
        if let Some(classes) = &self.classes {
            let of_data = dataset.classes();
            let labels = (0..dataset.len()).flat_map(|sample| dataset.classes_of(sample));
            let present: BTreeSet<usize> = labels.collect();
            let mut names = present.into_iter().filter_map(|class| of_data.get(class));
            if names.any(|name| !classes.contains(name)) {
                let reason =
                    format!("its classes are {classes:?}, those of the data set {of_data:?}");
                return Err(DataError::split_file(path, reason));
            }
        }
        let known = |name: &&String| *name == SEARCH || *name == TRAIN;
        if let Some(name) = self.winners_train_on.iter().find(|name| !known(name)) {
            let reason =
                format!("winners_train_on names {name:?}; expected {SEARCH:?} and {TRAIN:?}");
            return Err(DataError::split_file(path, reason));
        }
        let mut unused: HashMap<String, (usize, Option<&str>)> = (0..dataset.len())
            .map(|index| (dataset.name(index), (index, None)))
            .collect();
        let meant: HashMap<String, String> = match self.names().all(|n| unused.contains_key(n)) {
            true => HashMap::new(),
            false => unused.keys().map(|n| (plain(n), n.clone())).collect(),
        };
        let mut indices = |list: &'static str, names: &[String]| {
            names
                .iter()
                .map(|name| match unused.get_mut(match unused.contains_key(name) {
                    true => name,
                    false => meant.get(&plain(name)).unwrap_or(name),
                }) {
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
                        format!(
                            "{name:?} in {list:?} is not in the data set, whose names are like {:?}",
                            dataset.name(0)
                        ),
                    )),
                })
                .collect::<Result<Vec<usize>, DataError>>()
        };
        let mut some = |list, names: &Option<Vec<String>>| {
            let names = names.as_deref();
            names.map(|names| indices(list, names)).transpose()
        };
        Ok(Given {
            search: some(SEARCH, &self.search)?,
            validation: some("validation", &self.validation)?,
            held_out: some("held_out", &self.held_out)?,
            train: indices(TRAIN, &self.train)?,
            search_apart: !self.winners_train_on.iter().any(|name| name == SEARCH),
        })
    }
}

/// A name as paths are written in one way: another form of Unicode, a `./` in front and the `\` of Windows make no other
/// file.
fn plain(name: &str) -> String {
    composed(name.trim_start_matches("./")).replace('\\', "/")
}

impl Dataset {
    /// This with the parts that the file at `path` gives, in place of those that it has.
    pub(super) fn with_split(mut self, given: Given, path: &Path) -> Self {
        if self.given.is_some() {
            self.notes.push(format!(
                "the parts are those of {}, in place of those that the data give",
                path.display()
            ));
        }
        let parts = given.parts(self.len());
        let unused = parts.iter().filter(|part| part.is_none()).count();
        if unused > 0 {
            self.notes.push(format!(
                "{unused} of {} samples are in no part of {}, and are not used",
                self.len(),
                path.display()
            ));
        }
        let mut digest = Sha256::new();
        digest.update(&self.fingerprint);
        for part in [Part::Search, Part::Validation, Part::Train, Part::HeldOut] {
            digest.update(part.to_string());
            let samples = given.part(part).into_iter().flatten();
            samples.for_each(|&sample| digest.update((sample as u64).to_le_bytes()));
        }
        self.fingerprint = hex::encode(digest.finalize());
        self.given = Some(given);
        self
    }
}

#[cfg(test)]
mod tests;
