//! Errors of the report room.

use std::path::{Path, PathBuf};

use crate::run::RunError;

/// What can go wrong with a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of the report cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl ReportError {
    /// Whether the user's input, rather than this machine, is at fault.
    pub fn is_bad_input(&self) -> bool {
        match self {
            ReportError::Run(e) => e.is_bad_input(),
            ReportError::Write { .. } => false,
        }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        ReportError::Write {
            path: path.to_owned(),
            source,
        }
    }
}
