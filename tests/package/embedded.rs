//! Models with their preprocessing inside, in onnxruntime and in OpenVINO, against `predict` on the model that they are of.

use ftsurgery::onnx::Model;
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::{python as found, shared, skip};
use serde_json::Value;

use crate::models::Place;
use crate::scene::{Subject, apart, pictures, place, predicted, python, subjects};

/// What probabilities may differ by.
const TOLERANCE: f64 = 1e-3;

/// Prints the rows of a packaged model, of the photos each by itself (in as many copies as it takes), by each runtime.
const ROWS: &str = r#"
import json, sys
import numpy as np
import onnxruntime
from PIL import Image

files, axes, runtimes = FILES, "AXES", RUNTIMES
session = onnxruntime.InferenceSession("packed/model.onnx")
value, = session.get_inputs()
assert value.type == "tensor(uint8)" and len(session.get_outputs()) == 1
batch = value.shape[0] if isinstance(value.shape[0], int) else 1
run = {"onnxruntime": lambda pixels: session.run(None, {value.name: pixels})[0]}
if "openvino" in runtimes:
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(core.read_model("packed/model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    run["openvino"] = lambda pixels: compiled([pixels])[0]
rows = {name: [] for name in runtimes}
for file in files:
    pixels = np.asarray(Image.open(file).convert("RGB"))
    if axes == "nchw":
        pixels = pixels.transpose(2, 0, 1)
    pixels = np.ascontiguousarray(np.repeat(pixels[None], batch, 0))
    for name in runtimes:
        made = run[name](pixels)
        assert made.ndim == 2 and np.abs(made - made[:1]).max() < 1e-5
        rows[name].append(made[0].tolist())
names = open("packed/labels.txt", encoding="utf-8").read().split("\n")[:-1]
print(json.dumps([rows, names]))
"#;

/// The probabilities of the photos in a runtime, by name.
type Rows = Vec<Vec<(String, f64)>>;

fn rows(place: &Place, axes: &str, files: &[String], runtimes: &[&str]) -> Option<Vec<Rows>> {
    let program = found(&["numpy", "onnxruntime", "PIL"])?;
    let script = ROWS
        .replace("FILES", &serde_json::to_string(files).unwrap())
        .replace("AXES", axes)
        .replace("RUNTIMES", &serde_json::to_string(runtimes).unwrap());
    let told: Value = serde_json::from_str(&python(place, &program, &script)).unwrap();
    let model = Model::open(&place.at("packed/model.onnx")).unwrap();
    // Of a model without names the lines are numbers.
    let names: Vec<String> = match model.metadata("ftsurgery.classes") {
        Some(names) => serde_json::from_str(names).unwrap(),
        None => serde_json::from_value(told[1].clone()).unwrap(),
    };
    let of = |runtime: &&str| {
        let all = told[0][runtime].as_array().unwrap();
        let row = |row: &Value| {
            let values = row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            let mut row: Vec<(String, f64)> = names.iter().cloned().zip(values).collect();
            assert_eq!(row.len(), names.len());
            row.sort_by(|a, b| a.0.cmp(&b.0));
            row
        };
        all.iter().map(row).collect()
    };
    Some(runtimes.iter().map(of).collect())
}

/// The runtimes that are there.
fn runtimes() -> Option<Vec<&'static str>> {
    if found(&["numpy", "onnxruntime", "PIL"]).is_none() {
        skip(
            "python",
            "a Python with numpy, onnxruntime and pillow (FTSURGERY_PYTHON)",
        );
        return None;
    }
    let mut all = vec!["onnxruntime"];
    match found(&["openvino"]) {
        Some(_) => all.push("openvino"),
        None => skip("openvino", "a Python that imports it (FTSURGERY_PYTHON)"),
    }
    Some(all)
}

fn package(place: &Place, axes: &str) {
    let said = place.run(&format!(
        "package model.onnx --format plain --out packed --force --embed-preprocessing={axes}"
    ));
    said.well();
}

fn all_pictures() -> Vec<String> {
    pictures().split(' ').map(str::to_owned).collect()
}

#[test]
fn pictures_of_any_size_give_the_probabilities_of_predict_in_both_runtimes() {
    let Some(runtimes) = runtimes().filter(|_| has_runtime()) else {
        return;
    };
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        let expected = predicted(&place, "model.onnx");
        for axes in ["nhwc", "nchw"] {
            package(&place, axes);
            let made = rows(&place, axes, &all_pictures(), &runtimes).unwrap();
            for (runtime, made) in runtimes.iter().zip(&made) {
                let off = apart(&expected, made);
                println!("{name}, {axes}, {runtime}: {off:.1e}");
                assert!(off < TOLERANCE, "{name}, {axes}, {runtime}: {off}");
            }
        }
    }
}

#[test]
fn predict_takes_a_packaged_model_as_it_takes_the_model_itself() {
    if !has_runtime() {
        return;
    }
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        package(&place, "nhwc");
        let off = apart(
            &predicted(&place, "model.onnx"),
            &predicted(&place, "packed/model.onnx"),
        );
        assert!(off < TOLERANCE, "{name}: {off}");
    }
}

#[test]
fn commands_that_bring_pictures_to_a_size_themselves_refuse_a_packaged_model_by_what_it_is() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    package(&place, "nhwc");
    for command in [
        "evaluate packed/model.onnx --data photos",
        "tune packed/model.onnx --data photos --out run",
        "scores packed/model.onnx --data photos",
    ] {
        place.run(command).refused(&["preprocessing inside"]);
    }
    let again = "package packed/model.onnx --format plain --out again";
    place.run(again).refused(&["preprocessing inside"]);
}

#[test]
fn what_a_packaged_model_cannot_be_made_of_is_refused() {
    if !has_runtime() {
        return;
    }
    let mut old = subjects().remove(0).proto;
    old.opset_import[0].version = Some(10);
    let place = place(&old);
    place
        .run("package model.onnx --format plain --out packed --embed-preprocessing")
        .refused(&["opset 10", "opset 11"]);
    assert!(!place.at("packed").exists());
}

/// A network of real size on real photos.
#[test]
fn two_hundred_flowers_have_the_probabilities_of_predict_in_both_runtimes() {
    let Some(folder) = shared() else { return };
    let Some(runtimes) = runtimes().filter(|_| has_runtime()) else {
        return;
    };
    let (model, flowers) = (
        folder.join("models/efficientnet_lite0.onnx"),
        folder.join("data/tf_flowers"),
    );
    if !model.is_file() || !flowers.is_dir() {
        return skip("shared", "efficientnet_lite0.onnx and tf_flowers");
    }
    let mut files = Vec::new();
    for class in ["daisy", "dandelion", "roses", "sunflowers", "tulips"] {
        let entries = std::fs::read_dir(flowers.join(class)).unwrap();
        let mut own: Vec<String> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .canonicalize()
                    .unwrap()
                    .display()
                    .to_string()
            })
            .filter(|path| path.ends_with(".jpg"))
            .collect();
        own.sort();
        files.extend(own.into_iter().step_by(13).take(40));
    }
    assert_eq!(files.len(), 200);
    let place = place(&subjects()[0].proto);
    std::fs::copy(model, place.at("model.onnx")).unwrap();
    for rule in ["crop", "letterbox"] {
        let flags = format!("--preprocess signed --resize {rule}");
        place
            .run(&format!(
                "package model.onnx --format plain --out packed --force --embed-preprocessing {flags}"
            ))
            .well();
        let said = place.run(&format!(
            "predict model.onnx --json --top 1000 {flags} {}",
            files.join(" ")
        ));
        said.well();
        let told: Value = serde_json::from_str(&said.out()).unwrap();
        let expected: Rows = told.as_array().unwrap().iter().map(row).collect();
        for (runtime, made) in runtimes
            .iter()
            .zip(rows(&place, "nhwc", &files, &runtimes).unwrap())
        {
            let off = apart(&expected, &made);
            println!("200 flowers, {rule}, {runtime}: {off:.1e}");
            assert!(off < TOLERANCE, "{rule}, {runtime}: {off}");
        }
    }
}

/// The classes of an image by name.
fn row(image: &Value) -> Vec<(String, f64)> {
    let class = |class: &Value| {
        let name = class["name"].as_str().unwrap().to_owned();
        (name, class["probability"].as_f64().unwrap())
    };
    let mut all: Vec<(String, f64)> = image["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(class)
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
