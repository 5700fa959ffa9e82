//! Lists of images, groups, splits of earlier runs and by hand, and folds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const HEAD: &str = "--strategies head --head linear --search-fraction 0.2 --train-fraction 0.6 --epochs 2 --search-epochs 1 --preprocess signed";

const PARTS: [&str; 4] = ["search", "validation", "train", "held_out"];

/// The part of each sample that `split.json` of a run names.
fn parts(scene: &Scene, run: &str) -> BTreeMap<String, &'static str> {
    let split = json(&scene.at(&format!("{run}/split.json")));
    let names = |part: &'static str| {
        let list = split[part].as_array().unwrap().clone();
        list.into_iter()
            .map(move |name| (name.as_str().unwrap().to_owned(), part))
    };
    PARTS.into_iter().flat_map(names).collect()
}

/// A list of a scene's photos, with what `more` says of each behind its class.
fn list(scene: &Scene, header: &str, more: impl Fn(usize, &str) -> String) {
    let mut text = format!("{header}\n");
    for class in CLASSES {
        let folder = fs::read_dir(scene.at("photos").join(class)).unwrap();
        for number in 0..folder.count() {
            text.push_str(&format!(
                "{class}/{number:02}.png,{class}-flower{}\n",
                more(number, class)
            ));
        }
    }
    fs::create_dir_all(scene.at("lists")).unwrap();
    fs::write(scene.at("lists/all.csv"), text).unwrap();
}

#[test]
fn a_list_is_tuned_on_and_groups_never_straddle_parts() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    list(&scene, "file,class,patient", |number, class| {
        format!(",{class}{}", number / 2)
    });
    let images = scene.at("photos");
    let flags = format!("{HEAD} --images {}", images.display());
    scene
        .tune_on("lists/all.csv", "run", &flags)
        .assert()
        .success();
    let part = parts(&scene, "run");
    assert_eq!(part.len(), 60);
    assert!(
        PARTS
            .iter()
            .all(|wanted| part.values().any(|part| part == wanted))
    );
    for class in CLASSES {
        for number in (0..20).step_by(2) {
            let [one, other] = [number, number + 1].map(|n| part[&format!("{class}/{n:02}.png")]);
            assert_eq!(one, other, "{class} {number}");
        }
    }
    let run = json(&scene.at("run/run.json"));
    assert_eq!(run["data"]["classes"][0], "blue-flower");
    let report = fs::read_to_string(scene.at("run/report.html")).unwrap();
    assert!(!report.contains("the data were not at"));
    succeeds(scene.resume("run", &[]));

    // Another way to say the same of groups: by the first digits of two, and the run is another.
    let by_name = format!("{HEAD} --group-by /[01]");
    scene.tune("named", &by_name).assert().code(2);
    let by_name = format!("{HEAD} --group-by ^[a-z]*/([01][0-4])");
    scene.tune("named", &by_name).assert().success();
    let (code, told) = said(scene.resume("run", &["--group-by", "x"]));
    assert_eq!(code, Some(2));
    assert!(told.contains("--group-by"), "{told}");

    let evaluated = ftsurgery()
        .current_dir(scene.path())
        .args(
            "evaluate run/winners/head.onnx --data lists/all.csv --images photos --json".split(' '),
        )
        .args("--split run/split.json --part held_out".split(' '))
        .output()
        .unwrap();
    let evaluated: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    let results = json(&scene.at("run/results.json"));
    assert_eq!(
        evaluated["accuracy"],
        results["strategies"][0]["held_out_accuracy"]
    );
}

#[test]
fn a_list_may_give_the_parts_and_its_faults_are_told_with_the_line() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    list(&scene, "file,class,split", |number, _| {
        let part = ["train", "train", "train", "val", "test"][number % 5];
        format!(",{part}")
    });
    fs::rename(scene.at("lists/all.csv"), scene.at("photos/all.csv")).unwrap();
    scene
        .tune_on("photos/all.csv", "run", HEAD)
        .assert()
        .success();
    let part = parts(&scene, "run");
    for (name, part) in &part {
        let number: usize = name[name.len() - 6..name.len() - 4].parse().unwrap();
        match number % 5 {
            3 => assert_eq!(*part, "validation"),
            4 => assert_eq!(*part, "held_out"),
            _ => assert!(["search", "train"].contains(part), "{part}"),
        }
    }
    let text = fs::read_to_string(scene.at("photos/all.csv")).unwrap();
    fs::write(scene.at("photos/all.csv"), text.replacen("val", "vale", 1)).unwrap();
    let failed = scene
        .tune_on("photos/all.csv", "other", HEAD)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(2));
    assert!(told.contains("all.csv, line 5: \"vale\""), "{told}");
    assert!(!scene.at("other").exists());
}

#[test]
fn a_split_of_another_run_or_by_hand_is_that_split() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    scene
        .tune("first", &format!("{HEAD} --seed 7"))
        .assert()
        .success();
    let split = scene.at("first/split.json");
    let flags = format!("{HEAD} --seed 7 --split {}", split.display());
    scene.tune("again", &flags).assert().success();
    let bytes = |run: &str, file: &str| fs::read(scene.at(&format!("{run}/{file}"))).unwrap();
    assert_eq!(bytes("again", "split.json"), bytes("first", "split.json"));
    let accuracy = |run: &str| {
        json(&scene.at(&format!("{run}/results.json")))["strategies"][0]["held_out_accuracy"]
            .clone()
    };
    assert_eq!(accuracy("again"), accuracy("first"));
    succeeds(scene.resume("again", &[]));

    let by_hand = |text: &str| {
        fs::write(scene.at("mine.json"), text).unwrap();
        let flags = format!("{HEAD} --force --split {}", scene.at("mine.json").display());
        scene.tune("mine", &flags).output().unwrap()
    };
    let of = |numbers: std::ops::Range<usize>| {
        let names = CLASSES.iter().flat_map(|class| {
            let name = move |number| format!("\"{class}/{number:02}.png\"");
            numbers.clone().map(name)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let text = format!(r#"{{"train": [{}], "test": [{}]}}"#, of(0..8), of(9..12));
    let output = by_hand(&text);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let part = parts(&scene, "mine");
    assert_eq!(part.len(), 33);
    assert_eq!(part.values().filter(|part| **part == "held_out").count(), 9);
    assert!(part.values().any(|part| *part == "validation"));
    let output = by_hand(&text.replace("blue/03.png", "blue/99.png"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("mine.json") && told.contains("\"blue/99.png\""),
        "{told}"
    );
}

#[test]
fn folds_hold_every_image_out_once_and_are_reported_as_repetitions() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    scene
        .tune("run", &format!("{HEAD} --folds 3"))
        .assert()
        .success();
    let mut held_out = BTreeSet::new();
    for run in ["run", "run/repeats/2", "run/repeats/3"] {
        let part = parts(&scene, run);
        assert_eq!(part.len(), 36);
        let own = part.into_iter().filter(|(_, part)| *part == "held_out");
        let own: Vec<String> = own.map(|(name, _)| name).collect();
        for class in CLASSES {
            assert_eq!(own.iter().filter(|name| name.starts_with(class)).count(), 4);
        }
        assert!(own.into_iter().all(|name| held_out.insert(name)));
    }
    assert_eq!(held_out.len(), 36);
    let results = json(&scene.at("run/results.json"));
    let repeats = results["repeats"].as_array().unwrap();
    assert_eq!(
        repeats
            .iter()
            .map(|r| r["fold"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(repeats.iter().all(|r| r["seed"] == 0));
    assert_eq!(results["spread"][0]["count"], 3);
    let report = fs::read_to_string(scene.at("run/report.html")).unwrap();
    assert!(report.contains("Accuracy over folds") && report.contains("Fold 3"));
    succeeds(scene.resume("run", &[]));
    let (code, told) = said(scene.resume("run", &["--folds", "4"]));
    assert_eq!(code, Some(2), "{told}");
    // What a fold cannot do is told before any is begun.
    scene
        .tune("many", &format!("{HEAD} --folds 37"))
        .assert()
        .code(2);
    assert!(!scene.at("many/trials").exists());
}
