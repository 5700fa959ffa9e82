//! What a run leaves behind.

use ftsurgery::onnx::Model;
use ftsurgery::testing::only_tuned;

use crate::runtimes::assert_tract_agrees;
use crate::scene::*;
use crate::support::*;

#[test]
fn a_run_writes_what_it_promises() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    std::fs::write(at("photos/red/broken.png"), "not a picture").unwrap();
    let output = scene.tune("run", QUICK).arg("--json").output().unwrap();
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

    // The head for good, then what needs no search, then all candidates, then the other winners.
    let trials = lines(&at("run/trials.jsonl"));
    let ids: Vec<_> = trials.iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..2], ["head-train", "full-train"]);
    let mut searched = ids[2..7].to_vec();
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
    let of_winner = format!("blocks-{winner}-train");
    assert_eq!(ids[7..], [&of_winner]);
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
        only_tuned(&original, &model, &tuned).unwrap();
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

#[test]
fn the_same_command_gives_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(10);
    let at = |name: &str| scene.at(name);
    let settings = format!("{QUICK} --strategies blocks --threads 1 --seed 7");
    for run in ["a", "b"] {
        scene.tune(run, &settings).assert().success();
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
    let scene = Scene::new();
    let at = |name: &str| scene.at(name);
    let settings =
        format!("{QUICK} --head linear --optimizer sgd --lr 1e30 --strategies full,blocks");
    let output = scene.tune("run", &settings).output().unwrap();
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

#[test]
fn candidates_that_diverge_are_told_of_and_stay_out() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    // The third convolution explodes, the head alone does not.
    let settings = format!(
        "{QUICK} --head linear --optimizer sgd --lr 1e6 --strategies layers,head --batch-size 4"
    );
    let mut command = process();
    command.arg(scene.at("model.onnx")).arg("--data");
    command
        .arg(scene.at("photos"))
        .arg("--out")
        .arg(scene.at("run"));
    let settings: Vec<&str> = settings.split_whitespace().collect();
    command.args(laborious(&settings));
    command.stdout(std::process::Stdio::piped());
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let diverged: Vec<_> = lines(&scene.at("run/trials.jsonl"))
        .into_iter()
        .filter(|t| t["error"].is_string())
        .collect();
    assert!(!diverged.is_empty());
    assert!(diverged.iter().all(|t| t["failure"] == "diverged"));
    let results = json(&scene.at("run/results.json"));
    let searched = &results["strategies"][0]["searched"];
    assert_eq!(searched["candidates"], 3);
    let count = searched["diverged"].as_u64().unwrap();
    assert!(count > 0);
    assert!(printed.contains("candidates"), "{printed}");
}

#[test]
fn repetitions_have_folders_of_their_own_and_a_spread() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head,blocks --repeats 3 --seed 5");
    succeeds(scene.start("run", &settings));
    let results = json(&scene.at("run/results.json"));
    let seeds: Vec<u64> = results["repeats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [5, 6, 7]);
    let accuracies: Vec<f64> = (0..3)
        .map(|i| {
            results["repeats"][i]["strategies"][0]["held_out_accuracy"]
                .as_f64()
                .unwrap()
        })
        .collect();
    let mean = accuracies.iter().sum::<f64>() / 3.0;
    let spread = &results["spread"][0];
    assert_eq!(spread["name"], "head");
    assert!((spread["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    // A repetition is the run that its seed alone gives.
    let alone = format!("{QUICK} --strategies head,blocks --seed 7");
    succeeds(scene.start("alone", &alone));
    let bytes = |path: &str| std::fs::read(scene.at(path)).unwrap();
    assert!(bytes("alone/winners/blocks.onnx") == bytes("run/repeats/3/winners/blocks.onnx"));
    succeeds(scene.resume("run", &[]));
    assert_eq!(json(&scene.at("run/results.json")), results);
}
