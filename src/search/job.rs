//! What a run is asked to do.

use std::path::PathBuf;

use crate::run::{Begin, Settings};

/// What to tune, and where the results go.
#[derive(Clone, Debug)]
pub struct Job {
    /// The model's file.
    pub model: PathBuf,
    /// The image folder or `.npz` file.
    pub data: PathBuf,
    /// The run's folder.
    pub out: PathBuf,
    /// Whether that folder is new, or holds a run that is replaced or resumed.
    pub begin: Begin,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// How.
    pub settings: Settings,
}
