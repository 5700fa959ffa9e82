//! Which strategy is the best, and whether that may be chance.

use std::fs;
use std::path::Path;

use crate::fake;
use crate::support::*;

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
fn of_equal_strategies_it_is_told_what_decided() {
    let page = page_of(ONE_SEED, |root| {
        make_blocks_best(root);
        let trials = root.join("trials.jsonl");
        let lines = fs::read_to_string(&trials).unwrap();
        let equal = |line: &str| {
            let mut trial: serde_json::Value = serde_json::from_str(line).unwrap();
            if trial["strategy"] == "head" && trial["phase"] == "train" {
                trial["validation"]["accuracy"] = 1.0.into();
                trial["validation"]["loss"] = 0.9.into();
            }
            if trial["strategy"] == "blocks" && trial["phase"] == "train" {
                trial["validation"]["loss"] = 0.1.into();
            }
            format!("{trial}\n")
        };
        fs::write(&trials, lines.lines().map(equal).collect::<String>()).unwrap();
        edit(root, "results.json", |results| {
            for strategy in results["strategies"].as_array_mut().unwrap() {
                let equal = strategy["name"] == "head" || strategy["name"] == "blocks";
                let share = if equal { 1.0 } else { 0.25 };
                strategy["validation_accuracy"] = share.into();
                strategy["monitored"] = share.into();
                strategy["epochs"] = 2.into();
                strategy["still_improving"] = equal.into();
            }
        });
        let told = ftsurgery::report::verdict(&ftsurgery::run::RunFiles::read(root).unwrap());
        let expected = "best by validation accuracy: blocks, tied in validation accuracy with head: the lower \
                        validation loss decided\n";
        assert!(told.starts_with(expected), "{told}");
    });
    assert!(page.contains(
        "It is tied in validation accuracy with head: the lower validation loss decided."
    ));
    assert_eq!(
        page.matches("was still improving at its last epoch, number 2")
            .count(),
        2
    );
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
