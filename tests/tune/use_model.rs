//! Using a tuned model.

use crate::scene::*;
use crate::support::*;

/// With a run of the strategy `full` in the folder `run`.
fn tuned() -> Scene {
    let scene = Scene::new();
    let settings = "--strategies full --preprocess signed --search-fraction 0.4 \
                    --train-fraction 0.4 --epochs 12 --lr 3e-3";
    scene.tune("run", settings).assert().success();
    scene
}

#[test]
fn evaluate_finds_the_accuracy_that_tune_reported() {
    if !has_runtime() {
        return;
    }
    let scene = tuned();
    let at = |name: &str| scene.at(name);
    let evaluate = |extra: &[&str]| {
        let mut command = ftsurgery();
        command.arg("evaluate").arg(at("run/winners/full.onnx"));
        command.arg("--data").arg(at("photos")).args(extra);
        command.output().unwrap()
    };
    let split = at("run/split.json").display().to_string();
    let output = evaluate(&["--json", "--split", &split, "--part", "held_out"]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reported = &json(&at("run/results.json"))["strategies"][0]["held_out_accuracy"];
    assert_eq!(&report["accuracy"], reported);
    assert!(
        reported.as_f64() > Some(0.9),
        "colours are easy to tell: {reported}"
    );
    let held_out = json(&at("run/split.json"))["held_out"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(report["samples"], held_out);
    let counted: u64 = report["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[2].as_u64().unwrap())
        .sum();
    assert_eq!(counted, held_out as u64);

    let text = String::from_utf8(evaluate(&[]).stdout).unwrap();
    for part in [
        "accuracy",
        "precision",
        "recall",
        "F1",
        "blue",
        "on 36 samples",
    ] {
        assert!(text.contains(part), "{text}");
    }

    // Fewer classes than the model's are matched by name; others are refused by name.
    std::fs::remove_dir_all(at("photos/blue")).unwrap();
    let output = evaluate(&["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["classes"][0]["support"], 0);
    assert!(report["accuracy"].as_f64() > Some(0.9), "{report}");
    std::fs::rename(at("photos/green"), at("photos/yellow")).unwrap();
    let output = evaluate(&[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"yellow\""), "{said}");
}

#[test]
fn predict_names_the_classes_and_survives_a_broken_image() {
    if !has_runtime() {
        return;
    }
    let scene = tuned();
    let at = |name: &str| scene.at(name);
    std::fs::write(at("broken.png"), "nothing").unwrap();
    let predict = |images: &[&str]| {
        let mut command = ftsurgery();
        command.arg("predict").arg(at("run/winners/full.onnx"));
        command
            .args(images.iter().map(|i| at(i)))
            .args(["--top", "2", "--json"]);
        command.output().unwrap()
    };
    let output = predict(&["photos/red/00.png", "photos/blue/01.png"]);
    assert!(output.status.success(), "{output:?}");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list[0]["classes"][0]["name"], "red");
    assert_eq!(list[1]["classes"][0]["name"], "blue");
    assert_eq!(list[0]["classes"].as_array().unwrap().len(), 2);

    let output = predict(&["broken.png", "photos/red/00.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("broken.png")
    );
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(list[0]["error"].is_string());
    assert_eq!(list[1]["classes"][0]["name"], "red");
}
