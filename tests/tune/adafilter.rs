//! `adafilter`: gates that choose filters for each image, from the command to the model.

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
fn what_leaves_has_the_original_and_gates_and_is_worth_what_is_said_of_it() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let settings = format!(
        "{SETTINGS} --strategies head,adafilter --adafilter-layers all --adafilter-share 0.5"
    );
    scene.whole(&settings);
    let run = scene.at("whole");
    let results = json(&run.join("results.json"));
    let result = of(&results, "adafilter");
    assert!(result["error"].is_null(), "{result}");
    let winner = run.join("winners/adafilter.onnx");
    let tuned = Graph::from_model(&Model::open(&winner).unwrap()).unwrap();
    let original = Graph::from_model(&Model::open(&scene.at("model.onnx")).unwrap()).unwrap();
    for (name, tensor) in &original.initializers {
        if let Some(own) = tuned.initializers.get(name) {
            assert_eq!(own.data, tensor.data, "{name}");
        }
    }
    let chosen = tuned.nodes.iter().filter(|n| n.is("Where")).count();
    assert_eq!(chosen, result["layers"].as_array().unwrap().len());
    assert!(tuned.nodes.iter().all(|n| !n.name.contains("straight")));
    // What is taken for which image is told, in the report as well.
    let gates = &result["gates"];
    let layers = gates["layers"].as_array().unwrap();
    assert_eq!(layers.len(), chosen);
    for layer in layers {
        let mean = layer["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean), "{layer}");
        assert_eq!(layer["by_class"].as_array().unwrap().len(), 3);
    }
    assert_eq!(gates["most"].as_array().unwrap().len(), 5);
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("What is taken for which image"));
    // As `evaluate` sees it.
    let mut command = ftsurgery();
    command
        .arg("evaluate")
        .arg(&winner)
        .arg("--data")
        .arg(scene.at("photos"));
    command
        .arg("--split")
        .arg(run.join("split.json"))
        .args(["--part", "held_out", "--json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["accuracy"], result["held_out_accuracy"]);
}

#[test]
fn a_run_that_was_killed_ends_in_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let settings =
        format!("{SETTINGS} --strategies adafilter --adafilter-start half --checkpoint-every 0");
    scene.whole(&settings);
    let mut child = scene.start("broken", &settings);
    let metrics = scene.at("broken/trials/adafilter-train/metrics.jsonl");
    while !metrics.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    succeeds(scene.resume("broken", &[]));
    let winner = |run: &str| std::fs::read(scene.at(run).join("winners/adafilter.onnx")).unwrap();
    assert!(winner("whole") == winner("broken"));
}

#[test]
fn flags_of_the_gates_are_for_the_strategy_and_are_kept_with_the_run() {
    let scene = Scene::of(4);
    let output = scene
        .tune("run", "--strategies head --adafilter-gate ones")
        .assert()
        .code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        text.contains("--adafilter-gate does nothing here"),
        "{text}"
    );
    if !has_runtime() {
        return;
    }
    let settings =
        format!("{SETTINGS} --strategies adafilter --adafilter-gate ones --adafilter-layers all");
    scene.tune("run", &settings).assert().success();
    let record = json(&scene.at("run/run.json"));
    let kept = &record["configuration"]["adafilter"];
    assert_eq!(
        (&kept["gate"], &kept["layers"][0]),
        (&"ones".into(), &"all".into())
    );
    let toml = std::fs::read_to_string(scene.at("run/config.toml")).unwrap();
    assert!(toml.contains("adafilter-gate = \"ones\""), "{toml}");
    let (code, text) = said(scene.resume("run", &["--adafilter-gate", "zeros"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_run_without_gates_is_extended_by_a_strategy_that_has_them() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    scene
        .tune("run", &format!("{SETTINGS} --strategies head"))
        .assert()
        .success();
    let more = "--strategies head,adafilter --adafilter-layers all --adafilter-width 4 --adafilter-gate random";
    let more: Vec<&str> = more.split_whitespace().collect();
    succeeds(scene.resume("run", &more));
    let record = json(&scene.at("run/run.json"));
    let candidate = &record["strategies"][1]["candidates"][0];
    let rewrite = &candidate["rewrite"]["ada_filter"];
    assert_eq!(
        (&rewrite["gate"], &rewrite["width"]),
        (&"random".into(), &4.into())
    );
    // And goes on as it was extended.
    succeeds(scene.resume("run", &[]));
}

#[test]
fn gates_that_are_the_same_for_all_images_leave_with_their_copies() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let base = format!("{SETTINGS} --strategies adafilter --adafilter-layers all --adafilter-bake");
    let nodes = |model: &std::path::Path| {
        let graph = Graph::from_model(&Model::open(model).unwrap()).unwrap();
        let nodes = graph.nodes.iter().map(|n| n.op_type.clone());
        let first = graph
            .initializers
            .keys()
            .filter(|n| n.starts_with("ftsurgery/adafilter/") && n.ends_with("/logits/weight"));
        let gated = first.map(|n| graph.initializers[n].dims[0]).sum::<usize>();
        (nodes.collect::<Vec<_>>(), gated)
    };
    // The head is grafted as anywhere.
    scene
        .tune("head", &format!("{SETTINGS} --strategies head"))
        .assert()
        .success();
    let (plain, _) = nodes(&scene.at("head/winners/head.onnx"));
    for gate in ["ones", "zeros"] {
        scene
            .tune(gate, &format!("{base} --adafilter-gate {gate}"))
            .assert()
            .success();
        let (of_gate, _) = nodes(&scene.at(gate).join("winners/adafilter.onnx"));
        assert_eq!(of_gate, plain, "{gate}");
    }
    scene
        .tune("half", &format!("{base} --adafilter-start half"))
        .assert()
        .success();
    let results = json(&scene.at("half/results.json"));
    let gates = &of(&results, "adafilter")["gates"];
    let sum = |what: &str| {
        let layers = gates["layers"].as_array().unwrap().iter();
        layers.map(|l| l[what].as_u64().unwrap()).sum::<u64>()
    };
    let left = gates["left"].as_u64().unwrap();
    assert!(
        left >= sum("gates") - sum("always") - sum("never"),
        "{gates}"
    );
    assert!(left < sum("gates"), "{gates}");
    let (_, gated) = nodes(&scene.at("half/winners/adafilter.onnx"));
    assert_eq!(gated as u64, left);
    let report = std::fs::read_to_string(scene.at("half/report.html")).unwrap();
    assert!(report.contains(&format!("in the model {left} of")));
}
