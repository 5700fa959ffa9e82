//! What is said of a data set besides where it is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::parts_beside;
use super::list::{self, Columns, Wanted};
use super::parts::Part;
use super::{DataError, Dataset, SplitFile};
use crate::task::Task;

/// What is said of a data set besides where it is. [`Sources::default`] says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sources {
    /// Other data that validate: a folder like the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Other data that are held out: a folder like the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// The folder that the paths of lists begin in; `None` for that of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
    /// The columns of lists.
    #[serde(flatten)]
    pub columns: Columns,
    /// Whether samples have one label or may have several; `None` for what the data look like
    /// ([`Dataset::open`](super::Dataset::open)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// A file with the names of the classes in their order, of which the data may have some: see
    /// [`read_classes`](super::read_classes). `None` for numbers in their order, or names in that of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// A file that says which samples are in which part: that of a run, or one by hand ([`SplitFile`], or a list of
    /// paths and parts). It goes before all parts that the data give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<PathBuf>,
    /// A regular expression that tells from a sample's name its group, whose samples stay in one part: its first
    /// capture group, or all that it matches. It goes before a list's column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// A regular expression that tells from a path in a folder the class of the image: its first capture group, or all
    /// that it matches. The folders are then no classes, and no parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_by: Option<String>,
    /// Whether nobody asks for labels: the images of a folder, at any depth, are then of one class, and of no part.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlabelled: bool,
}

impl Sources {
    /// Other folders that hold samples of a part.
    pub(super) fn others(&self) -> impl Iterator<Item = (&Path, Part)> {
        let others = [
            (&self.validation, Part::Validation),
            (&self.test, Part::HeldOut),
        ];
        others
            .into_iter()
            .filter_map(|(path, part)| Some((path.as_deref()?, part)))
    }

    /// Gives a data set the parts that a file says.
    ///
    /// # Errors
    /// When it cannot be read, or does not fit the data.
    pub(super) fn take_split(&self, dataset: Dataset) -> Result<Dataset, DataError> {
        match &self.split {
            None => Ok(dataset),
            Some(path) => {
                let given = SplitFile::read(path)?.resolve(&dataset, path)?;
                Ok(dataset.with_split(given, path))
            }
        }
    }

    /// What is said that is for images alone, if anything: which, and its value.
    pub(super) fn of_images(&self) -> Option<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.display().to_string());
        let all = [
            ("validation", path(&self.validation)),
            ("test", path(&self.test)),
            ("classes", path(&self.classes)),
            ("group_by", self.group_by.clone()),
            ("label_by", self.label_by.clone()),
        ];
        let mut said = all
            .into_iter()
            .filter_map(|(name, said)| Some((name, said?)));
        said.next().or_else(|| self.of_lists())
    }

    /// What is said that is for lists alone, if anything: which, and its value.
    pub(super) fn of_lists(&self) -> Option<(&'static str, String)> {
        let images = self.images.as_ref();
        let images = images.map(|path| ("images", path.display().to_string()));
        let column = self.columns.first();
        images.or(column.map(|(flag, name)| (flag, name.to_owned())))
    }

    /// The folders of other data.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.others().map(|(path, _)| path)
    }

    /// All paths.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let all = [
            &mut self.validation,
            &mut self.test,
            &mut self.images,
            &mut self.split,
            &mut self.classes,
        ];
        all.into_iter().flatten()
    }

    /// These with absolute paths, which hold wherever a process runs.
    #[must_use]
    pub fn absolute(&self) -> Self {
        let mut sources = self.clone();
        for path in sources.paths() {
            if let Ok(absolute) = std::path::absolute(&path) {
                *path = absolute;
            }
        }
        sources
    }

    /// The parts of the data at `path` that are given besides that which is trained on, as far as a look at names
    /// tells; opening them tells for certain.
    pub fn given_parts(&self, path: &Path) -> Vec<Part> {
        if let Some(split) = &self.split {
            let file = SplitFile::read(split);
            return file.map_or_else(|_| Vec::new(), |file| file.beside());
        }
        let mut parts = match list::is_list(path) {
            true => list::read(path, &self.columns, Wanted::Labels(self.task)).map_or_else(
                |_| Vec::new(),
                |list| {
                    let parts = list.rows.iter().filter_map(|row| row.part);
                    parts.filter(|part| *part != Part::Train).collect()
                },
            ),
            false if self.label_by.is_some() => Vec::new(),
            false => parts_beside(path),
        };
        parts.extend(self.others().map(|(_, part)| part));
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}
