//! The Python module `ftsurgery._native`: the command, and each of its subcommands as a function.
//!
//! The work is done by another thread, without the lock of Python's interpreter. The thread that called waits,
//! hands on what is heard meanwhile, and looks for Ctrl-C.

mod call;
mod listener;

use std::ffi::OsString;
use std::path::PathBuf;

use ftsurgery::{cli, python, runtime};
use pyo3::prelude::*;

/// What this process is: the Python that runs it, and the folder of its onnxruntime.
#[pyfunction]
fn host(interpreter: PathBuf, onnxruntime: Option<PathBuf>) {
    python::set(interpreter);
    if let Some(folder) = onnxruntime {
        runtime::locate::prefer(folder);
    }
}

/// Runs the command as this process, by its words without its name; gives its exit code. `program` is what others start to
/// run it.
#[pyfunction]
fn command(py: Python<'_>, program: PathBuf, words: Vec<OsString>) -> u8 {
    let named = std::iter::once(OsString::from("ftsurgery"));
    let words = named.chain(words).collect();
    py.detach(|| cli::run(program, words))
}

/// The flags of a subcommand, as JSON.
#[pyfunction]
fn flags(subcommand: &str) -> Option<String> {
    cli::flags(subcommand).map(|flags| flags.to_string())
}

/// The script that has Ray carry out trials.
#[pyfunction]
fn ray_script() -> &'static str {
    ftsurgery::cluster::RAY_SCRIPT
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(host, module)?)?;
    module.add_function(wrap_pyfunction!(command, module)?)?;
    module.add_function(wrap_pyfunction!(flags, module)?)?;
    module.add_function(wrap_pyfunction!(ray_script, module)?)?;
    module.add_function(wrap_pyfunction!(call::call, module)?)
}
