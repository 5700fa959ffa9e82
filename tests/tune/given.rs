//! Parts of the data that are given, by folders or by flags.

use std::fs;

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const HEAD: &str = "--strategies head --head linear --search-fraction 0.3 --epochs 2 --search-epochs 1 --preprocess signed";

/// Moves images of each class to other folders: so many, to `folder/CLASS`.
fn move_out(scene: &Scene, from: &str, to: &str, count: usize) {
    for class in CLASSES {
        let folder = scene.at(from).join(class);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .collect();
        files.sort();
        fs::create_dir_all(scene.at(to).join(class)).unwrap();
        for file in files.iter().rev().take(count) {
            fs::rename(
                file,
                scene.at(to).join(class).join(file.file_name().unwrap()),
            )
            .unwrap();
        }
    }
}

/// A scene whose photos are in `train`, `Valid` and `test`.
fn three_parts() -> Scene {
    let scene = Scene::of(20);
    move_out(&scene, "photos", "all/test", 4);
    move_out(&scene, "photos", "all/Valid", 3);
    fs::rename(scene.at("photos"), scene.at("all/train")).unwrap();
    scene
}

fn names(split: &Value, part: &str) -> Vec<String> {
    let list = split[part].as_array().unwrap();
    list.iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn folders_of_a_split_are_its_parts_and_a_run_on_them_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = three_parts();
    scene.tune_on("all", "whole", HEAD).assert().success();
    let split = json(&scene.at("whole/split.json"));
    let all_in = |part: &str, folder: &str, count: usize| {
        let names = names(&split, part);
        assert_eq!(names.len(), count, "{part}: {names:?}");
        assert!(
            names.iter().all(|name| name.starts_with(folder)),
            "{names:?}"
        );
    };
    all_in("validation", "Valid/", 9);
    all_in("held_out", "test/", 12);
    let trained = names(&split, "train").len() + names(&split, "search").len();
    assert_eq!(trained, 39);
    let run = json(&scene.at("whole/run.json"));
    assert_eq!(
        run["configuration"]["given_parts"],
        serde_json::json!(["validation", "held_out"])
    );
    assert_eq!(run["data"]["classes"], serde_json::json!(CLASSES));

    // A run that ended is resumed to the same, and one on other parts is another.
    let bytes = fs::read(scene.at("whole/winners/head.onnx")).unwrap();
    succeeds(scene.resume("whole", &[]));
    assert_eq!(
        fs::read(scene.at("whole/winners/head.onnx")).unwrap(),
        bytes
    );
    scene.tune_on("all", "again", HEAD).assert().success();
    assert_eq!(
        fs::read(scene.at("again/winners/head.onnx")).unwrap(),
        bytes
    );
    let class = CLASSES[0];
    let (from, to) = (
        format!("all/Valid/{class}"),
        format!("all/train/{class}/moved.png"),
    );
    let file = fs::read_dir(scene.at(&from))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::rename(file.path(), scene.at(&to)).unwrap();
    let (code, told) = said(scene.resume("whole", &[]));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("the data (a SHA-256"), "{told}");
}

#[test]
fn evaluate_takes_what_is_held_out_of_data_that_give_parts_and_says_so() {
    if !has_runtime() {
        return;
    }
    let scene = three_parts();
    scene.tune_on("all", "run", HEAD).assert().success();
    let model = "run/winners/head.onnx --data all";
    let (held_out, told) = evaluate(scene.path(), model);
    assert_eq!(
        (held_out["samples"].as_u64(), held_out["part"].as_str()),
        (Some(12), Some("held_out"))
    );
    assert!(told.contains("the part held out"), "{told}");
    assert!(!told.contains("were trained on"), "{told}");
    let results = json(&scene.at("run/results.json"));
    assert_eq!(
        held_out["accuracy"],
        results["strategies"][0]["held_out_accuracy"]
    );
    let (validation, _) = evaluate(scene.path(), &format!("{model} --part validation"));
    assert_eq!(validation["samples"], 9);
    let (all, told) = evaluate(scene.path(), &format!("{model} --part all"));
    assert_eq!(
        (all["samples"].as_u64(), &all["part"]),
        (Some(60), &Value::Null)
    );
    assert!(told.contains("48 of 60"), "{told}");
    let split = format!("{model} --split run/split.json --part held_out");
    assert_eq!(
        evaluate(scene.path(), &split).0["accuracy"],
        held_out["accuracy"]
    );
    let (plain, _) = evaluate(scene.path(), "run/winners/head.onnx --data all/test");
    assert_eq!(plain["accuracy"], held_out["accuracy"]);
    ftsurgery()
        .current_dir(scene.path())
        .args("evaluate run/winners/head.onnx --data all/test --part test".split(' '))
        .assert()
        .code(2);
}

#[test]
fn other_folders_are_parts_that_nothing_is_split_off_for() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    move_out(&scene, "photos", "late", 4);
    let test = scene.at("late");
    let flags = format!("{HEAD} --test {}", test.display());
    scene.tune("run", &flags).assert().success();
    let split = json(&scene.at("run/split.json"));
    let held_out = names(&split, "held_out");
    assert_eq!(held_out.len(), 12);
    assert!(
        held_out.iter().all(|name| name.starts_with("test:")),
        "{held_out:?}"
    );
    // 30 % of what is left, as --search-fraction says.
    assert!(
        names(&split, "validation").len().abs_diff(14) <= 1,
        "{split}"
    );
    let run = json(&scene.at("run/run.json"));
    assert_eq!(run["configuration"]["test"].as_str(), test.to_str());
    succeeds(scene.resume("run", &[]));
    let report = fs::read_to_string(scene.at("run/report.html")).unwrap();
    assert!(!report.contains("no file"), "thumbnails are found");
    let config = fs::read_to_string(scene.at("run/config.toml")).unwrap();
    assert!(config.contains("test = "), "{config}");

    // Where it validates, what watches validation needs no search.
    let flags = format!(
        "--strategies head --head linear --head-init random --epochs 2 --search-fraction 0 --preprocess signed \
         --monitor macro-f1 --validation {}",
        test.display()
    );
    scene.tune("watched", &flags).assert().success();
    let parts = &json(&scene.at("watched/run.json"))["data"]["parts"];
    assert_eq!(
        (&parts["validation"], &parts["search"]),
        (&12.into(), &0.into())
    );
    // What a run writes is refused inside these folders, too.
    let inside = format!("{}/run", test.display());
    ftsurgery()
        .current_dir(scene.path())
        .args([
            "tune",
            "model.onnx",
            "--data",
            "photos",
            "--test",
            "late",
            "--out",
            &inside,
        ])
        .assert()
        .code(2);
}
