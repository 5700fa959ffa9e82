//! What `differentiate --format web` writes and refuses; how its page resizes pictures.

use std::fs;
use std::path::Path;
use std::process::Command;

use ftsurgery::data::{Resize, load_image};
use ftsurgery::onnx::Model;
use ftsurgery::testing::skip;
use ftsurgery::training_graph::State;
use serde_json::{Value, json};

use crate::browser::backbone;
use crate::scene::{fixture, ftsurgery};

/// What is written in `folder` without the package of onnxruntime, with a warning of it.
fn written(folder: &Path, flags: &str) {
    let ran = ftsurgery(&["differentiate"])
        .arg(backbone())
        .args(["--format", "web"])
        .args(flags.split_whitespace())
        .args(["--out", "page"])
        .current_dir(folder)
        .env_remove("NODE_PATH")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
}

#[test]
fn a_page_has_the_values_that_its_state_begins_with_where_its_contract_says() {
    let folder = tempfile::tempdir().unwrap();
    let flags = "--classes dogs,cats,owls --bn batch --optimizer adam --ema 0.9 --trainable block6/** --trainable ftsurgery/head/**";
    written(folder.path(), flags);
    let at = |name: &str| folder.path().join("page").join(name);
    let contract: Value = serde_json::from_slice(&fs::read(at("contract.json")).unwrap()).unwrap();
    assert_eq!(contract["classes"], json!(["dogs", "cats", "owls"]));
    let model = fs::read(at("model.onnx")).unwrap();
    let state = State::read(&at("state.safetensors")).unwrap();
    let trained = contract["trained"].as_array().unwrap();
    // Two layers with a BatchNormalization each, and a head.
    assert_eq!(trained.len(), 2 * 5 + 2);
    for tensor in trained {
        let name = tensor["state"].as_str().unwrap();
        let number = |key: &str| tensor[key].as_u64().unwrap() as usize;
        let place = number("offset")..number("offset") + number("bytes");
        let role = ftsurgery::training_graph::Role::of(name).unwrap();
        assert_eq!(model[place], state.get(&role).unwrap().data, "{name}");
    }
    let model = Model::open(&at("model.onnx")).unwrap();
    assert_eq!(model.metadata("ftsurgery.classes"), None);
    assert_eq!(model.metadata("ftsurgery.image_size"), Some("32x32"));
    // Its state is one of this model.
    state.apply(&model).unwrap().check().unwrap();
}

#[test]
fn what_a_page_cannot_be_made_of_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |model: &Path, flags: &str, why: &str| {
        let ran = ftsurgery(&["differentiate"])
            .arg(model)
            .args(["--format", "web", "--out", "page"])
            .args(flags.split_whitespace())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{told}");
        assert!(told.contains(why), "{told}");
        assert!(!folder.path().join("page").exists(), "{flags}");
    };
    let (model, other) = (backbone(), fixture("convnet").join("model.onnx"));
    refused(&model, "", "wants --classes");
    refused(&model, "--classes cats", "two names or more");
    refused(&model, "--classes cats,cats", "twice");
    refused(&model, "--classes 1", "2 to 1000");
    refused(
        &model,
        "--classes 2 --batch-size 8",
        "--batch-size is not taken",
    );
    refused(&model, "--classes 2 --task binary", "--task is not taken");
    refused(&model, "--classes 2 --loss mse", "--loss is not taken");
    refused(
        &model,
        "--classes 2 --runtime-web .",
        "lacks one of ort.wasm.min.mjs",
    );
    refused(
        &other,
        "--classes 2",
        "does not say how its input is made of pixels",
    );
}

/// Reads a picture and rules from `asked.json`, and writes what the page makes of it.
const SCRIPT: &str = r#"
import { readFileSync, writeFileSync } from 'node:fs';
import { placed } from './pictures.mjs';

const { picture, specs } = JSON.parse(readFileSync('asked.json'));
picture.pixels = Uint8ClampedArray.from(picture.pixels);
writeFileSync('made.json', JSON.stringify(specs.map((spec) => [...placed(picture, spec)])));
"#;

#[test]
fn a_page_brings_pictures_to_the_input_as_the_command_does() {
    if Command::new("node").arg("--version").output().is_err() {
        return skip("node", "node");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    written(folder.path(), "--classes 2");
    fs::copy(at("page/pictures.js"), at("pictures.mjs")).unwrap();
    fs::write(at("script.mjs"), SCRIPT).unwrap();
    let (width, height) = (47u32, 61u32);
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x * 37 + y * y, x * x + 91 * y, 13 * x * y].map(|value| (value % 256) as u8))
    });
    picture.save(at("picture.png")).unwrap();
    let inputs = [(32, 32), (20, 50), (80, 70)];
    let rules = ["squash", "crop", "crop:0.7", "letterbox"];
    let all = inputs
        .iter()
        .flat_map(|size| rules.map(|rule| (*size, rule)));
    let all: Vec<((usize, usize), Resize)> = all
        .map(|(size, rule)| (size, rule.parse().unwrap()))
        .collect();
    let specs = all.iter().map(|((height, width), resize)| {
        json!({ "height": height, "width": width, "preprocess": { "resize": resize } })
    });
    let asked = json!({
        "picture": { "width": width, "height": height, "pixels": picture.as_raw() },
        "specs": specs.collect::<Vec<Value>>(),
    });
    fs::write(at("asked.json"), asked.to_string()).unwrap();
    let ran = Command::new("node")
        .arg("script.mjs")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let made: Vec<Vec<u8>> = serde_json::from_slice(&fs::read(at("made.json")).unwrap()).unwrap();
    for (((height, width), resize), made) in all.into_iter().zip(made) {
        let expected = load_image(&at("picture.png"), height, width, 3, resize).unwrap();
        assert_eq!(made.len(), expected.len());
        // Weights are rounded otherwise.
        let apart = made
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(
            apart <= Some(1),
            "{apart:?} of {height} × {width}, {resize}"
        );
    }
}
