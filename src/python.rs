//! The Python whose packages are used: those of onnxruntime, OpenVINO and Ray.

use std::path::PathBuf;

/// The program that `FTSURGERY_PYTHON` names, else `python3`.
pub fn program() -> PathBuf {
    let named = std::env::var_os("FTSURGERY_PYTHON").filter(|name| !name.is_empty());
    named.map_or_else(|| "python3".into(), PathBuf::from)
}
