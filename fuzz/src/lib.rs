//! What the targets share.

use std::path::Path;

use tempfile::TempDir;

/// Panics that are caught are part of the contract (tract's, the image decoders'); libfuzzer's hook
/// would end the process on them, too. Those that come out of a target still end it.
pub fn only_escaping_panics() {
    // The hook that is left prints, and no more.
    let _ = std::panic::take_hook();
}

/// Calls `read` with a file that holds `bytes`.
pub fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    with_folder(|folder| {
        let path = folder.join(name);
        if std::fs::write(&path, bytes).is_ok() {
            read(&path);
        }
    });
}

/// Calls `work` with an empty folder, in memory where the machine has one there.
pub fn with_folder(work: impl FnOnce(&Path)) {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    };
    if let Ok(folder) = folder {
        work(folder.path());
    }
}
