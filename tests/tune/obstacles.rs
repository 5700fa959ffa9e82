//! Operators without a gradient rule: refused before training where a strategy needs them, left
//! aside where it does not.

use std::path::Path;

use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::{Model, save};

use crate::support::*;

/// The backbone with a Hardmax, which has no rule, over the value `at`.
fn save_obstructed(path: &Path, at: &str) {
    save_backbone(path);
    let mut graph = Graph::from_model(&Model::open(path).unwrap()).unwrap();
    graph.replace_uses(at, "hard");
    let node = Node::new("obstacle", "Hardmax", &[at], &["hard"]).with("axis", 1);
    graph.nodes.push(node);
    graph.sort().unwrap();
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

#[test]
fn a_strategy_that_cannot_work_is_refused_with_those_that_can() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_photos(&at("photos"), 6);
    for (value, strategies, first, working) in [
        (
            "pool2",
            "head,full,blocks",
            "`full`",
            "`head`, `layers` (1 of 3 candidates), `top3` (1 of 3 candidates), `top5` (1 of 3 \
             candidates), `blocks` (1 of 3 candidates)",
        ),
        ("pool3", "head,blocks", "`blocks`", ": `head`\n"),
    ] {
        save_obstructed(&at("model.onnx"), value);
        let arguments = [
            &QUICK.split(' ').collect::<Vec<_>>()[..],
            &["--strategies", strategies],
        ];
        let output = tune(
            &at("model.onnx"),
            &at("photos"),
            &at("run"),
            &arguments.concat(),
        )
        .output()
        .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in [
            first,
            "Hardmax",
            "`obstacle`",
            "parameter `c",
            working,
            "--strategies",
        ] {
            assert!(said.contains(word), "no {word} in {said}");
        }
        assert!(!at("run").exists());
    }
}

#[test]
fn candidates_behind_the_obstacle_are_tried_and_the_others_recorded() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_obstructed(&at("model.onnx"), "pool2");
    save_photos(&at("photos"), 12);
    let arguments = [
        &QUICK.split(' ').collect::<Vec<_>>()[..],
        &["--strategies", "head,blocks"],
    ];
    tune(
        &at("model.onnx"),
        &at("photos"),
        &at("run"),
        &arguments.concat(),
    )
    .assert()
    .success();
    let run = json(&at("run/run.json"));
    assert_eq!(run["strategies"][0]["skipped"], serde_json::json!([]));
    let skipped = run["strategies"][1]["skipped"].as_array().unwrap();
    let ids: Vec<_> = skipped.iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["blocks-block2", "blocks-block1"]);
    assert!(skipped[0]["reason"].as_str().unwrap().contains("Hardmax"));
    let trials = lines(&at("run/trials.jsonl"));
    let mut ids: Vec<_> = trials.iter().map(|t| t["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["blocks-block3-train", "head-train"]);
    assert!(at("run/winners/blocks.onnx").exists());
}

#[test]
fn quantised_models_are_refused_by_the_name_of_the_node() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_photos(&at("photos"), 6);
    for (name, node) in [
        ("quantised_pairs", "`n_quantised` (QuantizeLinear)"),
        ("bfloat16", "bfloat16"),
    ] {
        let model = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/exporters")
            .join(format!("{name}.onnx"));
        for head in ["linear", "keep"] {
            // A new head replaces what is behind the feature map, and with it the bfloat16.
            if (name, head) == ("bfloat16", "linear") {
                continue;
            }
            let output = tune(&model, &at("photos"), &at("run"), &["--head", head])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{name} {head}: {said}");
            assert!(said.contains(node), "{name} {head}: {said}");
            assert!(!at("run").exists());
        }
        ftsurgery()
            .arg("differentiate")
            .arg(&model)
            .arg("--out")
            .arg(at("step.onnx"))
            .assert()
            .code(2);
        ftsurgery().arg("analyze").arg(&model).assert().success();
    }
}
