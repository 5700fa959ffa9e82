//! The log of a trial.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::DataError;
use crate::onnx::fault::change;
use crate::onnx::write_atomic;
use crate::training::EpochMetrics;

/// The metrics of one trial, one JSON object a line. Lines of steps have `step`, lines of epochs
/// have `epoch`.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsFile {
    /// Opens the file, made where it is not there: empty, unless the trial goes on.
    pub(super) fn open(path: &Path, goes_on: bool) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        match goes_on {
            true => options.append(true),
            false => options.write(true).truncate(true),
        };
        change("open", path)?;
        let file = options.create(true).open(path)?;
        Ok(MetricsFile {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line<T: Serialize>(&mut self, value: &T) -> Result<(), DataError> {
        let write = |file: &mut BufWriter<File>| -> std::io::Result<()> {
            serde_json::to_writer(&mut *file, value)?;
            file.write_all(b"\n")
        };
        write(&mut self.file).map_err(|source| self.failed(source))
    }

    /// Takes off all lines behind `step` and behind the last of `epochs`: they will be written again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn rewind(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), DataError> {
        #[derive(serde::Deserialize)]
        struct Line {
            step: Option<usize>,
            epoch: Option<usize>,
        }
        let last = epochs.last().map(|e| e.epoch);
        let is_kept = |line: &&str| {
            serde_json::from_str::<Line>(line).is_ok_and(|l| {
                l.step.is_some_and(|s| s <= step) || l.epoch.is_some_and(|e| Some(e) <= last)
            })
        };
        let rewound = fs::read_to_string(&self.path).and_then(|text| {
            let mut kept: String = text
                .lines()
                .filter(is_kept)
                .fold(String::new(), |all, line| all + line + "\n");
            // A crash of the machine may have taken lines that the checkpoint still knows.
            let known = kept.lines().filter(|l| l.contains("\"epoch\"")).count();
            for metrics in epochs.iter().skip(known) {
                kept.push_str(&serde_json::to_string(metrics)?);
                kept.push('\n');
            }
            write_atomic(&self.path, kept.as_bytes())?;
            OpenOptions::new().append(true).open(&self.path)
        });
        self.file = BufWriter::new(rewound.map_err(|source| self.failed(source))?);
        Ok(())
    }

    /// Hands all lines to the system.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn flush(&mut self) -> Result<(), DataError> {
        let flushed = change("append to", &self.path).and_then(|()| self.file.flush());
        flushed.map_err(|source| self.failed(source))
    }

    /// As [`MetricsFile::flush`], and has the system write them to the disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn sync(&mut self) -> Result<(), DataError> {
        self.flush()?;
        let synced = change("sync", &self.path).and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> DataError {
        DataError::Write {
            path: self.path.clone(),
            source,
        }
    }
}
