//! Event files for TensorBoard: one folder per trial, with its figures by epoch and by step.

mod event;
mod record;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::onnx::write_atomic;
use crate::run::{RunFiles, TrialMetrics};

use super::ReportError;
use event::Event;

/// Name of an event file; TensorBoard looks for `tfevents` in it.
const FILE: &str = "events.out.tfevents.0.ftsurgery";

/// Writes `folder/ID/` for every trial that has metrics, and removes the event files of trials that
/// are no more.
///
/// The wall-clock time of an event is the seconds since its trial's first step (of a step: those of
/// the last epoch before it), so that the same run gives the same bytes.
pub fn write(folder: &Path, files: &RunFiles) -> Result<(), ReportError> {
    remove_stale(folder, files)?;
    for (id, metrics) in &files.metrics {
        let path = folder.join(id).join(FILE);
        let put = || -> std::io::Result<()> {
            fs::create_dir_all(folder.join(id))?;
            write_atomic(&path, &file(metrics))
        };
        put().map_err(|e| ReportError::write(&path, e))?;
    }
    Ok(())
}

/// The bytes of a trial's event file.
fn file(metrics: &TrialMetrics) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events(metrics) {
        record::append(&mut bytes, &prost::Message::encode_to_vec(&event));
    }
    bytes
}

fn events(metrics: &TrialMetrics) -> Vec<Event> {
    let mut events = vec![Event::version()];
    // Steps do not say which epoch they are of; all epochs have as many, but for the last of a
    // trial that was stopped.
    let steps = metrics.steps.len();
    let trained: Vec<_> = metrics.epochs.iter().filter(|e| e.epoch > 0).collect();
    let per_epoch = match trained.len() {
        0 => steps.max(1),
        epochs => steps.div_ceil(epochs).max(1),
    };
    for (i, step) in metrics.steps.iter().enumerate() {
        let before = (i / per_epoch).checked_sub(1);
        let time = before
            .and_then(|e| trained.get(e))
            .map_or(0.0, |e| e.seconds);
        events.push(Event::scalars(time, step.step, &[("loss/step", step.loss)]));
    }
    for epoch in &metrics.epochs {
        let mut values = vec![("learning_rate", epoch.learning_rate)];
        if let Some(loss) = epoch.loss {
            values.insert(0, ("loss/train", loss as f32));
        }
        if let Some(score) = epoch.validation {
            values.push(("loss/validation", score.loss as f32));
            match score.average_precision {
                None => values.push(("accuracy/validation", score.accuracy as f32)),
                // Samples that may have several labels.
                Some(precision) => values.extend([
                    ("average_precision/validation", precision as f32),
                    ("exact_match/validation", score.accuracy as f32),
                ]),
            }
        }
        events.push(Event::scalars(epoch.seconds, epoch.epoch, &values));
    }
    events
}

fn remove_stale(folder: &Path, files: &RunFiles) -> Result<(), ReportError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(ReportError::write(folder, e)),
    };
    for entry in entries.flatten() {
        let known = entry
            .file_name()
            .to_str()
            .is_some_and(|id| files.metrics.contains_key(id));
        if known {
            continue;
        }
        let path = entry.path().join(FILE);
        match fs::remove_file(&path) {
            // A folder that holds anything else stays.
            Ok(()) => {
                let _ = fs::remove_dir(entry.path());
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) => return Err(ReportError::write(&path, e)),
        }
    }
    Ok(())
}
