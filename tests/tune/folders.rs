//! Folders and arrays as people have them: what is left out, told or refused.

use std::fs;
use std::path::Path;

use ftsurgery::onnx::Model;

use crate::scene::*;
use crate::support::*;

/// Runs `tune` without `--quiet`, with quick settings; returns the exit code and what was said.
fn said(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command
        .current_dir(folder)
        .args("tune model.onnx --data photos --preprocess signed --strategies head".split(' '))
        .args(
            "--head paper --head-init random --search-fraction 0.1 --epochs 1 --search-epochs 1"
                .split(' '),
        )
        .args(arguments.split_whitespace());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

#[test]
fn a_run_inside_the_data_is_refused_at_once() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    for out in [
        "photos/run",
        "photos",
        "photos/red/deep/run",
        "all/../photos/run",
    ] {
        let (code, said) = said(scene.path(), &format!("--out {out}"));
        assert_eq!(code, Some(2), "{out}: {said}");
        assert!(said.contains("lies in the data's"), "{out}: {said}");
    }
    let study = ftsurgery()
        .current_dir(scene.path())
        .args("study --models model.onnx --data photos --out photos/study".split(' '))
        .output()
        .unwrap();
    assert_eq!(study.status.code(), Some(2));
    assert_eq!(
        fs::read_dir(scene.path().join("photos")).unwrap().count(),
        3
    );
}

#[test]
fn copies_are_told_and_never_in_two_parts() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let at = |name: &str| scene.at(name);
    for i in 0..20 {
        let copy_of = at(&format!("photos/red/{i:02}.png"));
        copy(&copy_of, &at(&format!("photos/blue/copy{i:02}.png")));
    }
    let (code, said) = said(scene.path(), "--out run");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("20 of 80 samples are exact copies"), "{said}");
    assert!(said.contains("20 of them in another class"), "{said}");
    let split = json(&at("run/split.json"));
    let part = |name: &str| {
        ["search", "validation", "train", "held_out"]
            .into_iter()
            .find(|&part| split[part].as_array().unwrap().iter().any(|n| n == name))
            .unwrap()
    };
    for i in 0..20 {
        let copy = part(&format!("blue/copy{i:02}.png"));
        assert_eq!(part(&format!("red/{i:02}.png")), copy);
    }
}

#[test]
fn a_class_too_small_is_refused_with_the_way_out_which_works() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    let at = |name: &str| scene.at(name);
    copy(&at("photos/red/00.png"), &at("photos/single/00.png"));
    fs::write(at("photos/single/00.png"), {
        let mut bytes = fs::read(at("photos/red/00.png")).unwrap();
        // Another file, the same picture: bytes behind the end of a PNG are not read.
        bytes.push(0);
        bytes
    })
    .unwrap();
    let (code, told) = said(scene.path(), "--out run");
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("\"single\"") && told.contains("--min-per-class"),
        "{told}"
    );
    let (code, told) = said(scene.path(), "--out run --min-per-class 3");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("are left out: \"single\""), "{told}");
    assert_eq!(
        json(&at("run/run.json"))["data"]["classes"],
        serde_json::json!(CLASSES)
    );
}

#[test]
fn a_winner_is_trained_on_the_search_part_too_and_says_both_accuracies() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(40);
    let at = |name: &str| scene.at(name);
    for (flag, per_epoch) in [("", 84), ("--search-apart", 84)] {
        let arguments = format!("--out run --force --batch-size 1 --log-steps {flag}");
        let (code, said) = said(scene.path(), &arguments);
        assert_eq!(code, Some(0), "{said}");
        let split = json(&at("run/split.json"));
        let count = |part: &str| split[part].as_array().unwrap().len();
        let parts = ["search", "validation", "train", "held_out"].map(count);
        let trained_on = match flag {
            "" => {
                assert_eq!(parts, [8, 12, 76, 24]);
                parts[0] + parts[2]
            }
            _ => {
                assert_eq!(parts, [8, 4, 84, 24]);
                parts[2]
            }
        };
        assert_eq!(trained_on, per_epoch);
        let metrics = lines(&at("run/trials/head-train/metrics.jsonl"));
        let steps = metrics
            .iter()
            .filter(|line| line["step"].is_u64() && line["epoch"].is_null());
        assert_eq!(steps.count(), per_epoch);

        let results = json(&at("run/results.json"));
        let model = Model::open(&at("run/winners/head.onnx")).unwrap();
        for name in ["held_out_accuracy", "validation_accuracy"] {
            let noted: f64 = model
                .metadata(&format!("ftsurgery.{name}"))
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(noted, results["strategies"][0][name].as_f64().unwrap());
        }
        assert_eq!(model.metadata("ftsurgery.accuracy"), None);
    }
}

#[test]
fn small_parts_and_images_beyond_the_budget_are_told_with_figures() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(5);
    let (code, said) = said(
        scene.path(),
        "--out run --memory-budget 1KiB --image-cache memory --augment none",
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the held-out part is small to judge by: 3 samples"),
        "{said}"
    );
    assert!(
        said.contains("the validation part is small to choose by: 3 samples"),
        "{said}"
    );
    // 15 images of 16 × 16 × 3.
    assert!(
        said.contains("the 15 samples take 11 KiB of memory"),
        "{said}"
    );
}
