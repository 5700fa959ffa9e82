//! One process at a time works on a folder.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use crate::onnx::create_folder;

use super::{LOCK, RunError, TRIALS_LOCK, regular};

/// How often, and how far apart, a lock that another holds is tried again.
const LOCK_TRIES: usize = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Makes the folder where it is not there, and locks it for this process.
pub(crate) fn lock(root: &Path) -> Result<File, RunError> {
    hold(root, LOCK, File::try_lock)
}

/// As long as the file is open, other processes carry out no trials for the run in the folder `root`.
pub(super) fn exclude_trials(root: &Path) -> Result<File, RunError> {
    hold(root, TRIALS_LOCK, File::try_lock)
}

/// As long as the file is open, no process begins to carry out all trials of the run in the folder `root`;
/// others may carry out some.
pub(super) fn share_trials(root: &Path) -> Result<File, RunError> {
    hold(root, TRIALS_LOCK, File::try_lock_shared)
}

fn hold(
    root: &Path,
    name: &str,
    try_hold: fn(&File) -> Result<(), fs::TryLockError>,
) -> Result<File, RunError> {
    create_folder(root).map_err(|e| RunError::write(root, e))?;
    let path = root.join(name);
    regular(&path).map_err(|e| RunError::write(&path, e))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| RunError::write(&path, e))?;
    // A process that this one begins holds its locks, too, until it runs a program of its own.
    let mut held = try_hold(&file);
    for _ in 0..LOCK_TRIES {
        if !matches!(held, Err(fs::TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        held = try_hold(&file);
    }
    match held {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RunError::InUse {
            path: root.to_owned(),
        }),
        // A file system without locks: better a run without one than none.
        Err(fs::TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(fs::TryLockError::Error(e)) => Err(RunError::write(&path, e)),
    }
}
