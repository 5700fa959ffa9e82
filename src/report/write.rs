//! The files of a report.

use std::path::Path;

use crate::onnx::write_atomic;
use crate::run::{REPORT, RunFiles, TABLE, TENSORBOARD};

use super::{ReportError, html, tensorboard, trials};

/// Writes [`REPORT`], [`TABLE`] and [`TENSORBOARD`] anew from the files of the run in `root`, finished or
/// not. Each file is replaced in one step. Returns a sentence for people where the page is without the
/// pictures of mistakes, because the data are not there any more.
///
/// # Errors
/// When the run cannot be read, or a file not be written.
pub fn write(root: &Path) -> Result<Option<String>, ReportError> {
    let files = RunFiles::read(root)?;
    let put = |path: &Path, bytes: &[u8]| {
        write_atomic(path, bytes).map_err(|e| ReportError::write(path, e))
    };
    put(&root.join(REPORT), html(&files).as_bytes())?;
    let path = root.join(TABLE);
    let table = trials::csv(&files.trials).map_err(|e| ReportError::write(&path, e))?;
    put(&path, &table)?;
    tensorboard::write(&root.join(TENSORBOARD), &files)?;
    let data = &files.run.data;
    let is_gone = data.images && !data.is_there();
    Ok(is_gone.then(|| {
        format!(
            "the data are not at {} any more: the report is without pictures",
            data.path.display()
        )
    }))
}
