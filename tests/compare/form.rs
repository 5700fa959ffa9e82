//! The form of a model, by `verify --structure`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ftsurgery::onnx::Model;
use ftsurgery::testing::{python, shared, skip};
use ftsurgery::verify::structure;
use serde::Deserialize;

use crate::scene::*;

const BROKEN: &str = include_str!("broken.py");

/// What is refused beyond `onnx.checker`, on purpose: `docs/diff-verify.md` says why.
const STRICTER: [&str; 14] = [
    "opset_twice_otherwise",
    "no_outputs",
    "reference_to_an_attribute_outside_functions",
    "channels_do_not_fit",
    "bias_does_not_fit",
    "kernel_shape_contradicts_the_weight",
    "reshape_does_not_fit",
    "raw_data_too_long",
    "external_data_too_short",
    "external_data_of_another_length",
    "function_output_that_nothing_makes",
    "function_reference_to_an_attribute_it_has_not",
    "function_too_many_inputs_given",
    "function_attribute_it_has_not",
];

#[derive(Deserialize)]
struct Verdict {
    accepted: bool,
    says: String,
}

/// The faults of a file; one that cannot be read is one.
fn faults(path: &Path) -> Vec<String> {
    match Model::open_outline(path) {
        Ok(model) => structure(&model)
            .faults
            .iter()
            .map(ToString::to_string)
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

#[test]
fn models_are_refused_and_accepted_as_by_onnx() {
    let Some(python) = python(&["onnx", "numpy"]) else {
        return skip("python", "one with onnx and numpy (FTSURGERY_PYTHON)");
    };
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("models");
    std::fs::create_dir(&inside).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", BROKEN]).arg(&inside);
    if let Some(shared) = shared() {
        for part in ["models", "cases/models"] {
            let entries = std::fs::read_dir(shared.join(part)).into_iter().flatten();
            let paths = entries.map(|entry| entry.unwrap().path());
            command.args(paths.filter(|path| path.extension().is_some_and(|e| e == "onnx")));
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: BTreeMap<String, Verdict> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told.len() > 130, "{}", told.len());
    let mut wrong = Vec::new();
    for (path, verdict) in &told {
        let name = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let faults = faults(Path::new(path));
        let stricter = STRICTER.contains(&name) && Path::new(path).starts_with(&inside);
        if (verdict.accepted && !stricter) != faults.is_empty() {
            wrong.push(format!(
                "{name}: {faults:?}, and onnx says `{}`",
                verdict.says
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_faults_are_told_at_once_and_the_exit_code_is_1() {
    let scene = Scene::new();
    scene.with("broken.onnx", |_, g| {
        g.node[0].input[1] = "nowhere".to_owned();
        g.node[1].op_type = Some("Rely".to_owned());
        g.node[4].input.swap(0, 1);
        g.initializer[2].dims = vec![6];
    });
    let output = scene.run("verify broken.onnx --structure");
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [
        "node `conv` (Conv) reads `nowhere`, which is nowhere",
        "node `relu` (Rely): the operator is not known in version 17",
        "the initializer `fc.b` has 20 bytes of data, and its type and dimensions come to 24",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(
        scene.run("verify a.onnx --structure").status.code(),
        Some(0)
    );
    assert_eq!(
        scene.run("verify nothing.onnx --structure").status.code(),
        Some(2)
    );
}

#[test]
fn sizes_that_do_not_fit_are_told_by_node() {
    let scene = Scene::new();
    scene.with("broken.onnx", |_, g| g.initializer[1].dims = vec![2, 10]);
    let told = text(&scene.run("verify broken.onnx --structure"));
    assert!(
        told.contains("node `fc` (Gemm): it multiplies along 4 and 2 elements"),
        "{told}"
    );
}

#[test]
fn a_circle_and_a_wrong_order_are_told_apart() {
    let scene = Scene::new();
    scene.with("circle.onnx", |_, g| {
        g.node[0].input[0] = g.node[1].output[0].clone()
    });
    scene.with("order.onnx", |_, g| g.node.swap(0, 1));
    let told = |name: &str| text(&scene.run(&format!("verify {name} --structure")));
    assert!(told("circle.onnx").contains("form a circle"));
    assert!(told("order.onnx").contains("out of order"));
}
