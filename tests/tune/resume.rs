//! Runs that are killed, stopped, resumed, and refused when something has changed.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::*;
use crate::support::*;

/// All strategies, with enough epochs that a kill meets every part of a run.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 40 \
                        --search-epochs 10 --batch-size 4 --strategies all --checkpoint-every 0 \
                        --log-steps --seed 3";

/// Kills of the test with the most of them.
const KILLS: usize = 20;

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
    assert_eq!(code, Some(130), "{text}");
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
fn a_run_goes_on_with_the_threads_and_the_memory_it_began_with_wherever_that_is() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head");
    succeeds(scene.start("run", &settings));
    // As if it had begun on a machine with more cores.
    let path = scene.at("run/run.json");
    let mut record = json(&path);
    let cores = record["configuration"]["threads"].as_u64().unwrap();
    let elsewhere = cores + 3;
    record["configuration"]["threads"] = json!(elsewhere);
    let memory = record["configuration"]["memory_budget"].as_u64().unwrap();
    record["configuration"]["memory_budget"] = json!(memory + 1);
    std::fs::write(&path, record.to_string()).unwrap();
    std::fs::remove_file(scene.at("run/winners/head.onnx")).unwrap();
    succeeds(scene.resume("run", &[]));
    succeeds(scene.resume("run", &["--threads", &elsewhere.to_string()]));
    let (code, text) = said(scene.resume("run", &["--threads", &cores.to_string()]));
    assert_eq!(code, Some(2), "{text}");
    for word in ["--threads", &elsewhere.to_string(), &cores.to_string()] {
        assert!(text.contains(word), "{text}");
    }
}

/// Flags mean what they mean, not how they are written or whether they were needed.
#[test]
fn flags_are_compared_with_what_the_run_has_noted() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head");
    succeeds(scene.start("run", &settings));
    let same = "--lr 0.0001 --image-size 16x16 --dropout 0.50 --optimizer adam --epochs 3 \
                --strategies head";
    let same: Vec<&str> = same.split_whitespace().collect();
    succeeds(scene.resume("run", &same));
    let start = Instant::now();
    let (code, text) = said(scene.resume("run", &["--lr", "0.002"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--lr") && text.contains("1e-4"), "{text}");
    assert!(text.contains("2e-3"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_trial_that_failed_without_diverging_is_tried_again() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies blocks --head linear --lr 1e-2");
    succeeds(scene.start("whole", &settings));
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
    command.args(settings.split_whitespace());
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
fn a_damaged_checkpoint_costs_the_trial_and_nothing_else() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("whole", SETTINGS));
    for damage in ["flipped bit", "cut"] {
        let mut child = scene.start(damage, SETTINGS);
        let checkpoint = || {
            let trials = std::fs::read_dir(scene.at(damage).join("trials")).ok()?;
            let files = trials
                .flatten()
                .map(|t| t.path().join("checkpoint.safetensors"));
            files.into_iter().find(|f| f.is_file())
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while checkpoint().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // It may have been removed in between: then there is nothing to damage.
        if let Some(file) = checkpoint() {
            let mut bytes = std::fs::read(&file).unwrap();
            match damage {
                "cut" => bytes.truncate(bytes.len() / 2),
                _ => *bytes.last_mut().unwrap() ^= 1,
            }
            std::fs::write(&file, bytes).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
            command.args(["tune", "--resume"]).arg(scene.at(damage));
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{text}");
            assert!(text.contains("begins anew"), "{text}");
        } else {
            succeeds(scene.resume(damage, &[]));
        }
        assert_same_outcome(&scene.at("whole"), &scene.at(damage));
    }
}

#[test]
fn seconds_are_those_of_all_sessions() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0 --train-fraction 0.4 --epochs 400 \
                    --strategies full --threads 1 --checkpoint-every 0";
    let mut child = scene.start("run", settings);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        child.kill().unwrap();
        child.wait().unwrap();
        child = match scene.at("run/run.json").is_file() {
            true => scene.resume("run", &[]),
            false => scene.start("run", settings),
        };
    }
    succeeds(child);
    let seconds = |value: &serde_json::Value| value["seconds"].as_f64().unwrap();
    let epochs = lines(&scene.at("run/trials/full-train/metrics.jsonl"));
    let trial = seconds(&lines(&scene.at("run/trials.jsonl"))[0]);
    let last = seconds(epochs.last().unwrap());
    assert!(
        trial >= last,
        "{trial} of all, and {last} at the last epoch"
    );
    let strategy = seconds(&json(&scene.at("run/results.json"))["strategies"][0]);
    assert_eq!(strategy, trial);
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

#[test]
fn a_run_that_goes_on_on_another_kind_of_processor_says_so() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head")));
    let path = scene.at("run/run.json");
    let mut record = json(&path);
    let here = record["versions"]["instructions"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!here.is_empty());
    record["versions"]["instructions"] = json!("abacus");
    std::fs::write(&path, record.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let output = command
        .args(["tune", "--resume"])
        .arg(scene.at("run"))
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("abacus") && text.contains(&here), "{text}");
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
    command.args(["--quiet", "study", "--models"]).arg(&model);
    command.arg("--data").arg(&data).arg("--out").arg(&study);
    command
        .args(QUICK.split_whitespace())
        .args(["--strategies", "head"]);
    assert!(command.status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "study", "--resume"]).arg(&study);
    assert!(command.status().unwrap().success());
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
