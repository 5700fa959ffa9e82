//! What the report draws of a search that looks at a few sets of blocks.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use ftsurgery::report;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::check_page;
use crate::fake::HOSTILE;
use crate::support::*;

/// A candidate that trains these layers of the run.
fn candidate(run: &Value, id: &str, label: &str, layers: std::ops::Range<usize>) -> Value {
    let names = run["layers"].as_array().unwrap()[layers].iter();
    let names: Vec<&Value> = names.map(|layer| &layer["name"]).collect();
    json!({"id": id, "label": label, "layers": names, "trainable": ["head.w"]})
}

/// The record of a trial that got so many of 110 photos right.
fn ended(candidate: &Value, rung: usize, epochs: usize, right: usize) -> Value {
    let share = right as f64 / 110.0;
    json!({
        "id": format!("{}-search", candidate["id"].as_str().unwrap()), "strategy": "auto", "phase": "search",
        "candidate": candidate["label"], "layers": candidate["layers"], "trained_parameters": 100_000,
        "validation": {
            "accuracy": share, "balanced_accuracy": share, "macro_f1": share, "loss": 1.0 - share, "count": 110,
        },
        "best_epoch": epochs, "epochs": epochs, "seconds": 3.25, "rung": rung,
    })
}

fn append(path: &Path, lines: &[Value]) {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    fs::write(path, text).unwrap();
}

/// A run with a search of five candidates, one of which diverged, one that was joined of two, and two that a budget
/// did not reach.
fn searched() -> TempDir {
    let folder = reported(ONE_SEED);
    let root = folder.path().join("run");
    let run: Value = serde_json::from_slice(&fs::read(root.join("run.json")).unwrap()).unwrap();
    let long = format!("block1, block2 and 6 more blocks {HOSTILE}");
    let all: Vec<Value> = [
        ("auto-last-4", "last 4 blocks", 15..27),
        ("auto-all", "all layers", 0..27),
        ("auto-block1", "block1", 0..3),
        ("auto-best-8", long.as_str(), 0..24),
        ("auto-last-1", "last block", 24..27),
        ("auto-last-6", "last 6 blocks", 9..27),
        ("auto-last-8", "last 8 blocks", 3..27),
    ]
    .into_iter()
    .map(|(id, label, layers)| candidate(&run, id, label, layers))
    .collect();
    let joined = candidate(&run, "auto-joined-1", "last 4 blocks + block1", 0..20);
    edit(&root, "run.json", |run| {
        run["strategies"].as_array_mut().unwrap().push(json!({
            "name": "auto", "candidates": all, "skipped": [],
            "allowance": {
                "begun": 5, "rungs": [1, 2, 5], "joins": 1,
                "cost": {"exhaustive": 1000, "budget": 50, "scoring": 1, "most": 48},
            },
        }));
    });
    let mut trials: Vec<Value> = (0..5).map(|i| ended(&all[i], 1, 1, 80 + i)).collect();
    trials[1]["validation"] = Value::Null;
    trials[1]["error"] = json!("training has diverged at step 3: the loss is NaN");
    trials[1]["failure"] = json!("diverged");
    trials.extend([ended(&all[4], 2, 2, 90), ended(&all[3], 2, 2, 88)]);
    trials.extend([ended(&joined, 2, 2, 92), ended(&joined, 3, 5, 97)]);
    append(&root.join("trials.jsonl"), &trials);
    append(
        &root.join("requests.jsonl"),
        &[json!({
            "id": "auto-joined-1-search", "round": 3, "phase": "search", "strategy": "auto", "candidate": joined,
            "epochs": 2, "rung": 2,
        })],
    );
    let blocks: Vec<Value> = (1..=9)
        .map(|i| {
            let norm = 1.0 / f64::from(i);
            json!({
                "name": format!("block{i}"), "parameters": 1000, "macs": 10, "relative_gradient": norm,
                "signal_to_noise": 1.0, "fisher": 1.0, "fisher_per_cost": 1.0, "gain": 1.0,
            })
        })
        .collect();
    let scores = json!({"samples": 64, "layers": [], "blocks": blocks});
    fs::write(root.join("scores.json"), scores.to_string()).unwrap();
    edit(&root, "results.json", |results| {
        let mut auto = results["strategies"][1].clone();
        auto["name"] = json!("auto");
        auto["candidate"] = json!("last 4 blocks + block1");
        auto["search_cost"] = json!({"operations": 46, "exhaustive": 1000, "budget": 50});
        results["strategies"].as_array_mut().unwrap().push(auto);
    });
    report::write(&root).unwrap();
    folder
}

#[test]
fn each_candidate_has_the_rungs_that_it_reached_and_the_reason_why_it_ended() {
    let page = page(&searched());
    for (candidate, cells) in [
        (
            "last 4 blocks + block1",
            ["–", "83.64 %", "88.18 %", "best of 1"],
        ),
        (
            "last block",
            ["76.36 %", "81.82 %", "–", "2nd of 3 after 2 epochs"],
        ),
        ("block1", ["74.55 %", "–", "–", "3rd of 4 after 1 epoch"]),
        (
            "last 4 blocks",
            ["72.73 %", "–", "–", "4th of 4 after 1 epoch"],
        ),
        ("all layers", ["–", "–", "–", "failed"]),
        ("last 6 blocks", ["–", "–", "–", "not begun: budget"]),
    ] {
        let start = format!(">{candidate}</th>");
        // Its row is in the table of the search, in no other.
        let rows = page.split("<tr").filter(|row| row.contains(&start));
        let found = rows.filter(|row| {
            cells
                .iter()
                .all(|cell| row.contains(&format!(">{cell}</td>")))
        });
        assert_eq!(found.count(), 1, "{candidate}");
    }
    for told in [
        "4.60 % of the operations of trying every layer, block and window, and all (the budget was 5.00 %)",
        "2 candidates of those that it would have tried were not begun",
        "rank 1 of 9",
        "rank 1, 2, 3, 4, 5, 6, 7, 8 of 9",
        "The gradients of 64 images",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("<script>"));
}

#[test]
fn the_figures_of_the_search_are_drawn_in_full() {
    check_page(&searched(), 19);
}
