//! Files of npm's package onnxruntime-web, which a page runs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::onnx::{create_folder, write_atomic};

use crate::cli::CliError;

/// The folder beside the page that they lie in.
const FOLDER: &str = "ort";
/// What trains on the processor.
const FILES: [&str; 3] = [
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
];
/// What a page takes for WebGPU beside these.
const WEBGPU: [&str; 3] = [
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
];

/// The folder with the files: the one that is given, or that of the package in `NODE_PATH`, or in `node_modules` here or in a
/// folder above.
///
/// # Errors
/// When the one that is given lacks any.
pub fn find(given: Option<&Path>) -> Result<Option<PathBuf>, CliError> {
    let is_whole = |folder: &Path| FILES.iter().all(|name| folder.join(name).is_file());
    if let Some(folder) = given {
        return match is_whole(folder) {
            true => Ok(Some(folder.to_owned())),
            false => Err(CliError::usage(format!(
                "{} lacks one of {}",
                folder.display(),
                FILES.join(", ")
            ))
            .with_hint("give the folder `dist` of npm's package onnxruntime-web")),
        };
    }
    let named = env::var_os("NODE_PATH").unwrap_or_default();
    let named: Vec<PathBuf> = env::split_paths(&named).collect();
    let here = env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|folder| folder.join("node_modules"));
    let mut folders = named
        .into_iter()
        .chain(above)
        .map(|modules| modules.join("onnxruntime-web/dist"));
    Ok(folders.find(|folder| is_whole(folder)))
}

/// Copies the files beside the page in `out`.
///
/// # Errors
/// When one cannot be read or written.
pub fn copy(from: &Path, out: &Path) -> Result<(), CliError> {
    let to = out.join(FOLDER);
    create_folder(&to).map_err(|e| CliError::cannot_write(&to, &e))?;
    let webgpu = WEBGPU.iter().all(|name| from.join(name).is_file());
    let more = WEBGPU.iter().filter(|_| webgpu);
    for name in FILES.iter().chain(more) {
        let bytes = fs::read(from.join(name)).map_err(|e| {
            CliError::usage(format!("cannot read {}: {e}", from.join(name).display()))
        })?;
        let path = to.join(name);
        write_atomic(&path, &bytes).map_err(|e| CliError::cannot_write(&path, &e))?;
    }
    Ok(())
}

/// What to do where they were not found.
pub fn how_to_get(out: &Path) -> String {
    format!(
        "warning: npm's package onnxruntime-web was not found, without which the page does nothing: `npm pack onnxruntime-web` \
         gets it, and its files {} belong into {} (or name its folder `dist` with --runtime-web)",
        FILES.join(", "),
        out.join(FOLDER).display()
    )
}
