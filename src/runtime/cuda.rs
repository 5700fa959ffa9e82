//! CUDA's libraries, where this program has installed them beside onnxruntime.
//!
//! onnxruntime's provider of CUDA needs cuDNN, cuBLAS and others by their names. The system's linker does not look where
//! they are; but a library that is loaded already is found by its name, wherever it came from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// The folder of these libraries, beside that of onnxruntime.
pub(super) const FOLDER: &str = "cuda";

/// Loads those beside the onnxruntime at `library`, once in a process. What does not load, onnxruntime names when it needs it.
pub(super) fn preload(library: &Path) {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let mut left = beside(library);
        // Each needs some of the others, in no order that is written anywhere.
        loop {
            let before = left.len();
            left.retain(|path| match ort::util::preload_dylib(path) {
                Ok(()) => false,
                Err(error) => {
                    tracing::debug!("`{}` does not load: {error}", path.display());
                    true
                }
            });
            if left.is_empty() || left.len() == before {
                break;
            }
        }
    });
}

/// The libraries of CUDA beside the onnxruntime at `library`, in the order of their names.
fn beside(library: &Path) -> Vec<PathBuf> {
    let folder = library.with_file_name(FOLDER);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}
