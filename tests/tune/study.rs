//! The same run on several models.

use std::path::Path;

use crate::scene::*;
use crate::support::*;

fn study(folder: &Path, models: &str, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = ftsurgery();
    command
        .current_dir(folder)
        .args(["study", "--data", "photos"]);
    let quick: Vec<&str> = QUICK.split(' ').collect();
    let all = [&quick[..], &["--strategies", "head,blocks"], arguments].concat();
    command.args(["--models", models]).args(laborious(&all));
    command.assert()
}

#[test]
fn a_study_has_a_row_per_model_and_goes_on_where_it_ended() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("a.onnx"));
    save_backbone(&at("b.onnx"));
    std::fs::write(at("broken.onnx"), "not a model").unwrap();
    save_photos(&at("photos"), 10);

    let models = "a.onnx,broken.onnx,b.onnx";
    let assert = study(folder.path(), models, &["--out", "study"]).code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("broken"), "{said}");
    let record = json(&at("study/study.json"));
    assert_eq!(record["interrupted"], false);
    let accuracy =
        |model: usize, strategy: usize| record["models"][model]["accuracies"][strategy].as_f64();
    assert!(record["models"][1]["error"].is_string() && accuracy(1, 0).is_none());
    let run = json(&at("study/b/results.json"));
    assert_eq!(
        accuracy(2, 1),
        run["strategies"][1]["held_out_accuracy"].as_f64()
    );
    // Equal models, equal runs: mean and variance are over the two that have all strategies.
    assert_eq!(record["spread"][0]["mean"].as_f64(), accuracy(0, 0));
    assert_eq!(
        (
            &record["spread"][0]["count"],
            &record["spread"][0]["variance"]
        ),
        (&2.into(), &0.0.into())
    );
    let table = std::fs::read_to_string(at("study/study.md")).unwrap();
    assert!(table.starts_with("| model | head | blocks |\n"), "{table}");
    for name in [
        "report.html",
        "study.csv",
        "a/report.html",
        "a/winners/blocks.onnx",
    ] {
        assert!(at("study").join(name).is_file(), "{name}");
    }

    // In place of the one that is broken, a model; the others are not trained again.
    std::fs::copy(at("a.onnx"), at("broken.onnx")).unwrap();
    let winner = std::fs::metadata(at("study/a/winners/head.onnx")).unwrap();
    ftsurgery()
        .current_dir(folder.path())
        .args(["study", "--resume", "study"])
        .assert()
        .success();
    let record = json(&at("study/study.json"));
    assert_eq!(record["spread"][0]["count"], 3);
    let after = std::fs::metadata(at("study/a/winners/head.onnx")).unwrap();
    assert_eq!(winner.modified().unwrap(), after.modified().unwrap());

    let assert = study(folder.path(), models, &["--out", "study"]).code(2);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("--resume"), "{said}");
}

#[test]
fn a_model_has_its_report_when_the_next_begins() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_backbone(&at("a.onnx"));
    save_backbone(&at("b.onnx"));
    save_photos(&at("photos"), 10);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .current_dir(folder.path())
        .args("--quiet study --data photos --models a.onnx,b.onnx --out study".split(' '))
        .args(QUICK.split(' '))
        .args(["--strategies", "head,blocks"])
        .spawn()
        .unwrap();
    wait("second run", || at("study/b/run.json").is_file());
    child.kill().unwrap();
    child.wait().unwrap();
    for name in ["report.html", "study.md", "a/report.html", "a/trials.csv"] {
        assert!(at("study").join(name).is_file(), "{name}");
    }
    ftsurgery()
        .current_dir(folder.path())
        .args(["study", "--resume", "study"])
        .assert()
        .success();
    assert!(at("study/b/report.html").is_file());
}
