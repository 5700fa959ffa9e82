//! Packages for programs: their Python and Rust against `predict`, and the model card of a run.

use std::fs;
use std::path::Path;
use std::process::Command;

use ftsurgery::onnx::Model;
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::{python as found, skip};

use crate::models::Place;
use crate::scene::{Subject, pictures, place, predicted, python, subjects};

/// What a program prints of a picture: percent and name, line by line.
fn printed(text: &str) -> Vec<Vec<(f64, String)>> {
    let mut all: Vec<Vec<(f64, String)>> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("  ") {
            None => all.push(Vec::new()),
            Some(class) => {
                let (percent, name) = class.split_once(" %  ").unwrap();
                let own = all.last_mut().unwrap();
                own.push((percent.trim().parse().unwrap(), name.to_owned()));
            }
        }
    }
    all
}

/// Holds what a program printed against `predict` on the same model.
#[track_caller]
fn held(subject: &str, place: &Place, model: &str, text: &str, tolerance: f64) {
    let said = place.run(&format!("predict {model} --json {}", pictures()));
    said.well();
    let told: serde_json::Value = serde_json::from_str(&said.out()).unwrap();
    let made = printed(text);
    assert_eq!(
        made.len(),
        told.as_array().unwrap().len(),
        "{subject}: {text}"
    );
    for (image, made) in told.as_array().unwrap().iter().zip(made) {
        let classes = image["classes"].as_array().unwrap();
        for class in classes {
            let name = class["name"].as_str().unwrap().replace(['\n', '\t'], " ");
            let percent = 100.0 * class["probability"].as_f64().unwrap();
            let own = made.iter().find(|(_, other)| *other == name);
            // One that is as likely as the last that is printed may be another's place.
            let last = made.last().map_or(0.0, |(percent, _)| *percent);
            let own = own.map_or(last, |(percent, _)| *percent);
            assert!(
                (own - percent).abs() < tolerance,
                "{subject}, {name}: {own} for {percent}"
            );
        }
    }
}

#[test]
fn the_python_of_a_package_says_what_predict_says_of_models_of_every_kind() {
    let Some(program) = found(&["numpy", "onnxruntime", "PIL"]) else {
        return skip(
            "python",
            "a Python with numpy, onnxruntime and pillow (FTSURGERY_PYTHON)",
        );
    };
    if !has_runtime() {
        return;
    }
    for Subject { name, proto } in subjects() {
        for embedded in ["", "--embed-preprocessing", "--embed-preprocessing=nchw"] {
            let place = place(&proto);
            place
                .run(&format!(
                    "package model.onnx --format plain --out packed {embedded}"
                ))
                .well();
            let ran = Command::new(&program)
                .arg("packed/classify.py")
                .args(pictures().split(' '))
                .current_dir(place.at("."))
                .env("PYTHONUTF8", "1")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{name}: {told}");
            // Pillow rounds some pixels otherwise.
            held(
                name,
                &place,
                "model.onnx",
                &String::from_utf8_lossy(&ran.stdout),
                2.0,
            );
        }
    }
}

/// The program of every package, but for its `main`.
#[allow(dead_code)]
mod emitted {
    include!("../../src/package/classify.rs");

    pub fn of(model: &Path, pictures: &[String]) -> String {
        classify(model, pictures).unwrap()
    }
}

#[test]
fn the_rust_of_a_package_says_what_predict_says() {
    if !has_runtime() {
        return;
    }
    for Subject { name, proto } in subjects() {
        for embedded in ["", "--embed-preprocessing"] {
            let place = place(&proto);
            place
                .run(&format!(
                    "package model.onnx --format plain --out packed {embedded}"
                ))
                .well();
            let text = fs::read_to_string(place.at("packed/classify.rs")).unwrap();
            assert_eq!(text, include_str!("../../src/package/classify.rs"));
            let at = |picture: &str| place.at(picture).display().to_string();
            let pictures: Vec<String> = pictures().split(' ').map(at).collect();
            let said = emitted::of(&place.at("packed/model.onnx"), &pictures);
            let said = said.replace("\n\tgreen", "  green");
            held(name, &place, "model.onnx", &said, 0.11);
        }
    }
}

/// The model card of a run that was made here.
#[test]
fn the_model_card_has_what_the_run_knows_of_the_model() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    place.tune("--force").well();
    place
        .run("package run/winners/full.onnx --format plain --license MIT --out packed")
        .well();
    let card = fs::read_to_string(place.at("packed/README.md")).unwrap();
    let results: serde_json::Value =
        serde_json::from_slice(&fs::read(place.at("run/results.json")).unwrap()).unwrap();
    let strategies = results["strategies"].as_array().unwrap();
    let full = strategies.iter().find(|s| s["name"] == "full").unwrap();
    let score = &full["held_out"]["score"];
    let percent = format!("{:.1} %", 100.0 * score["accuracy"].as_f64().unwrap());
    let count = score["count"].as_u64().unwrap();
    for said in [
        "license: \"MIT\"",
        "24 images of 3 classes",
        "strategy `full`",
        &format!("On {count} held-out samples"),
        &format!("| accuracy | {percent} (95 % interval "),
        "| blue | ",
        "| red | ",
        "`--epochs 2`",
        full["sha256"].as_str().unwrap(),
    ] {
        assert!(card.contains(said), "{said} in {card}");
    }
    let per_class = card.lines().filter(|line| {
        line.starts_with("| blue | ")
            || line.starts_with("| red | ")
            || line.starts_with("| green | ")
    });
    let samples: u64 = per_class
        .map(|line| line.split(" | ").nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(samples, count);

    // A model that the run did not make has no figures, wherever it lies.
    fs::copy(place.at("model.onnx"), place.at("run/winners/other.onnx")).unwrap();
    place
        .run("package run/winners/other.onnx --format plain --out other")
        .well();
    let card = fs::read_to_string(place.at("other/README.md")).unwrap();
    assert!(
        card.contains("Nothing is known of them here") && card.contains("license: \"unknown\"")
    );
    place
        .run("package model.onnx --format plain --out wrong --run run")
        .refused(&["model.onnx is none of the models that the run in run has made"]);
}

/// `names` and `imgsz` as Python reads them.
#[test]
fn other_tools_read_names_and_size_and_both_are_true_after_tuning() {
    let Some(program) = found(&["onnx"]) else {
        return skip("python", "a Python with onnx (FTSURGERY_PYTHON)");
    };
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    place
        .run("package model.onnx --format plain --out packed")
        .well();
    let told = |place: &Place, model: &str| {
        let script = format!(
            "import ast, json, onnx\nm = onnx.load({model:?})\nonnx.checker.check_model(m)\n\
             told = {{p.key: p.value for p in m.metadata_props}}\n\
             print(json.dumps([ast.literal_eval(told['names']), ast.literal_eval(told['imgsz'])]))"
        );
        let text = python(place, &program, &script);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let expected = serde_json::json!([
        {"0": "it's \"red\" | <b>", "1": "зелёный\n\tgreen", "2": "\\blue`"},
        [16, 16]
    ]);
    assert_eq!(told(&place, "packed/model.onnx"), expected);
    fs::copy(place.at("packed/model.onnx"), place.at("model.onnx")).unwrap();
    place.tune("--strategies full").well();
    let expected = serde_json::json!([{"0": "blue", "1": "green", "2": "red"}, [16, 16]]);
    assert_eq!(told(&place, "run/winners/full.onnx"), expected);
}

/// What is beside a model says all that its metadata say, where it can be said there.
#[test]
fn the_files_for_transformers_say_of_a_model_without_metadata_what_these_say() {
    if !has_runtime() {
        return;
    }
    let mut said_pixels = Vec::new();
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        place
            .run("package model.onnx --format plain --out packed")
            .well();
        if !place.at("packed/preprocessor_config.json").exists() {
            continue;
        }
        said_pixels.push(name);
        let mut bare = Model::open(&place.at("packed/model.onnx")).unwrap().proto;
        bare.metadata_props.retain(|entry| {
            entry
                .key
                .as_deref()
                .is_some_and(|key| key.ends_with("thresholds"))
        });
        ftsurgery::onnx::save(&bare, &place.at("packed/model.onnx")).unwrap();
        let off = crate::scene::apart(
            &predicted(&place, "model.onnx"),
            &predicted(&place, "packed/model.onnx"),
        );
        assert!(off < 1e-5, "{name}: {off}");
    }
    assert_eq!(
        said_pixels,
        [
            "logits",
            "several labels",
            "bytes",
            "three thousand classes"
        ]
    );
}

#[test]
fn the_model_of_a_package_is_the_one_that_it_was_made_of_but_for_metadata() {
    if !has_runtime() {
        return;
    }
    for Subject { name, proto } in subjects() {
        let place = place(&proto);
        place
            .run("package model.onnx --format plain --out packed")
            .well();
        let open = |path: &str| Model::open(&place.at(path)).unwrap();
        let found =
            ftsurgery::surgery::differences(&open("model.onnx"), &open("packed/model.onnx"));
        for difference in found.unwrap() {
            assert_eq!(
                difference.part,
                ftsurgery::surgery::Part::Metadata,
                "{name}: {difference}"
            );
        }
        assert_eq!(
            predicted(&place, "model.onnx"),
            predicted(&place, "packed/model.onnx"),
            "{name}"
        );
        assert!(Path::new(&place.at("packed/README.md")).is_file());
    }
}
