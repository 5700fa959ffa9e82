//! What is known of the data: images that a model was trained on, and very many classes.

use std::path::Path;

use assert_cmd::Command;
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use crate::scene::*;
use crate::support::*;

const LINEAR: &str = "--strategies head --head linear --search-fraction 0.3 --train-fraction 0.4 \
                      --epochs 1 --search-epochs 1 --preprocess signed";

fn save_arrays(path: &Path, labels: &[i64]) {
    let mut x = Array4::<f32>::zeros((labels.len(), 3, 16, 16));
    for (i, value) in x.iter_mut().enumerate() {
        *value = ((i * 37 + i / 768) % 101) as f32 / 50.0 - 1.0;
    }
    let mut npz = NpzWriter::new(std::fs::File::create(path).unwrap());
    npz.add_array("x", &x).unwrap();
    npz.add_array("y", &Array1::from_vec(labels.to_vec()))
        .unwrap();
    npz.finish().unwrap();
}

#[test]
fn evaluate_says_how_many_images_were_trained_on_unless_they_were_held_out() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    let labels: Vec<i64> = (0..36).map(|i| i % 3).collect();
    save_arrays(&at("arrays.npz"), &labels);
    for (data, run) in [("photos", "run"), ("arrays.npz", "run2")] {
        scene.tune_on(data, run, LINEAR).assert().success();
    }
    for (data, run) in [("photos", "run"), ("arrays.npz", "run2")] {
        let parts = json(&at(&format!("{run}/run.json")))["data"]["parts"].clone();
        let held_out = parts["held_out"].as_u64().unwrap();
        assert!(held_out > 0);
        let model = format!("{run}/winners/head.onnx --data {data}");
        let (report, told) = evaluate(scene.path(), &model);
        assert_eq!(report["trained_on"], 36 - held_out, "{data}");
        let line = format!("{} of 36", 36 - held_out);
        assert!(
            told.contains(&line) && told.contains("were trained on"),
            "{told}"
        );

        let part = |part: &str| format!("{model} --split {run}/split.json --part {part}");
        let (report, told) = evaluate(scene.path(), &part("held_out"));
        assert_eq!(report["trained_on"], 0);
        assert!(!told.contains("were trained on"), "{told}");
        // Who asks for that part by name knows.
        let (report, told) = evaluate(scene.path(), &part("train"));
        assert_eq!(report["trained_on"], parts["train"]);
        assert!(!told.contains("were trained on"), "{told}");
    }

    // By content, not by name.
    std::fs::create_dir_all(at("renamed")).unwrap();
    for class in CLASSES {
        std::fs::create_dir_all(at("renamed").join(class)).unwrap();
        for i in 0..12 {
            let from = at("photos").join(class).join(format!("{i:02}.png"));
            std::fs::copy(
                from,
                at("renamed").join(class).join(format!("other{i}.png")),
            )
            .unwrap();
        }
    }
    let (report, _) = evaluate(scene.path(), "run/winners/head.onnx --data renamed");
    let (same, _) = evaluate(scene.path(), "run/winners/head.onnx --data photos");
    assert_eq!(report["trained_on"], same["trained_on"]);
    assert!(report["trained_on"].as_u64() > Some(0));
    let (report, _) = evaluate(scene.path(), "model.onnx --data arrays.npz");
    assert!(report["trained_on"].is_null());
}

#[test]
fn a_tuned_model_that_is_tuned_again_knows_all_that_it_was_trained_on() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    scene.tune("run", LINEAR).assert().success();
    let again = |model: &str, out: &str, more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.arg("tune").arg(at(model).join("winners/head.onnx"));
        command.arg("--data").arg(at("photos")).arg("--out");
        command
            .arg(at(out))
            .args(["--strategies", "head", "--head", "linear"]);
        command.args(["--epochs", "1"]);
        let output = command.args(more.split_whitespace()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        told
    };
    let held_out = |run: &str| -> std::collections::BTreeSet<String> {
        let split = json(&at(run).join("split.json"));
        let names = split["held_out"].as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let first = held_out("run");
    let seen = 36 - first.len();
    // Another seed holds out no others: what the first run held out still is.
    let parts = "--search-fraction 0.3 --train-fraction 0.4";
    let told = again("run", "again", &format!("{parts} --seed 1"));
    let note = format!("{seen} of the 36 samples were trained on, or helped to choose");
    assert!(
        told.contains(&note) && told.contains("none of them is held out"),
        "{told}"
    );
    assert!(!told.contains("were trained on when"), "{told}");
    assert_eq!(held_out("again"), first);
    let (report, _) = evaluate(
        scene.path(),
        "again/winners/head.onnx --data photos --split again/split.json --part held_out",
    );
    assert_eq!(report["trained_on"], 0, "{report}");
    // Where more is to be held out than is left, it is told of how many.
    let told = again("run", "fewer", "--train-fraction 0.2 --search-fraction 0.1");
    let less = format!("{} samples are held out where", first.len());
    assert!(told.contains(&less), "{told}");
    assert_eq!(held_out("fewer"), first);
    // Where nothing is left, the figures are of what was trained on, which is told.
    let told = again("run", "most", "--train-fraction 1 --search-fraction 0");
    assert!(told.contains("nothing is held out"), "{told}");
    let told = again("most", "none", parts);
    let all = format!(
        "{0} of the {0} held-out samples were trained on when",
        held_out("none").len()
    );
    assert!(told.contains(&all), "{told}");
}

#[test]
fn predictions_are_written_image_by_image_and_agree_with_the_figures() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    let settings = |strategies| LINEAR.replacen("head", strategies, 1);
    scene.tune("run", &settings("head,full")).assert().success();
    let results = json(&at("run/results.json"));
    let split = json(&at("run/split.json"));
    let held_out = split["held_out"].as_array().unwrap();
    for strategy in results["strategies"].as_array().unwrap() {
        let name = strategy["name"].as_str().unwrap();
        let file = at(&format!("run/winners/{name}.predictions.csv"));
        let mut reader = csv::Reader::from_path(file).unwrap();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), held_out.len());
        let mut wrong = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(&row[0], held_out[i].as_str().unwrap());
            assert!(row[0].starts_with(&format!("{}/", &row[1])), "{row:?}");
            let probability = |column: usize| row[column].parse::<f64>().unwrap();
            assert!(
                probability(3) <= probability(4) && probability(4) <= 1.0,
                "{row:?}"
            );
            if row[1] != row[2] {
                wrong.push(i);
            }
        }
        assert_eq!(strategy["held_out"]["wrong"], serde_json::json!(wrong));
        let accuracy = 1.0 - wrong.len() as f64 / rows.len() as f64;
        let reported = strategy["held_out_accuracy"].as_f64().unwrap();
        assert!((accuracy - reported).abs() < 1e-12);
    }
    // What another run replaces goes.
    scene
        .tune("run", &settings("full"))
        .arg("--force")
        .assert()
        .success();
    assert!(!at("run/winners/head.predictions.csv").exists());
}

#[test]
fn thousands_of_classes_take_little_room() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(0);
    for classes in [2_000, 60_000] {
        let labels: Vec<i64> = (0..36).map(|i| (i % 3) * (classes - 1) / 2).collect();
        let (data, run) = (format!("{classes}.npz"), format!("run{classes}"));
        save_arrays(&scene.at(&data), &labels);
        scene.tune_on(&data, &run, LINEAR).assert().success();
        let run = scene.at(&run);
        let size = std::fs::metadata(run.join("results.json")).unwrap().len();
        assert!(size < 20_000, "{classes}: {size}");
        let held_out = &json(&run.join("results.json"))["strategies"][0]["held_out"];
        assert_eq!(held_out["classes"], classes);
        let pairs = held_out["confusion"].as_array().unwrap();
        let counted: u64 = pairs.iter().map(|p| p[2].as_u64().unwrap()).sum();
        assert_eq!(counted, held_out["score"]["count"].as_u64().unwrap());
    }
}
