//! Runs that are killed, stopped, resumed, and refused when something has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// All strategies, with enough epochs that a kill meets every part of a run.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 40 \
                        --search-epochs 10 --batch-size 4 --strategies all --checkpoint-every 0 \
                        --log-steps --seed 3";

/// Kills of the test with the most of them.
const KILLS: usize = 20;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        save_backbone(&folder.path().join("model.onnx"));
        save_photos(&folder.path().join("photos"), 12);
        Scene { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, run: &str, settings: &str) -> Child {
        let mut command = process();
        command.arg(self.at("model.onnx")).arg("--data");
        command
            .arg(self.at("photos"))
            .arg("--out")
            .arg(self.at(run));
        command.args(settings.split_whitespace()).spawn().unwrap()
    }

    fn resume(&self, run: &str, arguments: &[&str]) -> Child {
        let mut command = process();
        command.arg("--resume").arg(self.at(run)).args(arguments);
        command.spawn().unwrap()
    }
}

fn process() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "tune"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn said(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn succeeds(child: Child) {
    let (code, text) = said(child);
    assert_eq!(code, Some(0), "{text}");
}

/// A value without what the clock says.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.remove("seconds");
            for entry in map.values_mut() {
                *entry = timeless(entry.take());
            }
        }
        Value::Array(list) => {
            for entry in list {
                *entry = timeless(entry.take());
            }
        }
        _ => {}
    }
    value
}

fn trials(run: &Path) -> BTreeMap<String, Value> {
    let lines = lines(&run.join("trials.jsonl")).into_iter().map(timeless);
    lines
        .map(|t| (t["id"].as_str().unwrap().to_owned(), t))
        .collect()
}

/// Every file below `root`, relative to it.
fn files(root: &Path) -> Vec<String> {
    let mut list: Vec<String> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .map(|e| e.path().strip_prefix(root).unwrap().display().to_string())
        .collect();
    list.sort();
    list
}

fn assert_same_outcome(whole: &Path, broken: &Path) {
    let [all, found] = [whole, broken].map(|root| BTreeSet::from_iter(files(root)));
    let without = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
        a.difference(b).cloned().collect()
    };
    let differences = [without(&all, &found), without(&found, &all)];
    let same = differences.iter().all(Vec::is_empty);
    assert!(same, "missing and too many: {differences:?}");
    for file in files(whole) {
        let read = |root: &Path| std::fs::read(root.join(&file)).unwrap();
        if file.starts_with("winners") || file == "split.json" {
            assert!(read(whole) == read(broken), "{file} differs");
        }
        if file.ends_with("metrics.jsonl") {
            let metrics = |root: &Path| -> Vec<Value> {
                lines(&root.join(&file)).into_iter().map(timeless).collect()
            };
            assert_eq!(metrics(whole), metrics(broken), "{file}");
        }
    }
    let results = |root: &Path| timeless(json(&root.join("results.json")));
    assert_eq!(results(whole), results(broken));
    assert_eq!(trials(whole), trials(broken));
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let start = Instant::now();
    succeeds(scene.start("whole", SETTINGS));
    let whole = start.elapsed();
    let mut random = 2_463_534_242_u32;
    let mut moment = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        whole.mul_f64(0.02 + 0.9 * f64::from(random) / f64::from(u32::MAX))
    };
    let (mut kills, mut runs, mut resumed) = (0, 0, 0);
    while kills < KILLS {
        runs += 1;
        let run = format!("broken{runs}");
        let mut child = scene.start(&run, SETTINGS);
        loop {
            let end = Instant::now() + moment();
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if child.try_wait().unwrap().is_some() {
                succeeds(child);
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            // Before run.json is there, no run has begun.
            child = match scene.at(&run).join("run.json").is_file() {
                true => {
                    resumed += 1;
                    scene.resume(&run, &[])
                }
                false => scene.start(&run, SETTINGS),
            };
            if kills >= KILLS {
                succeeds(child);
                break;
            }
        }
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
    }
    println!("{kills} kills in {runs} runs of {whole:?}, {resumed} of them resumed");
    assert!(resumed >= KILLS / 2, "{resumed}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_followed_by_a_way_to_go_on() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("whole", SETTINGS));
    let child = scene.start("run", SETTINGS);
    let begun = scene.at("run/trials");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !begun.is_dir() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let (code, text) = said(child);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("tune --resume"), "{text}");
    assert_eq!(
        json(&scene.at("run/results.json"))["interrupted"],
        json!(true)
    );
    succeeds(scene.resume("run", &[]));
    assert_same_outcome(&scene.at("whole"), &scene.at("run"));
    // What has ended is left as it is.
    let before = std::fs::metadata(scene.at("run/winners/full.onnx")).unwrap();
    succeeds(scene.resume("run", &["--json"]));
    let after = std::fs::metadata(scene.at("run/winners/full.onnx")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[test]
fn a_lost_model_is_made_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head,blocks");
    succeeds(scene.start("run", &settings));
    let winner = scene.at("run/winners/blocks.onnx");
    let bytes = std::fs::read(&winner).unwrap();
    std::fs::write(&winner, &bytes[..bytes.len() / 2]).unwrap();
    succeeds(scene.resume("run", &[]));
    assert!(std::fs::read(&winner).unwrap() == bytes);
}

#[test]
fn a_checkpoint_of_a_trial_that_has_ended_is_removed() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head,blocks")));
    let whole = files(&scene.at("run"));
    for trial in ["head-search", "head-train"] {
        let folder = scene.at("run/trials").join(trial);
        std::fs::write(folder.join("checkpoint.safetensors"), "left").unwrap();
    }
    succeeds(scene.resume("run", &[]));
    assert_eq!(files(&scene.at("run")), whole);
}

/// What is trained beside a strategy, and which frozen values it reads, must not depend on whether
/// another strategy failed in this process or in an earlier one: rounded frozen values show it.
#[test]
fn a_run_goes_on_to_the_same_bytes_after_a_strategy_has_failed() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!(
        "{QUICK} --head linear --optimizer sgd --lr 1000 --strategies select,head --train c2.w \
         --feature-precision f16"
    );
    let (code, text) = said(scene.start("run", &settings));
    assert_eq!(code, Some(1), "{text}");
    let winner = scene.at("run/winners/head.onnx");
    let bytes = std::fs::read(&winner).unwrap();
    let mut results = json(&scene.at("run/results.json"));
    let strategies = results["strategies"].as_array_mut().unwrap();
    assert!(
        strategies[0]["error"]
            .as_str()
            .unwrap()
            .contains("diverged")
    );
    // As if it had been killed before `head` ended.
    strategies.truncate(1);
    results["interrupted"] = json!(true);
    std::fs::write(scene.at("run/results.json"), results.to_string()).unwrap();
    let trials = std::fs::read_to_string(scene.at("run/trials.jsonl")).unwrap();
    let others = trials.lines().filter(|l| !l.contains("head-train"));
    let others: String = others.map(|l| format!("{l}\n")).collect();
    std::fs::write(scene.at("run/trials.jsonl"), others).unwrap();
    std::fs::remove_file(&winner).unwrap();
    let (code, text) = said(scene.resume("run", &[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(std::fs::read(&winner).unwrap() == bytes);
}

#[test]
fn a_second_process_is_refused() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--strategies head --epochs 1000000 --search-fraction 0.4 --train-fraction 0.4";
    let mut first = scene.start("run", settings);
    let begun = scene.at("run/run.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !begun.is_file() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, text) = said(scene.resume("run", &[]));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("another process"), "{text}");
}

#[test]
fn what_has_changed_is_refused_by_name() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head --lr 1e-3");
    succeeds(scene.start("run", &settings));
    let refused = |arguments: &[&str], words: &[&str]| {
        let (code, text) = said(scene.resume("run", arguments));
        assert_eq!(code, Some(2), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    };
    succeeds(scene.resume("run", &["--lr", "1e-3"]));
    refused(&["--lr", "1e-4"], &["--lr", "1e-3", "1e-4"]);
    refused(
        &["--strategies", "head,full"],
        &["--strategies", "head,full"],
    );
    refused(&["--bn", "batch"], &["--bn", "frozen", "batch"]);

    let photo = scene.at("photos/red/00.png");
    let bytes = std::fs::read(&photo).unwrap();
    let other = std::fs::read(scene.at("photos/blue/00.png")).unwrap();
    std::fs::write(&photo, other).unwrap();
    refused(&[], &["the data", "changed"]);
    std::fs::write(&photo, bytes).unwrap();

    let model = scene.at("model.onnx");
    std::fs::copy(&model, scene.at("old.onnx")).unwrap();
    let changed = ftsurgery::onnx::Model::open(&model).unwrap();
    let mut proto = changed.proto.clone();
    proto.doc_string = Some("changed".to_owned());
    drop(changed);
    ftsurgery::onnx::save(&proto, &model).unwrap();
    refused(&[], &["the model", "changed"]);
    std::fs::copy(scene.at("old.onnx"), &model).unwrap();
    succeeds(scene.resume("run", &[]));

    let (code, text) = said(scene.resume("nowhere", &[]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("nowhere"), "{text}");
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
