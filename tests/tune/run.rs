//! What a run leaves behind.

use ftsurgery::onnx::Model;
use ftsurgery::surgery::untouched_is_identical;

use crate::support::*;

#[test]
fn a_run_writes_what_it_promises() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("model.onnx"));
    save_photos(&at("photos"), 12);
    std::fs::write(at("photos/red/broken.png"), "not a picture").unwrap();
    let quick: Vec<&str> = QUICK.split(' ').collect();
    let output = tune(&at("model.onnx"), &at("photos"), &at("run"), &quick)
        .arg("--json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let run = json(&at("run/run.json"));
    assert_eq!(run["data"]["classes"], serde_json::json!(CLASSES));
    assert_eq!(run["data"]["skipped"][0]["path"], "red/broken.png");
    assert_eq!(run["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(run["configuration"]["optimizer"]["kind"], "adam");

    let split = json(&at("run/split.json"));
    let count = |part: &str| split[part].as_array().unwrap().len();
    let parts = ["search", "validation", "train", "held_out"].map(count);
    assert_eq!(parts.iter().sum::<usize>(), 36, "{parts:?}");
    assert!(parts.iter().all(|&n| n >= 3), "{parts:?}");

    let results = json(&at("run/results.json"));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, results);
    let strategies = results["strategies"].as_array().unwrap();
    let names: Vec<_> = strategies
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["head", "full", "blocks"]);
    for strategy in strategies {
        assert!(strategy["held_out_accuracy"].is_f64(), "{strategy}");
        assert!(strategy["validation_accuracy"].is_f64(), "{strategy}");
        assert!(
            strategy["trained_parameters"].as_u64() > Some(0),
            "{strategy}"
        );
        assert!(strategy["seconds"].as_f64() > Some(0.0), "{strategy}");
    }

    // From the output end, then the winner again.
    let trials = lines(&at("run/trials.jsonl"));
    let ids: Vec<_> = trials.iter().map(|t| t["id"].as_str().unwrap()).collect();
    let searched = ["head-train", "full-train", "blocks-block3-search"];
    assert_eq!(ids[..3], searched);
    assert_eq!(ids[3..5], ["blocks-block2-search", "blocks-block1-search"]);
    let winner = strategies[2]["candidate"].as_str().unwrap();
    assert_eq!(ids[5], format!("blocks-{winner}-train"));
    for (id, trial) in ids.iter().zip(&trials) {
        let metrics = lines(&at(&format!("run/trials/{id}/metrics.jsonl")));
        assert_eq!(metrics.len(), trial["epochs"].as_u64().unwrap() as usize);
        assert!(
            metrics
                .iter()
                .all(|m| m["epoch"].is_u64() && m.get("step").is_none())
        );
    }

    let original = Model::open(&at("model.onnx")).unwrap();
    for strategy in strategies {
        let name = strategy["name"].as_str().unwrap();
        let model = Model::open(&at("run").join(strategy["model"].as_str().unwrap())).unwrap();
        let planned = run["strategies"].as_array().unwrap();
        let plan = planned.iter().find(|p| p["name"] == name).unwrap();
        let candidates = plan["candidates"].as_array().unwrap();
        let candidate = candidates
            .iter()
            .find(|c| c["label"] == strategy["candidate"])
            .unwrap();
        let tuned: Vec<String> = serde_json::from_value(candidate["trainable"].clone()).unwrap();
        assert!(
            !tuned
                .iter()
                .any(|t| t.ends_with(".mean") || t.ends_with(".var"))
        );
        untouched_is_identical(&original, &model, &tuned).unwrap();
        let noted = |key: &str| model.metadata(&format!("ftsurgery.{key}")).unwrap();
        assert_eq!(noted("strategy"), name);
        assert_eq!(noted("classes"), r#"["blue","green","red"]"#);
        assert_eq!(noted("image_size"), "16x16");
        let accuracy: f64 = noted("accuracy").parse().unwrap();
        assert_eq!(Some(accuracy), strategy["held_out_accuracy"].as_f64());
    }
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("model.onnx"));
    save_photos(&at("photos"), 10);
    let mut arguments: Vec<&str> = QUICK.split(' ').collect();
    arguments.extend(["--strategies", "blocks", "--threads", "1", "--seed", "7"]);
    for run in ["a", "b"] {
        let model = &at("model.onnx");
        tune(model, &at("photos"), &at(run), &arguments)
            .assert()
            .success();
    }
    let bytes = |path: &str| std::fs::read(at(path)).unwrap();
    assert!(bytes("a/winners/blocks.onnx") == bytes("b/winners/blocks.onnx"));
    assert_eq!(bytes("a/split.json"), bytes("b/split.json"));
}

#[test]
fn a_diverging_strategy_is_recorded_and_the_others_go_on() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("model.onnx"));
    save_photos(&at("photos"), 12);
    let mut arguments: Vec<&str> = QUICK.split(' ').collect();
    arguments.extend(["--head", "linear", "--optimizer", "sgd", "--lr", "1e30"]);
    arguments.extend(["--strategies", "full,blocks"]);
    let output = tune(&at("model.onnx"), &at("photos"), &at("run"), &arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let results = json(&at("run/results.json"));
    let strategies = results["strategies"].as_array().unwrap();
    assert_eq!(strategies.len(), 2);
    let full = &strategies[0];
    assert!(
        full["error"].as_str().unwrap().contains("diverged"),
        "{full}"
    );
    assert!(full["model"].is_null() && !at("run/winners/full.onnx").exists());
    let trials = lines(&at("run/trials.jsonl"));
    let searched = trials.iter().filter(|t| t["phase"] == "search").count();
    assert_eq!(searched, 3, "every candidate is tried: {trials:?}");
}
