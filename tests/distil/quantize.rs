//! Int8 models by onnxruntime's own tool.

use ftsurgery::graph::Graph;
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::{python, skip};
use serde_json::Value as Json;

use crate::networks::plain;
use crate::scene::{Scene, digits};

/// A scene, where there is a Python with the tool.
fn scene() -> Option<Scene> {
    if !has_runtime() {
        return None;
    }
    if python(&["onnx", "onnxruntime.quantization", "numpy"]).is_none() {
        skip("python", "one with onnx and onnxruntime (FTSURGERY_PYTHON)");
        return None;
    }
    let network = plain();
    Some(Scene::new(&network, &network))
}

fn quantize(scene: &Scene, flags: &str) -> std::process::Output {
    let data = digits();
    let mut arguments = vec!["quantize", "model.onnx", "--data", data.to_str().unwrap()];
    arguments.extend([
        "--out",
        "out.onnx",
        "--preprocess",
        "unit",
        "--pictures",
        "40",
    ]);
    arguments.extend(flags.split_whitespace());
    scene.run(&arguments)
}

#[test]
fn a_model_comes_out_in_int8_with_the_accuracy_of_both_in_its_metadata() {
    let Some(scene) = scene() else { return };
    let output = quantize(&scene, "--json");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    let out = scene.open("out.onnx");
    let graph = Graph::from_model(&out).unwrap();
    let count = |op: &str| graph.nodes.iter().filter(|n| n.is(op)).count();
    assert!(count("QuantizeLinear") > 3 && count("DequantizeLinear") > 6);
    assert_eq!(count("BatchNormalization"), 0);
    let noted: Json = serde_json::from_str(out.metadata("ftsurgery.quantised").unwrap()).unwrap();
    for key in [
        "accuracy",
        "agreement",
        "calibrated_on",
        "measured_on",
        "onnxruntime",
    ] {
        assert_eq!(noted[key], said[key], "{key}");
        assert!(!noted[key].is_null(), "{key}");
    }
    assert_eq!(noted["calibrated_on"], 40);
    assert!(noted["agreement"].as_f64().unwrap() > 0.7, "{noted}");
    let leftovers = std::fs::read_dir(scene.at("")).unwrap();
    assert_eq!(leftovers.count(), 3);
}

#[test]
fn a_larger_drop_than_is_allowed_leaves_no_file() {
    let Some(scene) = scene() else { return };
    // Labels that are what the float model says: it is right of all, and int8 of fewer.
    let output = quantize(&scene, "--json");
    assert!(output.status.success());
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    let [before, after] = [0, 1].map(|i| said["accuracy"][i].as_f64().unwrap());
    std::fs::remove_file(scene.at("out.onnx")).unwrap();
    let output = quantize(&scene, "--max-drop 0");
    let error = String::from_utf8_lossy(&output.stderr);
    match after < before {
        true => {
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(error.contains("points"), "{error}");
            assert!(!scene.at("out.onnx").exists());
        }
        false => assert!(output.status.success(), "{error}"),
    }
}

#[test]
fn without_the_tool_that_is_said_and_nothing_is_written() {
    if !has_runtime() {
        return;
    }
    let network = plain();
    let scene = Scene::new(&network, &network);
    let data = digits();
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let output = command
        .current_dir(scene.at(""))
        .env("FTSURGERY_PYTHON", "/nowhere/python3")
        .args([
            "quantize",
            "model.onnx",
            "--out",
            "out.onnx",
            "--preprocess",
            "unit",
        ])
        .args(["--pictures", "10", "--data"])
        .arg(data)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("/nowhere/python3") && error.contains("pip install"),
        "{error}"
    );
    assert!(!scene.at("out.onnx").exists());
}
