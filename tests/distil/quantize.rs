//! Int8 models by onnxruntime's own tool.

use std::path::Path;

use ftsurgery::graph::Graph;
use ftsurgery::onnx::{Tensor, encode, set_metadata};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::surgery::differences;
use ftsurgery::testing::{python, skip};
use serde_json::Value as Json;

use crate::networks::{CLASSES, node, plain, residual};
use crate::scene::{Scene, digits, outputs};

/// A scene, where there is a Python with the tool.
fn scene() -> Option<Scene> {
    scene_of(&plain())
}

fn scene_of(network: &Graph) -> Option<Scene> {
    if !has_runtime() {
        return None;
    }
    if python(&["onnx", "onnxruntime.quantization", "numpy"]).is_none() {
        skip("python", "one with onnx and onnxruntime (FTSURGERY_PYTHON)");
        return None;
    }
    Some(Scene::new(network, network))
}

fn quantize(scene: &Scene, flags: &str) -> std::process::Output {
    quantize_on(scene, &digits(), flags)
}

fn quantize_on(scene: &Scene, data: &Path, flags: &str) -> std::process::Output {
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

/// What the model says of all digits.
fn said(scene: &Scene) -> Vec<Json> {
    let folders = std::fs::read_dir(digits()).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let pictures = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let pictures = pictures.map(|entry| entry.unwrap().path().display().to_string());
    let pictures: Vec<String> = pictures.collect();
    let arguments = "predict model.onnx --preprocess unit --json --top 10";
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.extend(pictures.iter().map(String::as_str));
    let output = scene.run(&arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    said.as_array().unwrap().clone()
}

/// A network of which each class has the first place now and then, and for some pictures by less than int8 can tell, and a
/// folder `told` of digits in the folders of what it takes them for: it is right of all of them.
fn close() -> Option<Scene> {
    let mut network = plain();
    let scene = scene_of(&network)?;
    let mut means = [0.0; CLASSES];
    let all = said(&scene);
    for entry in &all {
        for class in entry["classes"].as_array().unwrap() {
            let place: usize = class["name"].as_str().unwrap().parse().unwrap();
            means[place] += class["probability"].as_f64().unwrap().ln() / all.len() as f64;
        }
    }
    let bias = network.initializers["fc.b"].to_f32().unwrap();
    let bias = bias
        .iter()
        .zip(means)
        .map(|(bias, mean)| bias - mean as f32);
    let bias = Tensor::f32(&[CLASSES], &bias.collect::<Vec<_>>());
    network.initializers.insert("fc.b".to_owned(), bias);
    scene.put("model.onnx", &network);
    // By names, as it may take no picture for some of its classes.
    let mut proto = scene.open("model.onnx").proto;
    let names: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    let names = serde_json::to_string(&names).unwrap();
    set_metadata(&mut proto, "ftsurgery.classes", &names);
    std::fs::write(scene.at("model.onnx"), encode(&proto).unwrap()).unwrap();
    for entry in said(&scene) {
        let from = Path::new(entry["image"].as_str().unwrap());
        let class = entry["classes"][0]["name"].as_str().unwrap();
        let class = scene.at("told").join(class);
        std::fs::create_dir_all(&class).unwrap();
        std::fs::copy(from, class.join(from.file_name().unwrap())).unwrap();
    }
    Some(scene)
}

#[test]
fn a_larger_drop_than_is_allowed_leaves_no_file() {
    let Some(scene) = close() else {
        return;
    };
    let data = scene.at("told");
    let on = |flags: &str| quantize_on(&scene, &data, flags);
    let output = on("--json");
    assert!(output.status.success());
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    let [before, after] = [0, 1].map(|i| said["accuracy"][i].as_f64().unwrap());
    assert!(
        before == 1.0 && after < 1.0,
        "int8 loses nothing here: {said}"
    );
    std::fs::remove_file(scene.at("out.onnx")).unwrap();
    let drop = 100.0 * (before - after);
    for most in [0.0, 0.9 * drop] {
        let output = on(&format!("--max-drop {most}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let falls = format!("falls by {drop:.2} points, from 100.00 %");
        assert!(
            error.contains(&falls) && error.contains("nothing is written"),
            "{error}"
        );
        assert!(!scene.at("out.onnx").exists());
    }
    let output = on(&format!("--max-drop {}", 1.1 * drop));
    assert!(output.status.success() && scene.at("out.onnx").exists());
}

/// Puts what `quantize` makes of the model in its place, and the model in that of the original.
fn made_int8(scene: &Scene) {
    let output = quantize(scene, "");
    assert!(output.status.success());
    std::fs::rename(scene.at("model.onnx"), scene.at("original.onnx")).unwrap();
    std::fs::rename(scene.at("out.onnx"), scene.at("model.onnx")).unwrap();
}

#[test]
fn what_quantize_writes_is_repaired() {
    let network = || [("plain", plain()), ("residual", residual())];
    for (name, network) in network() {
        let Some(scene) = scene_of(&network) else {
            return;
        };
        made_int8(&scene);
        let figures = scene.distil("");
        assert!(
            figures["integer_tensors"].as_u64().unwrap() >= 8,
            "{name}: {figures:#}"
        );
        assert!(figures["rounded_values"].as_u64().unwrap() >= 4, "{name}");
        let [before, after] = outputs(&figures, "relative_error");
        assert!(after < before, "{name}: {before} -> {after}");
        let [before, after] = outputs(&figures, "agreement");
        assert!(after >= before, "{name}: {before} -> {after}");
        let [model, out] = ["model.onnx", "out.onnx"].map(|file| scene.open(file));
        for found in differences(&model, &out).unwrap() {
            let of_integers = found.name.ends_with("_quantized");
            let of_ours = found.name.starts_with("ftsurgery.");
            assert!(of_integers || of_ours, "{name}: {found}");
        }
        let metadata = out.metadata("ftsurgery.quantised").unwrap();
        assert!(metadata.contains("int8"), "{metadata}");
    }
}

#[test]
fn what_ends_in_a_softmax_is_repaired_in_integers_too() {
    let mut network = plain();
    network.nodes.last_mut().unwrap().outputs[0] = "z".to_owned();
    let softmax = node("Softmax", &["z"], "y").with("axis", -1);
    network.nodes.push(softmax);
    let Some(scene) = scene_of(&network) else {
        return;
    };
    made_int8(&scene);
    let figures = scene.distil("");
    let [before, after] = outputs(&figures, "relative_error");
    assert!(after <= before && before < 1.0, "{before} -> {after}");
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

#[test]
fn a_package_in_int8_says_what_both_models_are_worth_and_is_refused_above_the_drop() {
    let Some(scene) = close() else {
        return;
    };
    let package = |flags: &str| {
        let arguments = "package model.onnx --preprocess unit --format plain --out packed";
        let arguments = arguments.split(' ').chain(flags.split_whitespace());
        scene.run(&arguments.collect::<Vec<_>>())
    };
    let output = package("--quantize int8 --data told --max-drop 0");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the accuracy falls by"), "{error}");
    assert!(!scene.at("packed").exists());
    for flags in ["--quantize int8", "--max-drop 1", "--data told"] {
        assert_eq!(package(flags).status.code(), Some(2), "{flags}");
    }
    let output = package("--quantize int8 --data told");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let packed = scene.open("packed/model.onnx");
    let said = packed.metadata("ftsurgery.quantised").unwrap();
    let said: Json = serde_json::from_str(said).unwrap();
    let [before, after] = [0, 1].map(|i| 100.0 * said["accuracy"][i].as_f64().unwrap());
    assert!(before == 100.0 && after < 100.0, "{said}");
    let card = std::fs::read_to_string(scene.at("packed/README.md")).unwrap();
    let line = format!("| accuracy | 100.00 % | {after:.2} % |");
    assert!(
        card.contains(&line) && card.contains("Quantised to int8"),
        "{card}"
    );
    // The float model has no such words.
    let output = package("--force");
    assert!(output.status.success());
    let card = std::fs::read_to_string(scene.at("packed/README.md")).unwrap();
    assert!(!card.contains("int8"), "{card}");
}
