//! Atomic writing of files.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the names of the temporary files of [`write_atomic`] begin with. A process that is killed
/// may leave one behind.
pub const TEMPORARY_PREFIX: &str = ".ftsurgery-";

/// Writes `bytes` to `path` so that after a crash at any moment the file is either the old one or
/// the new one, whole: temporary file in the same folder, fsync, rename.
///
/// # Errors
/// The system's error; the old file, if there was one, is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(path);
    Ok(())
}

/// As [`write_atomic`], for large files: `write` gets the path of the temporary file and writes it.
///
/// That path is always the same, `path` with `.partial` behind it, so that what a crash leaves there
/// is overwritten by the next attempt. Only one at a time may write to `path`.
///
/// # Errors
/// As [`write_atomic`], and those of `write`.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let partial = partial(path);
    let written = write(&partial)
        // Some systems sync only what is open for writing.
        .and_then(|()| File::options().append(true).open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path));
    match written {
        Ok(()) => sync_folder(path),
        // On a full disk the room is needed.
        Err(_) => drop(fs::remove_file(&partial)),
    }
    written
}

/// The temporary file of [`write_atomic_with`].
pub fn partial(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(".partial");
    name.into()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// The rename itself must survive a power cut, too; not every file system can sync a folder.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(folder(path)) {
        let _ = folder.sync_all();
    }
}
