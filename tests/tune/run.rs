//! What a run leaves behind.

use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Device, Runtime, locate};
use ftsurgery::surgery::untouched_is_identical;
use ftsurgery::training::Inference;
use tract_onnx::prelude::*;

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
    let mut searched = ids[..5].to_vec();
    searched.sort_unstable();
    let expected = [
        "blocks-block1",
        "blocks-block2",
        "blocks-block3",
        "full",
        "head",
    ];
    assert_eq!(searched, expected.map(|id| format!("{id}-search")));
    let winner = strategies[2]["candidate"].as_str().unwrap();
    let mut retrained = ids[5..].to_vec();
    retrained.sort_unstable();
    let of_winner = format!("blocks-{winner}-train");
    assert_eq!(retrained, [&of_winner, "full-train", "head-train"]);
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
        assert_tract_agrees(&model);
        let noted = |key: &str| model.metadata(&format!("ftsurgery.{key}")).unwrap();
        assert_eq!(noted("strategy"), name);
        assert_eq!(noted("classes"), r#"["blue","green","red"]"#);
        assert_eq!(noted("image_size"), "16x16");
        for accuracy in ["held_out_accuracy", "validation_accuracy"] {
            let share: f64 = noted(accuracy).parse().unwrap();
            assert_eq!(Some(share), strategy[accuracy].as_f64());
        }
    }
}

/// Runs a model of 16 × 16 images in onnxruntime and in tract.
fn assert_tract_agrees(model: &Model) {
    let pixels: Vec<f32> = (0..3 * 16 * 16).map(|i| (i as f32 * 0.37).sin()).collect();
    let runtime = Runtime::load(&locate::locate(None).unwrap().located).unwrap();
    let mut inference = Inference::new(&runtime, model, Device::Cpu, 1).unwrap();
    let ours = inference
        .run(&[3, 16, 16], 1, &mut |_, values| {
            values.copy_from_slice(&pixels);
            Ok(())
        })
        .unwrap();
    let input = Tensor::from_shape(&[1, 3, 16, 16], &pixels).unwrap();
    let tract = tract_onnx::onnx()
        .model_for_path(model.path())
        .and_then(|m| m.with_input_fact(0, f32::fact([1, 3, 16, 16]).into()))
        .and_then(|m| m.into_optimized())
        .and_then(|m| m.into_runnable())
        .and_then(|m| m.run(tvec!(input.into())))
        .unwrap();
    let theirs = tract[0].to_array_view::<f32>().unwrap();
    assert_eq!(theirs.len(), ours.values.len());
    for (a, b) in ours.values.iter().zip(&theirs) {
        assert!((a - b).abs() < 1e-4, "{:?} {theirs}", ours.values);
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
    assert_eq!(searched, 4, "every candidate is tried: {trials:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_with_what_it_has() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("model.onnx"));
    save_photos(&at("photos"), 12);
    let settings = "--strategies head --epochs 1000000 --search-fraction 0.4 --train-fraction 0.4";
    let child = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .arg("tune")
        .arg(at("model.onnx"))
        .args(settings.split(' '))
        .arg("--data")
        .arg(at("photos"))
        .arg("--out")
        .arg(at("run"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = at("run/trials/head-train/metrics.jsonl");
    let begun = || std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !begun() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let results = json(&at("run/results.json"));
    assert_eq!(results["interrupted"], true);
    assert_eq!(results["strategies"], serde_json::json!([]));
    assert!(!lines(&metrics).is_empty(), "every line is whole");
}
