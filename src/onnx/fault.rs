//! For tests: what becomes of a run whose process ends, or whose disk fails, at its n-th change of a
//! file.

use std::io;
use std::path::Path;
use std::sync::Mutex;

/// What happens at a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process ends, without a destructor, by [`EXIT`].
    End,
    /// The change is not made, and is an error.
    Fail,
}

/// Exit code of a process that a [`Fault::End`] has ended.
pub const EXIT: i32 = 86;

#[derive(Default)]
struct Changes {
    seen: Vec<String>,
    fault: Option<(usize, Fault)>,
}

/// Nothing is kept until it is asked for.
static CHANGES: Mutex<Option<Changes>> = Mutex::new(None);

/// From now on keeps every change; the one of this number, from 1, has this fault.
pub fn watch(fault: Option<(usize, Fault)>) {
    *lock() = Some(Changes {
        fault,
        ..Changes::default()
    });
}

/// The changes since [`watch`], in words: `write run.json`, `sync run.json`.
pub fn seen() -> Vec<String> {
    lock().as_ref().map(|c| c.seen.clone()).unwrap_or_default()
}

/// Is called before each change of a file or a folder.
pub(crate) fn change(what: &str, path: &Path) -> io::Result<()> {
    let mut watched = lock();
    let Some(changes) = watched.as_mut() else {
        return Ok(());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    changes.seen.push(format!("{what} {name}"));
    match changes.fault {
        Some((at, Fault::End)) if at == changes.seen.len() => end(),
        Some((at, Fault::Fail)) if at == changes.seen.len() => {
            Err(io::Error::other("a test fails this"))
        }
        _ => Ok(()),
    }
}

fn end() -> ! {
    #[cfg(feature = "cli")]
    signal_hook::low_level::exit(EXIT);
    // Only the command is ended so; a library without it has no tests that do.
    #[cfg(not(feature = "cli"))]
    std::process::exit(EXIT);
}

fn lock() -> std::sync::MutexGuard<'static, Option<Changes>> {
    CHANGES.lock().unwrap_or_else(|e| e.into_inner())
}
