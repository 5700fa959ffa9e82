//! Atomic writing of files.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fault::change;

/// What the names of the temporary files of [`write_atomic`] begin with. A process that is killed
/// may leave one behind.
pub const TEMPORARY_PREFIX: &str = ".ftsurgery-";

/// Writes `bytes` to `path` so that after a crash at any moment the file is either the old one or
/// the new one, whole: temporary file in the same folder, fsync, rename.
///
/// # Errors
/// The system's error; the old file, if there was one, is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    change("create", path)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder(path))?;
    change("write", path)?;
    file.write_all(bytes)?;
    change("sync", path)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    change("rename to", path)?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(path)
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
    let written = change("write", &partial)
        .and_then(|()| write(&partial))
        .and_then(|()| change("sync", &partial))
        // Some systems sync only what is open for writing.
        .and_then(|()| File::options().append(true).open(&partial)?.sync_all())
        .and_then(|()| rename(&partial, path));
    if written.is_err() {
        // On a full disk the room is needed.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Appends `bytes` to a file, which is made where it is not there: on the disk when this returns, or,
/// where the system fails, not in the file.
///
/// # Errors
/// The system's error.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    change("open", path)?;
    let is_new = !path.exists();
    let mut file = File::options().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    let written = change("append to", path)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| change("sync", path))
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // On a full disk, half a line must not stay behind.
        let _ = file.set_len(before);
    }
    written?;
    match is_new {
        true => sync_folder(path),
        false => Ok(()),
    }
}

/// Makes a folder, and those it lies in, where they are not there; they outlast a power cut.
///
/// # Errors
/// The system's error.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => create_folder(parent)?,
        _ => {}
    }
    change("create folder", path)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => sync_folder(path),
    }
}

/// Gives a file that is on the disk another name in the same folder, in place of what has it; the
/// name outlasts a power cut.
///
/// # Errors
/// The system's error.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    change("rename to", to)?;
    fs::rename(from, to)?;
    sync_folder(to)
}

/// Removes a file.
///
/// # Errors
/// The system's error.
pub fn remove(path: &Path) -> io::Result<()> {
    change("remove", path)?;
    fs::remove_file(path)
}

/// Whether both paths lead to one file that is there.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
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

/// A name itself must survive a power cut, too. Not every file system can sync a folder: that is no
/// error.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = folder(path);
    change("sync folder", folder)?;
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}
