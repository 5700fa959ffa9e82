//! The report of a run, as a user gets it: `ftsurgery report RUN`.

mod browser;
mod fake;
mod tensorboard;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use ftsurgery::report;
use ftsurgery::search::RunFiles;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

use fake::{HOSTILE, Shape, USUAL};

/// The folder of a run that never was, with its report. Two of its classes have photos.
fn reported(shape: Shape) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("run");
    let data = folder.path().join("photos");
    fs::create_dir(&root).unwrap();
    for class in ["daisy", "dandelion"] {
        fs::create_dir_all(data.join(class)).unwrap();
        for i in 0..3u8 {
            let picture = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 6, 80 * i]));
            picture
                .save(data.join(class).join(format!("{i:02}.png")))
                .unwrap();
        }
    }
    fake::write(&root, &data, shape);
    report::write(&root).unwrap();
    folder
}

fn page(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("run/report.html")).unwrap()
}

/// Changes a JSON file of the run.
fn edit(root: &Path, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = root.join(name);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The page of the usual run, whose files were changed.
fn page_after(change: impl FnOnce(&Path)) -> String {
    page_of(USUAL, change)
}

/// The page of a run whose files were changed.
fn page_of(shape: Shape, change: impl FnOnce(&Path)) -> String {
    let folder = reported(shape);
    let root = folder.path().join("run");
    change(&root);
    report::html(&RunFiles::read(&root).unwrap())
}

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

const ONE_SEED: Shape = Shape {
    repeats: false,
    ..USUAL
};

/// Makes `blocks` the best by validation, by far.
fn make_blocks_best(root: &Path) {
    let trials = root.join("trials.jsonl");
    let lines = fs::read_to_string(&trials).unwrap();
    let best = |line: &str| {
        let mut trial: serde_json::Value = serde_json::from_str(line).unwrap();
        if trial["strategy"] == "blocks" && trial["phase"] == "train" {
            trial["validation"]["accuracy"] = 1.0.into();
        }
        format!("{trial}\n")
    };
    fs::write(&trials, lines.lines().map(best).collect::<String>()).unwrap();
}

/// The page where `blocks` alone is right on so many held-out samples, and the others alone on so many;
/// they share 34 mistakes.
fn verdict_of(blocks_alone: usize, others_alone: usize) -> String {
    page_of(ONE_SEED, |root| {
        edit(root, "results.json", |results| {
            for strategy in results["strategies"].as_array_mut().unwrap() {
                let own = match strategy["name"] == "blocks" {
                    true => 100..100 + others_alone,
                    false => 300..300 + blocks_alone,
                };
                let wrong: Vec<usize> = (0..34).chain(own).collect();
                let accuracy = (fake::HELD_OUT - wrong.len()) as f64 / fake::HELD_OUT as f64;
                strategy["held_out_accuracy"] = accuracy.into();
                strategy["held_out"]["score"]["accuracy"] = accuracy.into();
                strategy["held_out"]["wrong"] = wrong.into();
            }
        });
        make_blocks_best(root);
    })
}

#[test]
fn the_verdict_compares_winners_sample_by_sample() {
    let near = verdict_of(60, 50);
    assert!(near.contains("Best by validation accuracy: blocks"));
    assert_eq!(
        near.matches("Within noise: on 734 held-out images").count(),
        2
    );
    assert!(near.contains("<strong>88.56 %</strong> (650 of 734 images"));
    // The same difference of shares, on few samples: 2 · (1 + 10) / 2^10.
    let steady = verdict_of(10, 0);
    assert_eq!(steady.matches("Better beyond noise.").count(), 2);
    let told = "+1.4 points, 95 % interval +0.5 to +2.4. Right where head is wrong on 10, wrong where it \
                is right on 0 images: p = 0.002 (McNemar's exact test).";
    assert!(steady.contains(told));
    assert_eq!(verdict_of(12, 3).matches("p = 0.035").count(), 2);
    assert_eq!(verdict_of(12, 3).matches("Better beyond noise.").count(), 2);
    let worse = verdict_of(18, 40);
    assert_eq!(worse.matches("Worse beyond noise").count(), 2);
}

#[test]
fn with_repetitions_all_seeds_decide() {
    let verdict = |head: [f64; 3]| {
        page_after(|root| {
            edit(root, "results.json", |results| {
                for (i, repeat) in results["repeats"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .enumerate()
                {
                    for strategy in repeat["strategies"].as_array_mut().unwrap() {
                        let (validation, held_out) = match strategy["name"].as_str().unwrap() {
                            // Not the best with the first seed, but with all together.
                            "blocks" => ([0.80, 0.95, 0.95][i], 0.9),
                            "head" => ([0.90, 0.80, 0.80][i], head[i]),
                            _ => (0.5, 0.6),
                        };
                        strategy["monitored"] = validation.into();
                        strategy["held_out_accuracy"] = held_out.into();
                    }
                }
            });
        })
    };
    let clear = verdict([0.80, 0.81, 0.80]);
    assert!(clear.contains("Best by mean validation accuracy over all seeds: blocks"));
    assert!(clear.contains("+9.7 points, 95 % interval"));
    assert_eq!(
        clear
            .matches("the mean over 3 seeds. Better beyond noise.")
            .count(),
        2
    );
    let scattered = verdict([0.70, 0.89, 0.95]);
    assert!(scattered.contains("Within noise: over 3 seeds this difference may be chance."));
}

#[test]
fn the_monitored_figure_decides_which_strategy_is_the_best() {
    let page = page_of(ONE_SEED, |root| {
        edit(root, "run.json", |run| {
            run["configuration"]["monitor"] = "balanced-accuracy".into();
        });
        let trials = root.join("trials.jsonl");
        let lines = fs::read_to_string(&trials).unwrap();
        let fair = |line: &str| {
            let mut trial: serde_json::Value = serde_json::from_str(line).unwrap();
            if trial["strategy"] == "windows" && trial["phase"] == "train" {
                trial["validation"]["accuracy"] = 0.1.into();
                trial["validation"]["balanced_accuracy"] = 1.0.into();
            }
            format!("{trial}\n")
        };
        fs::write(&trials, lines.lines().map(fair).collect::<String>()).unwrap();
    });
    assert!(page.contains("Best by validation balanced accuracy: windows"));
    assert!(page.contains("<figure id=\"curve-monitored\">"));
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
fn a_run_of_an_older_version_is_said_to_be_one() {
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    edit(&root, "run.json", |run| {
        let run = run.as_object_mut().unwrap();
        run.remove("format");
        run["configuration"]
            .as_object_mut()
            .unwrap()
            .remove("class_weights");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(&root).assert().code(2);
    let text = String::from_utf8(out.get_output().stderr.clone()).unwrap();
    assert!(text.contains("another version of ftsurgery"), "{text}");
    assert!(!text.contains("damaged"), "{text}");
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
fn without_held_out_or_validation_data_the_verdict_says_so() {
    let none = serde_json::Value::Null;
    let page = page_after(|root| {
        edit(root, "results.json", |results| {
            for strategy in results["strategies"].as_array_mut().unwrap() {
                strategy["held_out"] = none.clone();
                strategy["held_out_accuracy"] = none.clone();
            }
        });
    });
    assert!(page.contains("No data was held out."));
    assert!(!page.contains("id=\"confusion\""));
    let page = page_after(|root| {
        edit(root, "results.json", |results| {
            for strategy in results["strategies"].as_array_mut().unwrap() {
                strategy["validation_accuracy"] = none.clone();
            }
            results["repeats"] = serde_json::json!([]);
        });
    });
    assert!(page.contains("No verdict: there is no validation data."));
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
fn the_command_writes_the_report_anew_and_the_same_again() {
    let folder = reported(USUAL);
    let root = folder.path().join("run");
    let before = page(&folder);
    let events = root.join("tensorboard/head-train/events.out.tfevents.0.ftsurgery");
    let old = fs::read(&events).unwrap();
    // An earlier run's; a file of somebody else's stays.
    fs::create_dir_all(root.join("tensorboard/gone-train")).unwrap();
    fs::copy(
        &events,
        root.join("tensorboard/gone-train/events.out.tfevents.0.ftsurgery"),
    )
    .unwrap();
    fs::create_dir_all(root.join("tensorboard/mine")).unwrap();
    fs::write(root.join("tensorboard/mine/notes"), "mine").unwrap();
    fs::write(root.join("report.html"), "old").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(&root).assert().success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("report.html") && text.contains("tensorboard"),
        "{text}"
    );
    assert_eq!(page(&folder), before);
    assert_eq!(fs::read(&events).unwrap(), old);
    assert!(!root.join("tensorboard/gone-train").exists());
    assert!(root.join("tensorboard/mine/notes").exists());
}

#[test]
fn a_folder_that_is_no_run_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    let out = command.arg("report").arg(folder.path()).assert().code(2);
    let text = String::from_utf8(out.get_output().stderr.clone()).unwrap();
    assert!(text.contains("is not the folder of a run"), "{text}");
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
