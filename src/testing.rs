//! For tests: what is said, and where, when a test lacks what it needs.

pub mod guide;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::onnx::Model;
use crate::surgery::{Difference, HEAD_PREFIX, METADATA_PREFIX, Part, What, differences};

/// Says that the running test is skipped because `need` is not there: `runtime`, `python`,
/// `tensorboard`, `chromium`, `shared`, ….
///
/// The line goes to stderr, and with the test's name to the file that `FTSURGERY_SKIPS` names, if it
/// names one: a test harness keeps the stderr of tests that pass to itself.
///
/// # Panics
/// Where `FTSURGERY_REQUIRE`, a list separated by commas, names `need` or `all`: a machine that has
/// installed something must not pass its tests by skipping them.
pub fn skip(need: &str, why: impl Display) {
    let required = std::env::var("FTSURGERY_REQUIRE").unwrap_or_default();
    if requires(&required, need) {
        panic!("FTSURGERY_REQUIRE names `{need}`, so this test must not be skipped: {why}");
    }
    eprintln!("skipped, no {need}: {why}");
    if let Some(path) = std::env::var_os("FTSURGERY_SKIPS") {
        let thread = std::thread::current();
        let line = format!("{}\t{need}\t{why}\n", thread.name().unwrap_or("?"));
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        // A list that cannot be written must not fail a test.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

fn requires(list: &str, need: &str) -> bool {
    let mut names = list.split(',').map(str::trim);
    names.any(|name| name == need || name == "all")
}

/// The folder of reference data that is no part of the project: where `FTSURGERY_SHARED` points, or
/// `../shared` beside the project's root. Where it is not there, that is a skip.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("FTSURGERY_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        skip("shared", format_args!("{} is absent", folder.display()));
        return None;
    }
    Some(folder)
}

/// The Python that `FTSURGERY_PYTHON` names, else `python3`, if it imports these modules.
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let python = crate::python::program();
    let ran = std::process::Command::new(&python)
        .args(["-c", &format!("import {}", modules.join(", "))])
        .output();
    ran.is_ok_and(|ran| ran.status.success()).then_some(python)
}

/// The browser Chromium, if it is on the path; a skip where it is not.
pub fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        skip("chromium", names.join(", "));
    }
    found
}

/// Makes a pipe at `path`, which nobody writes to. Where the machine makes none, that is a skip.
pub fn pipe(path: &Path) -> bool {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        skip("mkfifo", "the command");
    }
    made
}

/// Checks that `emitted` is `original` with nothing changed but the values of the tensors in `tuned`,
/// the place of external data, ftsurgery's metadata, and, where it has one, its new head. For tests that
/// have a winner's file and no manifest.
///
/// # Errors
/// The differences beyond, a sentence each, or a tuned tensor that is not there.
pub fn only_tuned(original: &Model, emitted: &Model, tuned: &[String]) -> Result<(), String> {
    let found = differences(original, emitted).map_err(|e| e.to_string())?;
    let graph = emitted.graph();
    let of_head = |output: &str| {
        let node = graph
            .node
            .iter()
            .find(|n| n.output.iter().any(|o| o == output));
        node.is_some_and(|n| n.name().starts_with(HEAD_PREFIX))
    };
    let grafted = graph.output.iter().any(|o| of_head(o.name()));
    let is_tuned = |name: &String| tuned.contains(name);
    let allowed = |d: &Difference| match (d.part, &d.what) {
        (_, What::TakenIn) => true,
        (Part::Metadata, _) => d.name.starts_with(METADATA_PREFIX),
        (Part::Tensor, What::Set { .. }) => is_tuned(&d.name),
        (Part::Tensor, What::Added { .. } | What::Changed { .. }) => {
            d.name.starts_with(HEAD_PREFIX) && is_tuned(&d.name)
        }
        (Part::Node, What::Added { .. } | What::Changed { .. } | What::Moved { .. }) => {
            of_head(&d.name)
        }
        (Part::Input, What::Added { .. }) => d.name.starts_with(HEAD_PREFIX),
        (Part::Input, What::Removed) => {
            let is_it = |t: &crate::onnx::messages::TensorProto| t.name() == d.name;
            grafted && original.graph().initializer.iter().any(is_it)
        }
        (Part::Output, _) => grafted,
        (Part::Node | Part::Tensor | Part::ValueInfo | Part::Annotation, What::Removed) => grafted,
        _ => false,
    };
    let beyond = found.iter().filter(|d| !d.scope.is_empty() || !allowed(d));
    let mut faults: Vec<String> = beyond.map(Difference::to_string).collect();
    let outputs = graph.node.iter().flat_map(|n| &n.output);
    let there: Vec<&str> = graph
        .initializer
        .iter()
        .map(|t| t.name())
        .chain(outputs.map(String::as_str))
        .collect();
    let gone = tuned.iter().filter(|name| !there.contains(&name.as_str()));
    faults.extend(gone.map(|name| format!("the tuned tensor `{name}` is missing")));
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_a_failure_where_it_is_named() {
        for list in ["python", "runtime, python", "all", "tensorboard,all"] {
            assert!(requires(list, "python"), "{list}");
        }
        for list in ["", "runtime", "python3", "pythonruntime"] {
            assert!(!requires(list, "python"), "{list}");
        }
    }
}
