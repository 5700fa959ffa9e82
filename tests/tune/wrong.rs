//! Bad usage and input: exit code 2, a sentence that names the culprit, nothing written.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::{Model, save};

use crate::scene::*;
use crate::support::*;

#[test]
fn bad_input_is_refused_by_name_and_leaves_nothing_behind() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let at = |name: &str| scene.at(name);
    std::fs::create_dir_all(at("one/only")).unwrap();
    std::fs::write(
        at("truncated.onnx"),
        &std::fs::read(at("model.onnx")).unwrap()[..200],
    )
    .unwrap();
    let cases: [(&str, &str, &[&str], &str); 12] = [
        ("absent.onnx", "photos", &[], "absent.onnx"),
        ("truncated.onnx", "photos", &[], "truncated.onnx"),
        ("photos/red/00.png", "photos", &[], "00.png"),
        ("model.onnx", "absent", &[], "absent"),
        ("model.onnx", "one", &[], "one"),
        ("model.onnx", "photos", &["--strategies", "best"], "`best`"),
        (
            "model.onnx",
            "photos",
            &["--features", "nowhere"],
            "`nowhere`",
        ),
        ("model.onnx", "photos", &["--head", "keep"], "5 classes"),
        (
            "model.onnx",
            "photos",
            &["--search-fraction", "0"],
            "`blocks`",
        ),
        (
            "model.onnx",
            "photos",
            &["--train-fraction", "0"],
            "`train_fraction`",
        ),
        ("model.onnx", "photos", &["--memory-budget", "1XB"], "XB"),
        (
            "model.onnx",
            "photos",
            &["--mean", "0,0,0", "--std", "0,1,1"],
            "std",
        ),
    ];
    for (model, data, arguments, named) in cases {
        let output = tune(&at(model), &at(data), &at("run"), arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{model} {data} {arguments:?}: {said}"
        );
        assert!(said.contains(named), "{model} {data} {arguments:?}: {said}");
        assert!(!at("run").exists(), "{model} {data} {arguments:?}");
    }
}

#[test]
fn a_norm_left_in_training_mode_is_the_reason_in_every_opset() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(6);
    let at = |name: &str| scene.at(name);
    let original = Graph::from_model(&Model::open(&at("model.onnx")).unwrap()).unwrap();
    for opset in [11, 13, 15] {
        let mut graph = original.clone();
        graph.opset = opset;
        let norm = graph.nodes.iter_mut().find(|n| n.name == "norm2").unwrap();
        if opset < 14 {
            // More outputs than one say so.
            let statistics = ["m", "v", "sm", "sv"].map(str::to_owned);
            norm.outputs.extend(statistics);
        } else {
            norm.outputs.extend(["m", "v"].map(str::to_owned));
            *norm = norm.clone().with("training_mode", 1);
        }
        save(&graph.to_model(usize::MAX).0, &at("trains.onnx")).unwrap();
        for head in ["paper", "linear"] {
            let output = tune(
                &at("trains.onnx"),
                &at("photos"),
                &at("run"),
                &["--head", head],
            )
            .output()
            .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{opset} {head}: {said}");
            for words in ["`norm2` (BatchNormalization)", "it is in training mode"] {
                assert!(said.contains(words), "{opset} {head}: {said}");
            }
            assert!(!at("run").exists());
        }
    }
}

#[test]
fn a_folder_with_other_files_is_not_touched() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let at = |name: &str| scene.at(name);
    std::fs::create_dir(at("run")).unwrap();
    std::fs::write(at("run/mine.txt"), "mine").unwrap();
    let settings = format!("{QUICK} --strategies head");
    let refused = scene.tune("run", &settings).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(std::fs::read_dir(at("run")).unwrap().count(), 1);

    scene
        .tune("run", &settings)
        .arg("--force")
        .assert()
        .success();
    assert_eq!(std::fs::read_to_string(at("run/mine.txt")).unwrap(), "mine");
    assert!(at("run/winners/head.onnx").exists());
}
