//! Errors of the run room.

use std::path::{Path, PathBuf};

/// What can go wrong with the folder of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The run's folder is in use.
    #[error("{path} exists and is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Whether it holds a run.
        resumable: bool,
    },
    /// What is to be replaced is of no run.
    #[error("{path} holds `{name}`, which is not of a run of ftsurgery: it is not replaced")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        name: &'static str,
    },
    /// Another process works on the run.
    #[error("another process works on {path}")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run cannot be resumed, because something is not as it was when the run began.
    #[error("{what} has changed since the run began: it was {was}, and is now {is}")]
    Changed {
        /// What, for people: a flag, the model, the data.
        what: String,
        /// Then.
        was: String,
        /// Now.
        is: String,
    },
    /// A file of the run's folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of a run cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A model is none that a run has made.
    #[error("{path} is none of the models that the run in {root} has made")]
    NotOfRun {
        /// The model.
        path: PathBuf,
        /// The run's folder.
        root: PathBuf,
    },
    /// There is no run in the folder.
    #[error("{path} is not the folder of a run: it has no run.json")]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a run is not as it was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A run of which another version of ftsurgery wrote the files, in another form.
    #[error(
        "{path} was written by another version of ftsurgery, in a form that this one does not read \
         ({}; this version reads format {reads})",
        match found { Some(n) => format!("format {n}"), None => "an older one, without a number".to_owned() }
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The number in the file.
        found: Option<u32>,
        /// The number that is read.
        reads: u32,
    },
    /// A trial that nobody asked for.
    #[error("no trial `{id}` is asked for in {path}")]
    NotAsked {
        /// The folder of the run, or of a repetition.
        path: PathBuf,
        /// Its identity.
        id: String,
    },
    /// A setting with which nothing can be done.
    #[error("the setting `{field}` cannot be used: {reason}")]
    Setting {
        /// The field of [`Settings`](super::Settings) or [`Job`](crate::search::Job).
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// What is to become the folder is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder would lie in that of the data: what is written there would be taken for data.
    #[error(
        "the run's folder {} lies in the data's, {}; choose one outside it with --out",
        out.display(),
        data.display()
    )]
    InData {
        /// The run's folder.
        out: PathBuf,
        /// The data's.
        data: PathBuf,
    },
}

impl RunError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, RunError::Read { .. } | RunError::Write { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            RunError::NotEmpty {
                resumable: true, ..
            } => Some(
                "go on with what is there by --resume, replace it by --out with --force, or choose \
                 another folder",
            ),
            RunError::NotEmpty { .. } => {
                Some("choose another folder with --out, or add the run to this one with --force")
            }
            RunError::NotOurs { .. } => Some("choose another folder with --out"),
            RunError::NotARun { .. } => Some(
                "a run that was stopped before it had a run.json begins by the command that was to \
                 begin it, with the same --out",
            ),
            RunError::Changed { .. } => {
                Some("put it back as it was, or begin a new run in another folder with --out")
            }
            RunError::NotAsked { .. } => {
                Some("`ftsurgery collect RUN` prints the trials that are asked for")
            }
            RunError::Format { .. } => Some(
                "use the version that its `versions` name, or make the run anew in another folder",
            ),
            _ => None,
        }
    }

    /// Whether what is resumed is not what began, or not to be had now.
    pub(crate) fn is_change(&self) -> bool {
        matches!(
            self,
            RunError::Changed { .. } | RunError::InUse { .. } | RunError::Format { .. }
        )
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        RunError::Write {
            path: path.to_owned(),
            source,
        }
    }
}
