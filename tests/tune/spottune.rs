//! `spottune`: blocks that are chosen for each image, from the command to the model.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::Model;
use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0 --train-fraction 0.5 --validation-fraction 0.2 --epochs 2 \
                        --head linear --lr 1e-2 --threads 1";

fn of<'v>(results: &'v Value, name: &str) -> &'v Value {
    let mut all = results["strategies"].as_array().unwrap().iter();
    all.find(|s| s["name"] == name).unwrap()
}

#[test]
fn what_leaves_has_the_original_and_choices_and_is_worth_what_is_said_of_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    scene.whole(&format!("{SETTINGS} --strategies head,spottune"));
    let run = scene.at("whole");
    let results = json(&run.join("results.json"));
    let result = of(&results, "spottune");
    assert!(result["error"].is_null(), "{result}");
    let winner = run.join("winners/spottune.onnx");
    let tuned = Graph::from_model(&Model::open(&winner).unwrap()).unwrap();
    let original = Graph::from_model(&Model::open(&scene.at("model.onnx")).unwrap()).unwrap();
    for (name, tensor) in &original.initializers {
        if let Some(own) = tuned.initializers.get(name) {
            assert_eq!(own.data, tensor.data, "{name}");
        }
    }
    assert_eq!(tuned.opset, original.opset);
    assert_eq!(tuned.nodes.iter().filter(|n| n.is("Where")).count(), 3);
    assert!(
        tuned
            .initializers
            .keys()
            .all(|name| !name.ends_with("/noise"))
    );
    // Which blocks are taken is told, in the report as well.
    let gates = &result["gates"];
    assert_eq!(gates["of"], "blocks");
    let blocks = gates["layers"].as_array().unwrap();
    let names: Vec<&Value> = blocks.iter().map(|block| &block["layer"]).collect();
    assert_eq!(names, ["block1", "block2", "block3"]);
    for block in blocks {
        let mean = block["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean), "{block}");
        assert_eq!(block["by_class"].as_array().unwrap().len(), 3);
    }
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("Tuned blocks that spottune takes"));
    // As `evaluate` sees it.
    let mut command = ftsurgery();
    command.arg("evaluate").arg(&winner);
    command.arg("--data").arg(scene.at("photos"));
    command.arg("--split").arg(run.join("split.json"));
    command.args(["--part", "held_out", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["accuracy"], result["held_out_accuracy"]);
}

#[test]
fn a_run_with_noise_that_was_killed_ends_in_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let settings = format!(
        "{SETTINGS} --strategies spottune --spottune-policy features --spottune-blocks block{{2,3}} --checkpoint-every 0"
    );
    scene.whole(&settings);
    let mut child = scene.start("broken", &settings);
    let metrics = scene.at("broken/trials/spottune-train/metrics.jsonl");
    while !metrics.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    succeeds(scene.resume("broken", &[]));
    let winner = |run: &str| std::fs::read(scene.at(run).join("winners/spottune.onnx")).unwrap();
    assert!(winner("whole") == winner("broken"));
}

#[test]
fn flags_of_the_choices_are_for_the_strategy_and_are_kept_with_the_run() {
    let scene = Scene::of(4);
    let refused = |settings: &str, code: i32| {
        let output = scene.tune("run", settings).assert().code(code);
        String::from_utf8_lossy(&output.get_output().stderr).into_owned()
    };
    let text = refused("--strategies adafilter --spottune-policy conv", 2);
    assert!(
        text.contains("--spottune-policy does nothing here"),
        "{text}"
    );
    if !has_runtime() {
        return;
    }
    let none = format!("{SETTINGS} --strategies spottune --spottune-blocks conv9");
    let text = refused(&none, 2);
    assert!(
        text.contains("conv9") && text.contains("block1, block2, block3"),
        "{text}"
    );
    let settings = format!(
        "{SETTINGS} --strategies spottune --spottune-policy features --spottune-blocks conv3"
    );
    scene.tune("run", &settings).assert().success();
    let record = json(&scene.at("run/run.json"));
    let kept = &record["configuration"]["spottune"];
    assert_eq!(
        (&kept["policy"], &kept["blocks"][0]),
        (&"features".into(), &"conv3".into())
    );
    let toml = std::fs::read_to_string(scene.at("run/config.toml")).unwrap();
    assert!(toml.contains("spottune-policy = \"features\""), "{toml}");
    let (code, text) = said(scene.resume("run", &["--spottune-policy", "conv"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn variants_of_one_run_share_no_trial_and_a_run_is_extended_by_choices() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let first = "--strategies adafilter --adafilter-layers all";
    scene
        .tune("run", &format!("{SETTINGS} {first}"))
        .assert()
        .success();
    let more = "--strategies adafilter,spottune --spottune-blocks all --spottune-policy features";
    let more: Vec<&str> = more.split_whitespace().collect();
    succeeds(scene.resume("run", &more));
    let record = json(&scene.at("run/run.json"));
    let candidate = &record["strategies"][1]["candidates"][0];
    let rewrite = &candidate["rewrite"]["spot_tune"];
    assert_eq!(rewrite["policy"], "features");
    assert_eq!(rewrite["blocks"].as_array().unwrap().len(), 3);
    let results = json(&scene.at("run/results.json"));
    let trial = |name: &str| of(&results, name)["trial"].as_str().unwrap().to_owned();
    assert_eq!(
        [trial("adafilter"), trial("spottune")],
        ["adafilter-train", "spottune-train"]
    );
    // And goes on as it was extended.
    succeeds(scene.resume("run", &[]));
}
