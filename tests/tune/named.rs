//! Names of classes: their order, files and metadata that give it, and the folders that people report about.

use std::fs;
use std::path::PathBuf;

use ftsurgery::onnx::{Model, save, set_metadata};
use serde_json::Value;

use crate::scene::*;
use crate::support::*;

fn accuracy(evaluated: &Value) -> f64 {
    evaluated["accuracy"].as_f64().unwrap()
}

/// A copy of a model with a metadata entry.
fn with_metadata(
    scene: &Scene,
    model: &str,
    name: &str,
    entries: &[(&str, Option<&str>)],
) -> PathBuf {
    let mut proto = Model::open(&scene.at(model)).unwrap().proto;
    for (key, value) in entries {
        match value {
            Some(value) => set_metadata(&mut proto, key, value),
            None => proto
                .metadata_props
                .retain(|entry| entry.key.as_deref() != Some(*key)),
        }
    }
    let path = scene.at(name);
    save(&proto, &path).unwrap();
    path
}

const HEAD: &str = "--strategies head --head linear --head-init solved --search-fraction 0.3 --epochs 1 --search-epochs 1 --preprocess signed";

#[test]
fn a_models_outputs_are_matched_by_name_wherever_names_are_known() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    // The order of another training, which is not that of the alphabet.
    fs::write(scene.at("classes.txt"), "red\nblue\ngreen\n").unwrap();
    let flags = format!("{HEAD} --classes {}", scene.at("classes.txt").display());
    scene.tune("run", &flags).assert().success();
    let run = json(&scene.at("run/run.json"));
    assert_eq!(
        run["data"]["classes"],
        serde_json::json!(["red", "blue", "green"])
    );
    let on = "--data photos --preprocess signed";
    let (right, _) = evaluate(scene.path(), &format!("run/winners/head.onnx {on}"));
    assert!(accuracy(&right) > 0.9, "{right}");
    assert_eq!(right["classes"][0]["name"], "red");

    let none = ("ftsurgery.classes", None);
    with_metadata(&scene, "run/winners/head.onnx", "bare.onnx", &[none]);
    let (wrong, told) = evaluate(scene.path(), &format!("bare.onnx {on}"));
    assert!(accuracy(&wrong) < 0.1, "{wrong}");
    assert!(told.contains("in this order: blue, green, red"), "{told}");
    let (right, _) = evaluate(
        scene.path(),
        &format!("bare.onnx {on} --classes classes.txt"),
    );
    assert!(accuracy(&right) > 0.9, "{right}");
    for (key, text) in [
        ("names", "{0: 'red', 1: 'blue', 2: 'green'}"),
        ("labels", r#"["red", "blue", "green"]"#),
        ("id2label", r#"{"0": "red", "1": "blue", "2": "green"}"#),
        ("label2id", r#"{"green": 2, "red": 0, "blue": 1}"#),
    ] {
        with_metadata(&scene, "bare.onnx", "named.onnx", &[(key, Some(text))]);
        let (right, told) = evaluate(scene.path(), &format!("named.onnx {on}"));
        assert!(accuracy(&right) > 0.9, "{key}: {told}");
        assert!(!told.contains("in this order"), "{told}");
    }
    // Names of something else are no names of its outputs.
    let other = [("names", Some("{0: 'red', 1: 'blue'}"))];
    with_metadata(&scene, "bare.onnx", "named.onnx", &other);
    let (_, told) = evaluate(scene.path(), &format!("named.onnx {on}"));
    assert!(told.contains("in this order"), "{told}");
}

#[test]
fn a_kept_head_takes_folders_in_the_models_order_and_some_of_them() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    fs::write(scene.at("classes.txt"), "red\nblue\ngreen\n").unwrap();
    let flags = format!("{HEAD} --classes {}", scene.at("classes.txt").display());
    scene.tune("run", &flags).assert().success();
    let names = "{0: 'red', 1: 'blue', 2: 'green'}";
    let entries = [("ftsurgery.classes", None), ("names", Some(names))];
    let model = with_metadata(&scene, "run/winners/head.onnx", "named.onnx", &entries);
    fs::rename(scene.at("photos/green"), scene.at("green")).unwrap();
    let keep = "--strategies head --head keep --search-fraction 0.3 --epochs 1 --preprocess signed";
    let kept = tune(
        &model,
        &scene.at("photos"),
        &scene.at("kept"),
        &keep.split(' ').collect::<Vec<_>>(),
    )
    .output()
    .unwrap();
    assert!(
        kept.status.success(),
        "{}",
        String::from_utf8_lossy(&kept.stderr)
    );
    let run = json(&scene.at("kept/run.json"));
    assert_eq!(
        run["data"]["classes"],
        serde_json::json!(["red", "blue", "green"])
    );
    let (right, _) = evaluate(scene.path(), "kept/winners/head.onnx --data photos");
    assert!(accuracy(&right) > 0.9, "{right}");
    // A new head has the data's classes, and what another tool says of them is kept true.
    let flags: Vec<&str> = HEAD.split(' ').collect();
    tune(&model, &scene.at("photos"), &scene.at("new"), &flags)
        .assert()
        .success();
    let winner = Model::open(&scene.at("new/winners/head.onnx")).unwrap();
    assert_eq!(winner.metadata("names"), Some("{0: 'blue', 1: 'red'}"));
}

#[test]
fn forms_of_a_name_are_one_class_and_files_of_names_are_held_to_the_data() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    fs::rename(scene.at("photos/green"), scene.at("photos/caf\u{e9}")).unwrap();
    fs::create_dir(scene.at("photos/cafe\u{301}")).unwrap();
    for number in 6..12 {
        let [from, to] = ["caf\u{e9}", "cafe\u{301}"]
            .map(|name| scene.at(&format!("photos/{name}/{number:02}.png")));
        fs::rename(from, to).unwrap();
    }
    fs::rename(scene.at("photos/red"), scene.at("photos/Blue")).unwrap();
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command
        .current_dir(scene.path())
        .args("tune model.onnx --data photos --out run".split(' '));
    let output = command.args(HEAD.split(' ')).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let run = json(&scene.at("run/run.json"));
    assert_eq!(
        run["data"]["classes"],
        serde_json::json!(["Blue", "blue", "caf\u{e9}"])
    );
    assert!(told.contains("\"Blue\" and \"blue\""), "{told}");
    assert!(told.contains("several forms of Unicode"), "{told}");

    fs::write(scene.at("classes.txt"), "Blue\nblue\nred\n").unwrap();
    let flags = format!("{HEAD} --classes {}", scene.at("classes.txt").display());
    let output = scene.tune("other", &flags).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("which it does not name"), "{told}");
}

/// The folders of `cases/README.md`, each with its right outcome.
#[test]
fn folders_that_people_report_about_come_out_right() {
    if !has_runtime() {
        return;
    }
    let Some(shared) = shared() else {
        return;
    };
    let cases = shared.join("cases");
    let scene = Scene::of(0);
    let base = cases.join("models/base.onnx");
    let (perfect, told) = evaluate(
        scene.path(),
        &format!(
            "{} --data {} --preprocess unit",
            cases.join("models/perfect12.onnx").display(),
            cases.join("folders/grey").display()
        ),
    );
    assert_eq!(perfect["accuracy"], 1.0);
    assert!(told.contains("in this order: 0, 1, 2, 3"), "{told}");

    let run = |folder: &str, flags: &str| {
        let out = folder.to_owned() + flags.split(' ').next().unwrap_or_default();
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command
            .current_dir(scene.path())
            .arg("tune")
            .arg(&base)
            .arg("--data");
        command.arg(cases.join("folders").join(folder)).args([
            "--out",
            &out,
            "--preprocess",
            "unit",
        ]);
        command.args("--strategies head --epochs 1".split(' '));
        let output = command.args(flags.split_whitespace()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told, out)
    };
    let classes =
        |out: &str| json(&scene.at(&format!("{out}/run.json")))["data"]["classes"].clone();
    let abc = serde_json::json!(["a", "b", "c"]);

    let (code, told, out) = run("tvt", "");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(classes(&out), serde_json::json!(["cat", "dog", "owl"]));
    let split = json(&scene.at("tvt/split.json"));
    for (part, folder) in [
        ("validation", "val/"),
        ("held_out", "test/"),
        ("train", "train/"),
    ] {
        let names = split[part].as_array().unwrap();
        assert!(!names.is_empty());
        assert!(
            names
                .iter()
                .all(|name| name.as_str().unwrap().starts_with(folder)),
            "{part}"
        );
    }
    for (folder, flags, words) in [
        ("dup", "", "in another class"),
        ("junk", "", "@eaDir"),
        ("mac", "", "__MACOSX"),
        ("few3", "", "small to judge by"),
        ("webp", "", "classes"),
        ("few1", "--min-per-class 3", "left out: \"c\""),
    ] {
        let (code, told, out) = run(folder, flags);
        assert_eq!(code, Some(0), "{folder}: {told}");
        assert!(told.contains(words), "{folder}: {told}");
        if folder != "few1" {
            assert_eq!(classes(&out), abc, "{folder}");
        }
    }
    let (code, told, _) = run("few1", "");
    assert_eq!(code, Some(2));
    assert!(
        told.contains("\"c\"") && told.contains("--min-per-class"),
        "{told}"
    );
}
