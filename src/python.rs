//! The Python whose packages are used: those of onnxruntime, OpenVINO and Ray.

use std::path::PathBuf;
use std::sync::OnceLock;

/// That in which this process is a module.
static OWN: OnceLock<PathBuf> = OnceLock::new();

/// This process is a module in the Python of that program.
pub fn set(program: PathBuf) {
    // Which it is does not change.
    let _ = OWN.set(program);
}

/// The program that `FTSURGERY_PYTHON` names, else that of the Python in which this is a module, else `python3`.
pub fn program() -> PathBuf {
    let named = std::env::var_os("FTSURGERY_PYTHON").filter(|name| !name.is_empty());
    let own = || OWN.get().cloned().unwrap_or_else(|| "python3".into());
    named.map_or_else(own, PathBuf::from)
}
