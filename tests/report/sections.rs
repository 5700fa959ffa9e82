//! What is on the page and in the table of trials.

use std::fs;

use ftsurgery::report;
use ftsurgery::run::RunFiles;

use crate::fake::{HOSTILE, Shape, USUAL};
use crate::support::*;

#[test]
fn a_whole_run_has_every_section_and_figure() {
    let folder = reported(USUAL);
    let page = page(&folder);
    for id in [
        "summary",
        "search",
        "strategies",
        "repeats",
        "curves",
        "confusion",
        "data",
        "failures",
        "setup",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for id in [
        "parameters",
        "search-layers",
        "search-blocks",
        "search-windows",
        "best-search",
        "best-training",
        "repeats-figure",
        "curve-loss",
        "curve-accuracy",
        "confusion-head",
        "confusion-random3",
    ] {
        assert!(page.contains(&format!("<figure id=\"{id}\">")), "{id}");
    }
    assert!(page.contains("data:image/jpeg;base64,"));
    for time in ["Ready after", "1:30 min", "The whole run took 1:35 min"] {
        assert!(page.contains(time), "{time}");
    }
    // The photos of the other classes are not there.
    assert!(page.contains("no file"));
    for name in ["http:", "https:", "<script", "url("] {
        assert!(!page.contains(name), "{name}");
    }
}

#[test]
fn names_of_files_classes_and_layers_cannot_become_part_of_the_page() {
    let folder = reported(Shape {
        hostile: true,
        ..USUAL
    });
    let page = page(&folder);
    for harm in ["<script", "<img src=x", "</script"] {
        assert!(!page.contains(harm), "{harm}");
    }
    assert!(page.contains("&lt;script&gt;document.title"));
}

#[test]
fn two_thousand_classes_are_listed_by_their_commonest_confusions() {
    let page = page_of(
        Shape {
            classes: 2000,
            ..ONE_SEED
        },
        |root| {
            let size = fs::metadata(root.join("results.json")).unwrap().len();
            assert!(size < 1 << 20, "{size}");
        },
    );
    assert!(page.contains("<div id=\"confusion-head\">"));
    assert!(page.contains("The commonest confusions"));
    assert!(page.len() < 2 << 20, "{}", page.len());
}

#[test]
fn an_unfinished_run_has_a_report_of_what_is_there() {
    let page = page_after(|root| {
        fs::remove_file(root.join("results.json")).unwrap();
        let trials = root.join("trials.jsonl");
        let text = fs::read_to_string(&trials).unwrap();
        fs::write(&trials, &text[..text.len() / 2]).unwrap();
    });
    assert!(page.contains("The run is not finished: 0 of 8 strategies have ended."));
    assert!(page.contains("<figure id=\"search-layers\">"));
    assert!(!page.contains("id=\"confusion\""));

    let page = page_of(ONE_SEED, |root| {
        edit(root, "results.json", |results| {
            results["interrupted"] = true.into();
            results["strategies"].as_array_mut().unwrap().truncate(1);
        });
    });
    assert!(page.contains("The run was stopped before its end: 1 of 8 strategies have ended."));
    assert!(page.contains("not known, as it has no held-out figure in this run"));
}

#[test]
fn a_failed_strategy_and_its_reason_are_told() {
    let page = page_after(|root| {
        edit(root, "results.json", |results| {
            let full = &mut results["strategies"][1];
            full["candidate"] = serde_json::Value::Null;
            full["model"] = serde_json::Value::Null;
            full["error"] = "training has diverged at step 7".into();
        });
    });
    assert!(page.contains("Strategies without a model"));
    assert!(page.contains("training has diverged at step 7"));
    assert!(!page.contains("confusion-full"));
}

#[test]
fn the_table_of_trials_reads_back() {
    let folder = reported(Shape {
        hostile: true,
        ..USUAL
    });
    let files = RunFiles::read(&folder.path().join("run")).unwrap();
    let mut reader = csv::Reader::from_path(folder.path().join("run/trials.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|h| h == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), files.trials.len());
    for (row, trial) in rows.iter().zip(&files.trials) {
        assert_eq!(&row[column("trial")], trial.id);
        assert_eq!(&row[column("layers")], trial.layers.join(" "));
        let accuracy = trial
            .validation
            .map_or(String::new(), |v| v.accuracy.to_string());
        assert_eq!(&row[column("validation_accuracy")], accuracy);
        assert_eq!(&row[column("error")], trial.error.as_deref().unwrap_or(""));
    }
    assert!(
        rows.iter()
            .any(|row| row[column("layers")].contains(HOSTILE))
    );
}

#[test]
fn data_that_are_gone_are_said_to_be_so() {
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    assert_eq!(report::write(&root).unwrap(), None);
    assert!(!page(&folder).contains("any more when this page was made"));
    fs::remove_dir_all(folder.path().join("photos")).unwrap();
    let lack = report::write(&root).unwrap().unwrap();
    assert!(
        lack.contains("photos") && lack.contains("without pictures"),
        "{lack}"
    );
    assert!(page(&folder).contains("any more when this page was made"));
}
