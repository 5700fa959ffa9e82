//! Runs whose trials are carried out by other processes.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

/// Several strategies with all that a search has: twins, a winner made of several candidates, one trial
/// that serves two.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 3 \
                        --search-epochs 2 --strategies head,layers,top2,blocks --repeats 2 --lr 1e-2";

/// The lines that `plan` or `collect` prints: the trials that are asked for, and the last.
fn asked(mut command: assert_cmd::Command) -> (Vec<Value>, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|l| serde_json::from_str(l).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let last = lines.pop().unwrap();
    assert_eq!(last["waiting"], lines.len(), "{last}");
    (lines, last)
}

pub fn plan(scene: &Scene, run: &str, settings: &str) -> Vec<Value> {
    let mut command = ftsurgery();
    command.arg("plan").arg(scene.at("model.onnx"));
    command.arg("--data").arg(scene.at("photos"));
    command.arg("--out").arg(scene.at(run));
    let settings: Vec<&str> = settings.split_whitespace().collect();
    command.args(laborious(&settings));
    asked(command).0
}

fn collect(scene: &Scene, run: &str) -> (Vec<Value>, bool) {
    let mut command = ftsurgery();
    command.arg("collect").arg(scene.at(run));
    let (lines, last) = asked(command);
    (lines, last["done"].as_bool().unwrap())
}

fn trial(scene: &Scene, run: &str, ids: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "trial"]).arg(scene.at(run));
    command
        .args(ids)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn id(line: &Value) -> &str {
    line["id"].as_str().unwrap()
}

/// Carries out whatever is asked for, each trial in a process of its own, the last first.
pub fn to_the_end(scene: &Scene, run: &str, mut lines: Vec<Value>) {
    while !lines.is_empty() {
        for line in lines.iter().rev() {
            succeeds(trial(scene, run, &[id(line)]).spawn().unwrap());
        }
        lines = collect(scene, run).0;
    }
    assert!(collect(scene, run).1);
}

/// All that a run has come to, but for what the clock says and how it was carried out.
pub fn assert_same_results(whole: &Path, other: &Path) {
    let winners = files(&whole.join("winners"));
    assert_eq!(files(&other.join("winners")), winners);
    for file in winners {
        let read = |root: &Path| std::fs::read(root.join("winners").join(&file)).unwrap();
        assert!(read(whole) == read(other), "{file} differs");
    }
    let results = |root: &Path| timeless(json(&root.join("results.json")));
    assert_eq!(results(whole), results(other));
    assert_eq!(trials(whole), trials(other));
    let metrics = |root: &Path| -> Vec<String> {
        let all = files(&root.join("trials")).into_iter();
        all.filter(|f| f.ends_with("metrics.jsonl")).collect()
    };
    assert_eq!(metrics(whole), metrics(other));
}

#[test]
fn trials_in_processes_of_their_own_come_to_the_bytes_of_a_run_in_one() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    let lines = plan(&scene, "run", SETTINGS);
    let ids: Vec<&str> = lines.iter().map(id).collect();
    assert!(
        ["head-search", "repeats/2/head-search", "head-train"]
            .iter()
            .all(|id| ids.contains(id)),
        "{ids:?}"
    );
    for line in &lines {
        // What the others are compared with comes first.
        let expected = match id(line).ends_with("head-train") {
            true => (1, 3),
            false => (2, 2),
        };
        let number = |name: &str| line[name].as_u64().unwrap();
        assert_eq!((number("round"), number("epochs")), expected, "{line}");
        assert!(line["flops"].as_u64().is_some() && line["threads"].as_u64() > Some(0));
    }
    to_the_end(&scene, "run", lines);
    assert_same_results(&scene.at("whole"), &scene.at("run"));
    assert_same_results(&scene.at("whole/repeats/2"), &scene.at("run/repeats/2"));
    assert!(scene.at("run/report.html").is_file());
    let left = files(&scene.at("run"));
    let left = left
        .iter()
        .find(|f| f.ends_with("reply.json") || f.contains("safetensors"));
    assert_eq!(left, None, "what has been taken over is removed");
}

#[test]
fn trials_of_a_rewritten_network_in_processes_of_their_own_come_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = SETTINGS.replace("layers,top2", "lora2,lora3");
    scene.whole(&settings);
    let lines = plan(&scene, "run", &settings);
    assert!(lines.iter().any(|line| id(line) == "lora2-search"));
    to_the_end(&scene, "run", lines);
    for run in ["", "/repeats/2"] {
        let [whole, run] = ["whole", "run"].map(|root| scene.at(&format!("{root}{run}")));
        assert_same_results(&whole, &run);
        assert!(run.join("winners/lora3.onnx").is_file());
    }
}

/// Mixed samples and averages, rates that fall by the steps of the last rung: nothing of it depends on where a trial
/// runs, or on which others ran before.
#[test]
fn trials_with_a_recipe_in_processes_of_their_own_come_to_the_same_bytes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 2 \
                    --search-epochs 3 --search halving:3 --strategies head,blocks --lr 1e-2 --head-lr 2e-2 \
                    --layer-decay 0.7 --schedule cosine --warmup 0.5 --clip-norm 1 --label-smoothing 0.1 \
                    --ema 0.9 --mixup 0.4 --cutmix 1";
    scene.whole(settings);
    let lines = plan(&scene, "run", settings);
    to_the_end(&scene, "run", lines);
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

#[test]
fn a_run_begun_for_others_may_be_ended_alone_and_several_trials_may_share_a_process() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = SETTINGS.replace("--repeats 2", "");
    scene.whole(&settings);
    let lines = plan(&scene, "run", &settings);
    let ids: Vec<&str> = lines.iter().map(id).collect();
    succeeds(trial(&scene, "run", &ids[1..3]).spawn().unwrap());
    // Again: what has ended is passed over.
    succeeds(trial(&scene, "run", &ids[..2]).spawn().unwrap());
    let left: Vec<Value> = collect(&scene, "run").0;
    let left: Vec<&str> = left.iter().map(id).collect();
    assert_eq!(left, ids[3..]);
    succeeds(scene.resume("run", &[]));
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

#[cfg(unix)]
#[test]
fn a_trial_that_is_stopped_goes_on_and_one_at_work_is_left_alone() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0 --train-fraction 0.8 --epochs 400 \
                    --validation-fraction 0.1 --strategies full --threads 1 --lr 1e-3 --schedule constant";
    let lines = plan(&scene, "run", settings);
    assert_eq!(lines.len(), 1);
    let metrics = scene.at("run/trials/full-train/metrics.jsonl");
    let begun = || std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0);
    let first = trial(&scene, "run", &["full-train"]).spawn().unwrap();
    wait("epoch", begun);
    // It must not end, on the fastest machine, before it was looked at.
    send(&first, "-STOP");
    let (code, text) = said(trial(&scene, "run", &["full-train"]).spawn().unwrap());
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("another process works on"), "{text}");
    // A run whose trials are with others is not taken from them.
    let (code, text) = said(scene.resume("run", &[]));
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(collect(&scene, "run").0.len(), 1);
    send(&first, "-USR1");
    send(&first, "-CONT");
    let (code, text) = said(first);
    assert_eq!(code, Some(138), "{text}");
    assert!(
        scene
            .at("run/trials/full-train/checkpoint.safetensors")
            .is_file()
    );
    succeeds(trial(&scene, "run", &["full-train"]).spawn().unwrap());
    assert!(collect(&scene, "run").1);
    scene.whole(settings);
    assert_same_results(&scene.at("whole"), &scene.at("run"));
}

#[test]
fn what_is_no_reply_is_asked_for_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0 --validation-fraction 0.2 \
                    --train-fraction 0.4 --epochs 3 --strategies full";
    let lines = plan(&scene, "run", settings);
    let ids: Vec<&str> = lines.iter().map(id).collect();
    assert_eq!(ids, ["full-train"]);
    let at = |name: &str| scene.at("run/trials/full-train").join(name);
    let run = || succeeds(trial(&scene, "run", &["full-train"]).spawn().unwrap());
    let is_asked_again = || assert_eq!(collect(&scene, "run").0.len(), 1);
    run();
    let reply = std::fs::read_to_string(at("reply.json")).unwrap();
    std::fs::write(at("reply.json"), &reply[..reply.len() / 2]).unwrap();
    is_asked_again();
    std::fs::write(
        at("reply.json"),
        reply.replace("\"epochs\": 3", "\"epochs\": 4"),
    )
    .unwrap();
    is_asked_again();
    run();
    let mut values = std::fs::read(at("parameters.safetensors")).unwrap();
    *values.last_mut().unwrap() ^= 1;
    std::fs::write(at("parameters.safetensors"), values).unwrap();
    is_asked_again();
    run();
    assert!(collect(&scene, "run").1);

    for (ids, word) in [
        ("head-train", "head-train"),
        ("../full-train", "../full-train"),
    ] {
        let (code, text) = said(trial(&scene, "run", &[ids]).spawn().unwrap());
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(word) && text.contains("collect"), "{text}");
    }
}
