//! The files of a report.

use std::path::Path;

use crate::onnx::write_atomic;
use crate::search::RunFiles;

use super::{ReportError, html, tensorboard, trials};

/// The page, in the run's folder.
pub const PAGE: &str = "report.html";
/// All trials, for spreadsheets.
pub const CSV: &str = "trials.csv";
/// The folder of the event files.
pub const TENSORBOARD: &str = "tensorboard";

/// Writes [`PAGE`], [`CSV`] and [`TENSORBOARD`] anew from the files of the run in `root`, finished or
/// not. Each file is replaced in one step.
///
/// # Errors
/// When the run cannot be read, or a file not be written.
pub fn write(root: &Path) -> Result<(), ReportError> {
    let files = RunFiles::read(root)?;
    let put = |path: &Path, bytes: &[u8]| {
        write_atomic(path, bytes).map_err(|e| ReportError::write(path, e))
    };
    put(&root.join(PAGE), html(&files).as_bytes())?;
    let path = root.join(CSV);
    let table = trials::csv(&files.trials).map_err(|e| ReportError::write(&path, e))?;
    put(&path, &table)?;
    tensorboard::write(&root.join(TENSORBOARD), &files)
}
