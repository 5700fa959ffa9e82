//! Runs that are killed and go on.

use std::time::{Duration, Instant};

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
    if has_runtime() {
        goes_on_to_the_same_bytes(SETTINGS, KILLS);
    }
}

#[test]
fn so_does_one_whose_optimizer_is_in_the_graph() {
    if has_runtime() {
        let in_graph =
            "--optimizer-in-graph --strategies full,last2,spottune --ema 0.9 --clip-norm 1";
        let settings = SETTINGS.replace("--strategies all", in_graph);
        goes_on_to_the_same_bytes(&settings, 6);
    }
}

/// Kills a run of these settings so often at some moment, and has it go on.
fn goes_on_to_the_same_bytes(settings: &str, most: usize) {
    let scene = Scene::new();
    let whole = scene.whole(settings);
    let mut share = shares();
    let mut moment = || whole.mul_f64(0.02 + 0.9 * share());
    let (mut kills, mut runs, mut resumed) = (0, 0, 0);
    while kills < most {
        runs += 1;
        let run = format!("broken{runs}");
        let mut child = scene.start(&run, settings);
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
                false => scene.start(&run, settings),
            };
            if kills >= most {
                succeeds(child);
                break;
            }
        }
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
    }
    println!("{kills} kills in {runs} runs of {whole:?}, {resumed} of them resumed");
    assert!(resumed >= most / 2, "{resumed}");
}

#[test]
fn a_damaged_checkpoint_costs_the_trial_and_nothing_else() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    for damage in ["flipped bit", "cut"] {
        let mut child = scene.start(damage, SETTINGS);
        let checkpoint = || {
            let trials = std::fs::read_dir(scene.at(damage).join("trials")).ok()?;
            let files = trials
                .flatten()
                .map(|t| t.path().join("checkpoint.safetensors"));
            files.into_iter().find(|f| f.is_file())
        };
        wait("checkpoint", || checkpoint().is_some());
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
            let text = scene.resume_telling(damage);
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
    // What killed sessions did before their first trial had ended is in no clock of the run.
    let results = json(&scene.at("run/results.json"));
    let clock = |value: &serde_json::Value| value["clock"].as_f64().unwrap();
    let ready = clock(&results["strategies"][0]);
    assert!(0.0 < ready && ready <= clock(&results), "{results}");
}

#[test]
fn a_second_process_is_refused() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--strategies head --epochs 1000000 --search-fraction 0.4 --train-fraction 0.4";
    let mut first = scene.start("run", settings);
    wait("run", || scene.at("run/run.json").is_file());
    let (code, text) = said(scene.resume("run", &[]));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("another process"), "{text}");
}
