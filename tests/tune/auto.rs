//! What gradients say of where to train, and the strategy that looks there.

use std::process::Stdio;

use serde_json::Value;

use crate::elsewhere::{assert_same_results, plan, to_the_end};
use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 \
                        --search-epochs 2 --search halving --strategies head,auto --head linear --head-init solved \
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
    scene.whole(&format!("{SETTINGS} --budget none"));
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
    // Halving: the best go on, with what is joined of them, the others end early.
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
    let joined = |id: &str| id.starts_with("auto-joined-");
    let further = on.iter().filter(|id| joined(id)).count();
    let begun = on.len() + ended.len() - further;
    assert_eq!(on.len() - further, begun.div_ceil(3));
    assert!(!ended.is_empty() && ended.iter().all(|id| epochs(id) == [1]));
    for &id in &on {
        let own = asked.iter().find(|r| r["id"] == *id).unwrap();
        assert_eq!(own["rung"], if joined(id) { 2 } else { 1 });
    }
    let results = json(&run.join("results.json"));
    let auto = &results["strategies"][1];
    assert_eq!(auto["name"], "auto");
    assert!(run.join("winners/auto.onnx").is_file());
    // Those that come to the last rung are compared, and no others.
    let certainty = &auto["certainty"];
    assert_eq!(certainty["candidates"].as_array().unwrap().len(), on.len());
    assert_eq!(certainty["earlier"], ended.len());
    // What it has cost is counted, and is within what was planned.
    let planned = &allowance(&run)["cost"];
    let cost = &auto["search_cost"];
    assert_eq!(cost["exhaustive"], planned["exhaustive"]);
    let [spent, most] = [&cost["operations"], &planned["most"]].map(|n| n.as_u64().unwrap());
    assert!(0 < spent && spent <= most, "{cost} {planned}");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("What auto looked at"));
    for part in ["after 1 epoch", "Relative gradient norm", "best of"] {
        assert!(report.contains(part), "{part}");
    }
}

#[test]
fn trained_whole_the_best_by_validation_is_the_winner_and_no_trial_is_done_twice() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = SETTINGS
        .replace("--search halving", "--search whole")
        .replace("head,auto", "head,last40%,auto --monitor loss");
    scene.whole(&format!("{settings} --budget none"));
    let run = scene.at("whole");
    // Nothing is trained on the search part, and what another strategy trains is a trial of both.
    let asked = asked(&run);
    assert!(asked.iter().all(|r| r["phase"] == "train"), "{asked:?}");
    let ids: Vec<&str> = asked.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..2], ["head-train", "last40-percent-train"]);
    assert!(ids.len() > 4, "{ids:?}");
    let distinct: std::collections::BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let trials = lines(&run.join("trials.jsonl"));
    let shared = trials
        .iter()
        .find(|t| t["same_as"] == "last40-percent-train");
    let of_auto: Vec<&Value> = trials
        .iter()
        .filter(|t| t["id"].as_str().unwrap().starts_with("auto-"))
        .collect();
    assert!(
        shared.unwrap()["id"]
            .as_str()
            .unwrap()
            .starts_with("auto-last-")
    );
    // The least loss wins, and the winner's figures are those of its trial.
    let loss = |t: &Value| t["validation"]["loss"].as_f64().unwrap();
    let best = of_auto
        .iter()
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .unwrap();
    let results = json(&run.join("results.json"));
    let auto = &results["strategies"][2];
    assert_eq!(auto["candidate"], best["candidate"]);
    assert_eq!(auto["monitored"].as_f64().unwrap(), loss(best));
    assert_eq!(auto["searched"]["candidates"], of_auto.len());
    let certainty = &auto["certainty"]["candidates"];
    assert_eq!(certainty.as_array().unwrap().len(), of_auto.len());
    let planned = &allowance(&run)["cost"];
    let [spent, most] =
        [&auto["search_cost"]["operations"], &planned["most"]].map(|n| n.as_u64().unwrap());
    assert!(0 < spent && spent <= most, "{auto} {planned}");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    for part in [
        "What auto looked at",
        "after 2 epochs",
        "Each was trained as a winner is",
        "for 2 epochs and measured on",
    ] {
        assert!(report.contains(part), "{part}");
    }
    assert!(
        !run.join("trials/auto-all-train/parameters.safetensors")
            .exists()
    );

    // Stopped between its trials it comes to the same.
    let mut child = scene.start("stopped", &format!("{settings} --budget none"));
    let trials = scene.at("stopped/trials.jsonl");
    wait("trial of auto", || {
        std::fs::read_to_string(&trials).is_ok_and(|text| text.contains("\"auto-all-train\""))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    succeeds(scene.resume("stopped", &[]));
    assert_same_results(&scene.at("whole"), &scene.at("stopped"));
}

#[test]
fn of_trainings_that_are_better_together_the_average_is_the_winner() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    // A third of the photos is in the folder of another class: what is learnt of these by heart is noise.
    for (from, to) in [("red", "green"), ("green", "blue"), ("blue", "red")] {
        for place in [1, 4, 7, 10] {
            let folder = scene.at("photos").join(from);
            let photo = folder.join(format!("{place:02}.png"));
            let other = scene
                .at("photos")
                .join(to)
                .join(format!("of-{from}-{place:02}.png"));
            std::fs::rename(photo, other).unwrap();
        }
    }
    let settings = SETTINGS
        .replace("--search halving", "--search whole")
        .replace("--epochs 2", "--epochs 4 --seed 2")
        .replace("--lr 1e-3", "--lr 1e-2")
        .replace("head,auto", "head,last40%,auto --monitor loss");
    let settings = format!("{settings} --budget none");
    scene.whole(&settings);
    let run = scene.at("whole");
    let results = json(&run.join("results.json"));
    let auto = &results["strategies"][2];
    let trials = lines(&run.join("trials.jsonl"));
    let averaged = auto["averaged"].as_array();
    let averaged = averaged.unwrap_or_else(|| panic!("{auto} {trials:?}"));
    assert!(averaged.len() > 1, "{auto}");
    assert!(
        auto["candidate"].as_str().unwrap().ends_with(", averaged"),
        "{auto}"
    );
    // It is better than each of those that it is made of, and its file is what was measured.
    let monitored = auto["monitored"].as_f64().unwrap();
    for id in averaged {
        let trial = trials.iter().find(|t| t["id"] == *id).unwrap();
        assert!(
            monitored < trial["validation"]["loss"].as_f64().unwrap(),
            "{trial}"
        );
    }
    assert_eq!(auto["trial"], averaged[0]);
    let (by_file, _) = evaluate(
        scene.path(),
        "whole/winners/auto.onnx --data photos --split whole/split.json --part held_out",
    );
    assert_eq!(by_file["accuracy"], auto["held_out_accuracy"]);
    let (by_file, _) = evaluate(
        scene.path(),
        "whole/winners/auto.onnx --data photos --split whole/split.json --part validation",
    );
    assert!((by_file["loss"].as_f64().unwrap() - monitored).abs() < 1e-5);

    // Lost, it is made again of the same trainings, which are then made again.
    let winner = run.join("winners/auto.onnx");
    let whole = std::fs::read(&winner).unwrap();
    std::fs::remove_file(&winner).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["tune", "--resume"]).arg(&run);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(std::fs::read(&winner).unwrap() == whole);
    // By its own figures it is the best, not by those of its first trial.
    assert!(text.contains("best by validation loss: auto\n"), "{text}");
    // And when the process is killed before it.
    let mut child = scene.start("stopped", &settings);
    let trials = scene.at("stopped/trials.jsonl");
    wait("trial of auto", || {
        std::fs::read_to_string(&trials).is_ok_and(|text| text.contains("\"auto-all-train\""))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    succeeds(scene.resume("stopped", &[]));
    assert!(std::fs::read(scene.at("stopped/winners/auto.onnx")).unwrap() == whole);
}

/// How far the search of `auto` goes, as `run.json` says.
fn allowance(run: &std::path::Path) -> Value {
    let recorded = json(&run.join("run.json"));
    let mut strategies = recorded["strategies"].as_array().unwrap().iter();
    strategies.find(|s| s["name"] == "auto").unwrap()["allowance"].clone()
}

/// The candidates of `auto` that were begun.
fn begun(run: &std::path::Path) -> std::collections::BTreeSet<String> {
    let ids = asked(run)
        .into_iter()
        .map(|r| r["id"].as_str().unwrap().to_owned());
    ids.filter(|id| id.starts_with("auto-") && id.ends_with("-search"))
        .collect()
}

#[test]
fn a_budget_decides_how_many_are_begun_and_one_is_at_least() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let tune = |run: &str, more: &[&str]| -> (usize, Value, String) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
        command.arg("tune").arg(scene.at("model.onnx"));
        command.arg("--data").arg(scene.at("photos"));
        command.arg("--out").arg(scene.at(run));
        command.args(SETTINGS.split_whitespace());
        let output = command.args(more).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let run = scene.at(run);
        let results = json(&run.join("results.json"));
        let auto = results["strategies"][1].clone();
        assert!(auto["model"].is_string(), "{auto}");
        (begun(&run).len(), auto["search_cost"].clone(), told)
    };
    let number = |cost: &Value, name: &str| cost[name].as_u64().unwrap();
    let (all, cost, told) = tune("all", &["--budget", "none"]);
    assert!(told.contains("`auto` begins"), "{told}");
    assert_eq!(cost["budget"], Value::Null);
    // By itself it takes what a winner takes, but compares some in any case.
    let (usual, cost, told) = tune("usual", &[]);
    assert!(3 <= usual && usual < all, "{usual} of {all}");
    assert!(
        number(&cost, "budget") > 0 && !told.contains("too little"),
        "{told}"
    );
    // Of so few layers there is not much more to try than what `auto` looks at.
    let (fewer, cost, told) = tune("fewer", &["--budget-share", "1"]);
    assert!(1 < fewer && fewer < all, "{fewer} of {all}");
    assert!(!told.contains("too little"), "{told}");
    assert!(number(&cost, "operations") <= number(&cost, "budget"));
    let (one, cost, told) = tune("one", &["--budget-share", "0.000001"]);
    assert_eq!(one, 1);
    assert!(told.contains("too little for one candidate"), "{told}");
    assert!(number(&cost, "operations") > number(&cost, "budget"));
    let report = std::fs::read_to_string(scene.at("one/report.html")).unwrap();
    assert!(report.contains("not begun: budget"));
    // A run goes on with the budget that it began with.
    let (code, told) = said(scene.resume("one", &["--budget-share", "1"]));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--budget-share"), "{told}");
}

#[test]
fn in_other_processes_a_search_at_a_budget_comes_to_the_same() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{SETTINGS} --budget-share 1");
    scene.whole(&settings);
    let asked = plan(&scene, "run", &settings);
    to_the_end(&scene, "run", asked);
    let [whole, run] = ["whole", "run"].map(|run| scene.at(run));
    assert_same_results(&whole, &run);
    assert_eq!(allowance(&whole), allowance(&run));
}

#[test]
fn a_time_is_measured_once_and_what_follows_is_recorded() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{SETTINGS} --budget 1h");
    let mut killed = scene.start("run", &settings);
    wait("requests", || scene.at("run/requests.jsonl").is_file());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let run = scene.at("run");
    let began = allowance(&run);
    let rate = began["cost"]["per_second"].as_f64().unwrap();
    assert!(rate > 0.0);
    let budget = began["cost"]["budget"].as_f64().unwrap();
    assert!((budget / rate / 3600.0 - 1.0).abs() < 1e-6);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("budget = \"1h\""), "{config}");
    succeeds(scene.resume("run", &[]));
    assert_eq!(allowance(&run), began);
    let results = json(&run.join("results.json"));
    assert_eq!(
        results["strategies"][1]["search_cost"]["per_second"],
        began["cost"]["per_second"]
    );
}

#[test]
fn a_budget_without_auto_or_with_an_exhaustive_search_is_refused() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(4);
    for settings in [
        "--strategies head,blocks --budget 10m",
        "--strategies blocks --budget-share 0.1",
        "--strategies auto --search exhaustive --budget 10m",
        "--strategies auto --budget 10",
        "--strategies auto --budget-share 0",
        "--strategies auto --budget 10m --budget-share 0.1",
    ] {
        let (code, told) = said(scene.start("run", settings));
        assert_eq!(code, Some(2), "{settings}: {told}");
        assert!(told.contains("--budget"), "{settings}: {told}");
    }
}

#[test]
fn an_exhaustive_run_that_is_asked_for_auto_says_that_it_goes_on_so() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = SETTINGS.replace("head,auto", "head,blocks");
    let settings = settings.replace("--search halving ", "");
    succeeds(scene.start("run", &settings));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["tune", "--resume"]).arg(scene.at("run"));
    let output = command.args(["--strategies", "auto"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("exhaustive search, by which it goes on"),
        "{told}"
    );
    assert_eq!(allowance(&scene.at("run")), Value::Null);
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
    // The head that was solved for the scores is that with which the search begins.
    assert!(scene.at("run/heads/search.safetensors").is_file());
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
    // How model and data were read, as `evaluate` says it.
    assert_eq!(parsed["preprocess_from"], "flag");
    assert!(parsed["preprocess"]["scale"].is_f64());
    assert_eq!(parsed["skipped"], serde_json::json!([]));
    let classes = parsed["classes"].as_array().unwrap().iter();
    assert!(classes.clone().all(Value::is_string) && classes.count() > 1);
    assert_eq!(parsed["task"], "single-label");
    let drawn = scores(&["--json", "--head-init", "random"]);
    assert_ne!(drawn, both[0]);
}
