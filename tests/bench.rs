//! `ftsurgery bench` as its users see it.

use std::path::Path;

use assert_cmd::Command;
use ftsurgery::runtime::testing::has_runtime;
use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx-models/fashion_mobilenet.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "bench"]).arg(model);
    command.args("--batch-size 2 --steps 3 --warmup 1".split(' '));
    command.args(arguments);
    command
}

fn report(arguments: &[&str]) -> Value {
    let assert = bench(arguments).arg("--json").assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn a_step_of_the_whole_network_is_timed_and_trains() {
    if !has_runtime() {
        return;
    }
    let report = report(&["--lr", "1e-3"]);
    let seconds = &report["seconds"];
    assert_eq!(seconds["all"].as_array().unwrap().len(), 3);
    let (median, fastest) = (seconds["median"].as_f64(), seconds["fastest"].as_f64());
    assert!(median >= fastest && fastest > Some(0.0));
    let losses: Vec<f64> = serde_json::from_value(report["losses"].clone()).unwrap();
    assert_eq!(losses.len(), 4);
    assert!(losses[3] < losses[0], "{losses:?}");
    let (forward, backward) = (
        report["flops"]["forward"].as_u64().unwrap(),
        report["flops"]["backward"].as_u64().unwrap(),
    );
    assert!(backward > forward && backward < 2 * forward);
}

#[test]
fn frozen_layers_are_run_in_every_step_and_change_nothing_at_rate_0() {
    if !has_runtime() {
        return;
    }
    let names = report(&[])["trained"].clone();
    let last = names.as_array().unwrap().last().unwrap().as_str().unwrap();
    let head = report(&["--train", last, "--lr", "0"]);
    assert_eq!(head["trained"], serde_json::json!([last]));
    assert!(head["seconds"]["prefix"].as_f64() > Some(0.0));
    let losses: Vec<f64> = serde_json::from_value(head["losses"].clone()).unwrap();
    assert!(losses.iter().all(|l| *l == losses[0]), "{losses:?}");
}

#[test]
fn the_figures_are_told_to_people_too() {
    if !has_runtime() {
        return;
    }
    let assert = bench(&[]).assert().success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    for word in ["median of 3", "gradients", "GFLOP/s"] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

#[test]
fn each_class_may_be_told_by_itself() {
    if !has_runtime() {
        return;
    }
    let report = report(&["--task", "multi-label", "--lr", "1e-3"]);
    assert_eq!(report["task"], "multi-label");
    let losses: Vec<f64> = serde_json::from_value(report["losses"].clone()).unwrap();
    assert!(losses[3] < losses[0], "{losses:?}");
}

#[test]
fn a_pattern_that_matches_nothing_is_bad_input() {
    bench(&["--train", "nothing.*"]).assert().code(2).stdout("");
}
