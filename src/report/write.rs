//! The files of a report.

use std::path::Path;

use crate::onnx::write_atomic;
use crate::search::{REPORT, RunFiles, TABLE, TENSORBOARD};

use super::{ReportError, html, tensorboard, trials};

/// Writes [`REPORT`], [`TABLE`] and [`TENSORBOARD`] anew from the files of the run in `root`, finished or
/// not. Each file is replaced in one step.
///
/// # Errors
/// When the run cannot be read, or a file not be written.
pub fn write(root: &Path) -> Result<(), ReportError> {
    let files = RunFiles::read(root)?;
    let put = |path: &Path, bytes: &[u8]| {
        write_atomic(path, bytes).map_err(|e| ReportError::write(path, e))
    };
    put(&root.join(REPORT), html(&files).as_bytes())?;
    let path = root.join(TABLE);
    let table = trials::csv(&files.trials).map_err(|e| ReportError::write(&path, e))?;
    put(&path, &table)?;
    tensorboard::write(&root.join(TENSORBOARD), &files)
}
