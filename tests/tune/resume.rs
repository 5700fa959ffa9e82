//! Runs that go on with what is there: lost files, failed trials, figures that are no numbers, odd paths.

use std::process::Command;

use serde_json::json;

use crate::scene::*;
use crate::support::*;

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
fn a_trial_that_failed_without_diverging_is_tried_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies blocks --head linear --lr 1e-2");
    scene.whole(&settings);
    succeeds(scene.start("run", &settings));
    // As a version wrote it that took any error for a result.
    let path = scene.at("run/trials.jsonl");
    let mut records = lines(&path);
    for record in &mut records {
        record["error"] = json!("onnxruntime failed to run: bad allocation");
        record["validation"] = json!(null);
    }
    let text: String = records.iter().map(|r| format!("{r}\n")).collect();
    std::fs::write(&path, text).unwrap();
    std::fs::remove_file(scene.at("run/results.json")).unwrap();
    succeeds(scene.resume("run", &[]));
    assert_same_outcome(&scene.at("whole"), &scene.at("run"));
    assert_eq!(lines(&path).len(), records.len(), "no trial twice");
}

#[test]
fn figures_that_are_not_finite_do_not_make_a_run_unreadable() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head")));
    let path = scene.at("run/results.json");
    let mut results = json(&path);
    results["strategies"][0]["held_out"]["score"]["loss"] = json!(null);
    std::fs::write(&path, results.to_string()).unwrap();
    ftsurgery()
        .arg("report")
        .arg(scene.at("run"))
        .assert()
        .success();
    succeeds(scene.resume("run", &[]));
    ftsurgery()
        .arg("report")
        .arg(scene.at("run"))
        .assert()
        .success();
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf_8_are_run_and_resumed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let strange = |name: &[u8]| scene.at("").join(OsStr::from_bytes(name));
    let (model, data) = (strange(b"caf\xe9.onnx"), strange(b"\xff"));
    std::fs::rename(scene.at("model.onnx"), &model).unwrap();
    std::fs::rename(scene.at("photos"), &data).unwrap();
    let out = strange(b"r\xfcn");
    let mut command = process();
    command
        .arg(&model)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&out);
    command
        .args(QUICK.split_whitespace())
        .args(["--strategies", "head"]);
    succeeds(command.spawn().unwrap());
    std::fs::remove_file(out.join("winners/head.onnx")).unwrap();
    let mut command = process();
    succeeds(command.arg("--resume").arg(&out).spawn().unwrap());
    assert!(out.join("winners/head.onnx").is_file());
    let study = strange(b"stud\xff");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    // Two models in one value, the first with a preprocessing behind it.
    let mut models = model.clone().into_os_string();
    models.push(":signed,");
    save_backbone(&scene.at("other.onnx"));
    models.push(scene.at("other.onnx"));
    command.args(["--quiet", "study", "--models"]).arg(&models);
    command.arg("--data").arg(&data).arg("--out").arg(&study);
    command
        .args(QUICK.split_whitespace())
        .args(["--strategies", "head"]);
    assert!(command.status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "study", "--resume"]).arg(&study);
    assert!(command.status().unwrap().success());
    let models = json(&study.join("study.json"))["models"].clone();
    assert_eq!(models.as_array().unwrap().len(), 2, "{models}");
    let mut command = ftsurgery();
    command
        .arg("bench")
        .arg(&model)
        .args(["--json", "--steps", "1"]);
    let output = command.assert().success().get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert!(
        report["model"].as_str().unwrap().contains("caf"),
        "{report}"
    );
}
