//! Ctrl-C and its kin, once and twice.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ftsurgery::testing;
use serde_json::json;

use crate::scene::*;
use crate::support::*;

/// Several strategies in little time, on one thread: a stop then meets a step most of the time.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 12 \
                        --search-epochs 6 --batch-size 4 --strategies layers,blocks,full --threads 1 \
                        --head linear --lr 1e-2";

/// Double stops of the test with the most of them.
const STOPS: u32 = 50;

/// A set of signals of a process, signal 1 in the lowest bit; none where Linux does not tell.
fn mask(process: &str, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(which));
    let digits = line.map_or("", |l| l.trim_start_matches(':').trim());
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// Waits until the process takes Ctrl-C itself, which it does before it opens anything.
fn hears(child: &Child) {
    const INTERRUPT: u64 = 1 << (2 - 1);
    if !cfg!(target_os = "linux") {
        std::thread::sleep(Duration::from_millis(150));
        return;
    }
    let id = child.id().to_string();
    wait("handler of signals", || {
        mask(&id, "SigCgt") & INTERRUPT != 0
    });
}

#[test]
fn two_stops_at_any_moment_change_nothing_in_what_comes_of_the_run() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let whole = scene.whole(SETTINGS);
    let mut share = shares();
    let (mut stopped, mut runs) = (0, 0);
    while stopped < STOPS {
        runs += 1;
        let run = format!("run{runs}");
        let mut child = scene.start(&run, SETTINGS);
        loop {
            std::thread::sleep(whole.mul_f64(0.95 * share()));
            send(&child, "-INT");
            std::thread::sleep(Duration::from_micros((3000.0 * share()) as u64));
            send(&child, "-INT");
            let (code, text) = said(child);
            stopped += 1;
            match code {
                Some(0) => break,
                // Before the handler is there, the signal itself ends the process.
                Some(130) | None => {}
                other => panic!("{other:?}: {text}"),
            }
            child = match scene.at(&run).join("run.json").is_file() {
                true => scene.resume(&run, &[]),
                false => scene.start(&run, SETTINGS),
            };
            if stopped >= STOPS {
                succeeds(child);
                break;
            }
        }
        let failed = trials(&scene.at(&run));
        assert!(failed.values().all(|t| t["error"].is_null()), "{failed:?}");
        succeeds(scene.resume(&run, &[]));
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
    }
    println!("{stopped} double stops in {runs} runs of {whole:?}");
}

#[test]
fn a_stop_ends_with_the_exit_code_of_its_signal_and_a_way_to_go_on() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(SETTINGS);
    for (signal, exit) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if signal == "-HUP" && mask("self", "SigIgn") & 1 != 0 {
            testing::skip("SIGHUP", "it is ignored here, as under nohup, and stays so");
            continue;
        }
        let run = format!("run{signal}");
        let child = scene.start(&run, SETTINGS);
        let begun = scene.at(&run).join("trials");
        wait("trial", || begun.is_dir());
        send(&child, signal);
        let (code, text) = said(child);
        assert_eq!(code, Some(exit), "{text}");
        assert!(text.contains("tune --resume"), "{text}");
        let results = json(&scene.at(&run).join("results.json"));
        assert_eq!(results["interrupted"], json!(true));
        succeeds(scene.resume(&run, &[]));
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
        // What has ended is left as it is.
        let written = || {
            let winner = std::fs::metadata(scene.at(&run).join("winners/full.onnx"));
            winner.unwrap().modified().unwrap()
        };
        let before = written();
        succeeds(scene.resume(&run, &["--json"]));
        assert_eq!(written(), before);
    }
}

#[test]
fn a_stop_in_the_middle_of_a_trial_keeps_its_epochs() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--strategies head --epochs 1000000 --search-fraction 0.4 --train-fraction 0.4";
    let child = scene.start("run", settings);
    let metrics = scene.at("run/trials/head-train/metrics.jsonl");
    wait("epoch", || {
        std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0)
    });
    send(&child, "-INT");
    let (code, text) = said(child);
    assert_eq!(code, Some(130), "{text}");
    let results = json(&scene.at("run/results.json"));
    assert_eq!(results["interrupted"], true);
    assert_eq!(results["strategies"], json!([]));
    assert!(!lines(&metrics).is_empty(), "every line is whole");
}

/// `nohup` begins a process with SIGHUP ignored.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let mut command = Command::new("sh");
    let script = r#"trap "" HUP; exec "$0" "$@""#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_ftsurgery")]);
    command
        .args(["--quiet", "tune"])
        .arg(scene.at("model.onnx"));
    command.arg("--data").arg(scene.at("photos"));
    command.arg("--out").arg(scene.at("run"));
    let settings: Vec<&str> = SETTINGS.split_whitespace().collect();
    command.args(laborious(&settings));
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    wait("trial", || scene.at("run/trials").is_dir());
    send(&child, "-HUP");
    succeeds(child);
}

#[test]
fn a_stop_before_the_run_begins_leaves_a_folder_that_the_same_command_takes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    // Enough images that they are still being decoded.
    save_photos(&scene.at("photos"), 1500);
    let child = scene.start("run", SETTINGS);
    hears(&child);
    let start = Instant::now();
    send(&child, "-INT");
    let (code, text) = said(child);
    assert_eq!(code, Some(130), "{text}");
    assert!(start.elapsed() < Duration::from_secs(2), "{text}");
    assert!(!scene.at("run/run.json").exists());
    std::fs::remove_dir_all(scene.at("photos")).unwrap();
    save_photos(&scene.at("photos"), 12);
    succeeds(scene.start("run", SETTINGS));
}
