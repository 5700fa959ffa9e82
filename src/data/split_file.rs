//! A split by the names of its samples, as kept in `split.json`.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::regular;
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
            classes: dataset.classes().to_vec(),
            search: names(&split.search),
            validation: names(&split.validation),
            train: names(&split.train),
            held_out: names(&split.held_out),
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

    /// Reads a file that [`SplitFile::write`] wrote, or one like it.
    ///
    /// # Errors
    /// When the file cannot be read or is not such JSON.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        regular(path, |reason| DataError::split_file(path, reason))?;
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
        let known = |name: &&String| *name == SEARCH || *name == TRAIN;
        if let Some(name) = self.winners_train_on.iter().find(|name| !known(name)) {
            let reason =
                format!("winners_train_on names {name:?}; expected {SEARCH:?} and {TRAIN:?}");
            return Err(DataError::split_file(path, reason));
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
            search_apart: !self.winners_train_on.iter().any(|name| name == SEARCH),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::{Workers, tests::images};
    use super::super::{SplitOptions, error::DataError};
    use super::*;

    fn dataset() -> Dataset {
        Dataset {
            classes: vec!["a".into(), "b".into()],
            labels: (0..20).map(|i| i / 10).collect(),
            names: (0..20)
                .map(|i| format!("{}/{i}.png", ["a", "b"][i / 10]))
                .collect(),
            digests: vec![[0; 6]; 20],
            skipped: vec![],
            groups: (0..20).collect(),
            notes: vec![],
            fingerprint: String::new(),
            shape: [1, 1, 1],
            samples: images([1, 1, 1], vec![0; 20]),
            workers: Workers::default(),
        }
    }

    #[test]
    fn a_split_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        let dataset = dataset();
        let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
        let file = SplitFile::new(&split, &dataset);
        for _ in 0..2 {
            file.write(&path).unwrap();
        }
        let read = SplitFile::read(&path).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.resolve(&dataset, &path).unwrap(), split);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let dataset = dataset();
        let path = Path::new("my/split.json");
        let whole = SplitFile {
            classes: dataset.classes().to_vec(),
            search: vec![],
            validation: vec![],
            train: vec!["a/1.png".into()],
            held_out: vec!["b/11.png".into()],
            winners_train_on: train_alone(),
        };
        assert!(whole.resolve(&dataset, path).is_ok());
        let refusal = |file: SplitFile| {
            let error = file.resolve(&dataset, path).unwrap_err();
            let text = error.to_string();
            assert!(
                error.is_bad_input() && text.contains("my/split.json"),
                "{text}"
            );
            text
        };
        let mut file = whole.clone();
        file.search.push("a/99.png".into());
        assert!(refusal(file).contains("\"a/99.png\" in \"search\""));
        let mut file = whole.clone();
        file.validation.push("a/1.png".into());
        assert!(refusal(file).contains("twice"));
        let mut file = whole.clone();
        file.winners_train_on.push("held_out".into());
        assert!(refusal(file).contains("winners_train_on"));
        let mut file = whole;
        file.classes.reverse();
        assert!(refusal(file).contains("classes"));
    }

    #[test]
    fn a_file_says_which_lists_the_winners_are_trained_on() {
        let dataset = dataset();
        let path = Path::new("split.json");
        for search_apart in [false, true] {
            let options = SplitOptions {
                search_apart,
                ..SplitOptions::default()
            };
            let split = Split::of(&dataset, &options).unwrap();
            let text = serde_json::to_string(&SplitFile::new(&split, &dataset)).unwrap();
            assert_eq!(text.contains(r#"["search","train"]"#), !search_apart);
            let file: SplitFile = serde_json::from_str(&text).unwrap();
            assert_eq!(file.resolve(&dataset, path).unwrap(), split);
        }
        let old = r#"{"classes":[],"search":[],"validation":[],"train":[],"held_out":[]}"#;
        let file: SplitFile = serde_json::from_str(old).unwrap();
        assert_eq!(file.winners_train_on, [TRAIN]);
    }

    #[test]
    fn what_is_not_a_split_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        assert!(SplitFile::read(&path).unwrap_err().is_bad_input());
        for text in ["", "[]", "{\"classes\": []}"] {
            std::fs::write(&path, text).unwrap();
            let error = SplitFile::read(&path).unwrap_err();
            assert!(matches!(error, DataError::SplitFile { .. }) && error.is_bad_input());
            assert!(error.to_string().contains("split.json"));
        }
        let path = folder.path().join("pipe.json");
        if crate::testing::pipe(&path) {
            let error = SplitFile::read(&path).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error() {
        let dataset = dataset();
        let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
        let file = SplitFile::new(&split, &dataset);
        let error = file
            .write(Path::new("/nowhere/at/all/split.json"))
            .unwrap_err();
        assert!(!error.is_bad_input() && error.to_string().contains("/nowhere/at/all"));
    }
}
