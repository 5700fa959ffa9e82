//! What gradients say of where to train, and the strategy that looks there.

use std::process::Stdio;

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 \
                        --search-epochs 2 --strategies head,auto --head linear --head-init solved \
                        --lr 1e-3 --threads 1";

fn asked(run: &std::path::Path) -> Vec<Value> {
    lines(&run.join("requests.jsonl"))
}

#[test]
fn a_few_sets_of_blocks_are_looked_at_and_the_best_is_trained() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    let run = scene.at("whole");
    let scores = json(&run.join("scores.json"));
    let blocks = scores["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 3, "{scores}");
    for unit in blocks.iter().chain(scores["layers"].as_array().unwrap()) {
        for score in [
            "relative_gradient",
            "signal_to_noise",
            "fisher",
            "fisher_per_cost",
            "gain",
        ] {
            assert!(unit[score].as_f64().unwrap() > 0.0, "{score}: {unit}");
        }
    }
    // The two most promising blocks are tried alone, and together.
    let mut ranked: Vec<&Value> = blocks.iter().collect();
    ranked.sort_by(|a, b| {
        let of = |unit: &Value| unit["relative_gradient"].as_f64().unwrap();
        of(b).total_cmp(&of(a))
    });
    let asked = asked(&run);
    let tried: Vec<&str> = asked.iter().map(|r| r["id"].as_str().unwrap()).collect();
    for unit in &ranked[..2] {
        let name = unit["name"].as_str().unwrap();
        // The last block is the last 20 % as well.
        let alone = format!("auto-{name}-search");
        assert!(
            name == "block3" || tried.contains(&alone.as_str()),
            "{tried:?}"
        );
    }
    // Halving: the best go on, the others end early.
    let epochs = |id: &str| -> Vec<u64> {
        let of = asked.iter().filter(|r| r["id"] == id);
        of.map(|r| r["epochs"].as_u64().unwrap()).collect()
    };
    let (on, ended): (Vec<&str>, Vec<&str>) = tried
        .iter()
        .filter(|id| id.starts_with("auto-") && id.ends_with("-search"))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .partition(|id| epochs(id).ends_with(&[2]));
    assert_eq!(on.len(), 2, "{asked:?}");
    assert!(!ended.is_empty() && ended.iter().all(|id| epochs(id) == [1]));
    let results = json(&run.join("results.json"));
    let auto = &results["strategies"][1];
    assert_eq!(auto["name"], "auto");
    assert!(run.join("winners/auto.onnx").is_file());
    // Those that come to the last rung are compared, and no others.
    let certainty = &auto["certainty"];
    assert_eq!(certainty["candidates"].as_array().unwrap().len(), on.len());
    assert_eq!(certainty["earlier"], ended.len());
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("what auto looked at"));
}

#[test]
fn a_run_goes_on_with_the_scores_that_it_began_with() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    let mut killed = scene.start("run", SETTINGS);
    wait("requests", || scene.at("run/requests.jsonl").is_file());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let scores = read(&scene.at("run/scores.json"));
    succeeds(scene.resume("run", &[]));
    assert_eq!(read(&scene.at("run/scores.json")), scores);
    assert_same_outcome(&scene.at("whole"), &scene.at("run"));
}

fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn scores_are_printed_as_a_table_as_json_and_as_a_page() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let scores = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command
            .args(["--quiet", "scores"])
            .arg(scene.at("model.onnx"));
        command.arg("--data").arg(scene.at("photos"));
        command.args([
            "--preprocess",
            "signed",
            "--head",
            "linear",
            "--samples",
            "9",
        ]);
        let output = command
            .args(more)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let page = scene.at("scores.html");
    let table = scores(&["--html", &page.to_string_lossy()]);
    for part in [
        "block1",
        "conv3",
        "rgn",
        "from the gradients of 9 samples",
        "█",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Relative gradient norm") && page.contains("<svg"));
    let both = [scores(&["--json"]), scores(&["--json"])];
    assert_eq!(both[0], both[1], "the same command gives the same");
    let parsed: Value = serde_json::from_str(&both[0]).unwrap();
    assert_eq!(parsed["samples"], 9);
    let solved = scores(&["--json", "--head-init", "solved"]);
    assert_ne!(solved, both[0]);
}
