//! Which runtimes may be at hand.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

const PYTHON: &str = include_str!("runner.py");
const NODE: &str = include_str!("runner.js");

/// A program that answers jobs with a runtime.
#[derive(Clone, Debug)]
pub struct Runner {
    /// What the runtime is called.
    pub name: String,
    /// What the program knows it by.
    pub runtime: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, before the file with the job.
    pub arguments: Vec<OsString>,
}

/// All runtimes that are tried: onnxruntime's library and tract by the program `own`, which calls
/// [`answer_job`](super::answer_job) with what follows `arguments`; onnxruntime and OpenVINO of the Python that
/// FTSURGERY_PYTHON names, else `python3`; onnxruntime-node of `node`.
pub fn runners(own: &Path, arguments: &[OsString]) -> Vec<Runner> {
    let python = crate::python::program();
    let runner = |name: &str, runtime, program: &Path, arguments: &[OsString]| Runner {
        name: name.to_owned(),
        runtime,
        program: program.to_owned(),
        arguments: arguments.to_vec(),
    };
    let script = |flag: &str, script: &str| [OsString::from(flag), OsString::from(script)];
    let (in_python, in_node) = (script("-c", PYTHON), script("-e", NODE));
    // Node takes what follows for files of its own without this.
    let in_node: Vec<OsString> = in_node.into_iter().chain(["--".into()]).collect();
    vec![
        runner("onnxruntime", "onnxruntime", own, arguments),
        runner("tract", "tract", own, arguments),
        runner("onnxruntime of Python", "onnxruntime", &python, &in_python),
        runner("OpenVINO", "openvino", &python, &in_python),
        runner(
            "onnxruntime-node",
            "onnxruntime-node",
            Path::new("node"),
            &in_node,
        ),
    ]
}
