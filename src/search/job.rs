//! What a run is asked to do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run::{Begin, RunDir, RunError, Settings, outside, paths};

/// What to tune, and where the results go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Job {
    /// The model's file.
    #[serde(with = "paths")]
    pub model: PathBuf,
    /// The image folder or `.npz` file.
    #[serde(with = "paths")]
    pub data: PathBuf,
    /// The run's folder.
    #[serde(with = "paths")]
    pub out: PathBuf,
    /// Whether that folder is new, or holds a run that is replaced or resumed.
    pub begin: Begin,
    /// The command line, for the record; empty where there was none.
    pub command: Vec<String>,
    /// Bytes that a winner's file may have: what is more lies in a file beside it. Protobuf's limit where
    /// nothing is said.
    pub largest_file: Option<usize>,
    /// How.
    pub settings: Settings,
}

impl Job {
    /// To tune `model` on `data` in the new folder `out`, with the default settings.
    pub fn new(
        model: impl Into<PathBuf>,
        data: impl Into<PathBuf>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Job {
            model: model.into(),
            data: data.into(),
            out: out.into(),
            ..Job::default()
        }
    }

    /// To go on with the run in the folder `root`: with the model, the data and the settings that it has
    /// recorded, whoever began it.
    ///
    /// # Errors
    /// When there is no run, or its record cannot be read.
    pub fn resume(root: &Path) -> Result<Self, RunError> {
        let record = RunDir::read_run(root)?.ok_or_else(|| RunError::NotARun {
            path: root.to_owned(),
        })?;
        Ok(Job {
            model: record.model.path,
            data: record.data.path,
            out: root.to_owned(),
            begin: Begin::Resume,
            command: record.command,
            largest_file: None,
            settings: record.configuration.settings,
        })
    }

    setters! {
        begin: Begin,
        command: Vec<String>,
        largest_file: Option<usize>,
        settings: Settings,
    }

    /// Checks that the run's folder lies in none of the data's.
    pub(super) fn outside_data(&self) -> Result<(), RunError> {
        let mut all = vec![self.data.as_path()];
        all.extend(self.settings.sources.folders());
        all.into_iter()
            .try_for_each(|data| outside(&self.out, data))
    }

    /// Looks at what is given, before any file is opened.
    ///
    /// # Errors
    /// [`RunError::Setting`], with the name of the first field that nothing can be done with.
    pub fn validate(&self) -> Result<(), RunError> {
        path_given("model", &self.model)?;
        path_given("data", &self.data)?;
        path_given("out", &self.out)?;
        self.settings.validate()
    }
}

/// Fails where a path is empty.
pub(super) fn path_given(field: &'static str, path: &Path) -> Result<(), RunError> {
    match path.as_os_str().is_empty() {
        false => Ok(()),
        true => Err(RunError::Setting {
            field,
            reason: "it is empty".to_owned(),
        }),
    }
}
