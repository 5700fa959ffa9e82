//! Runs that are asked for more: other strategies, more repetitions.

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

fn names(run: &std::path::Path) -> Vec<String> {
    let results = json(&run.join("results.json"));
    let strategies = results["strategies"].as_array().unwrap().iter();
    strategies
        .map(|s| s["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_finished_run_does_other_strategies_and_repetitions_and_keeps_what_it_has() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head,blocks")));
    let run = scene.at("run");
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    let winners = ["winners/head.onnx", "winners/blocks.onnx"];
    let before: Vec<Vec<u8>> = winners.map(read).into();
    let tried = trials(&run);
    let clocks = || -> Vec<f64> {
        let results = json(&run.join("results.json"));
        let strategies = results["strategies"].as_array().unwrap().iter();
        let each = strategies.map(|s| s["clock"].as_f64().unwrap());
        each.chain(results["clock"].as_f64()).collect()
    };
    let first = clocks();
    assert!(0.0 < first[0] && first.is_sorted(), "{first:?}");

    let start = std::time::Instant::now();
    succeeds(scene.resume("run", &["--strategies", "layers,blocks"]));
    // The clock goes on where the first session had stopped it.
    let second = clocks();
    let most = first[2] + start.elapsed().as_secs_f64();
    assert_eq!(second[..2], first[..2]);
    assert!(
        first[2] < second[2] && second[2] <= second[3] && second[3] < most,
        "{first:?} {second:?}"
    );
    assert_eq!(names(&run), ["head", "blocks", "layers"]);
    assert!(winners.map(read).as_slice() == before);
    let now = trials(&run);
    assert!(tried.iter().all(|(id, trial)| now[id] == *trial));
    // Blocks of a single layer have been tried; nothing is tried twice.
    let twins = now.values().filter(|t| t["same_as"].is_string());
    assert!(twins.count() > 0 && now.len() > tried.len());
    let recorded = json(&run.join("run.json"));
    let strategies: Vec<&Value> = recorded["strategies"].as_array().unwrap().iter().collect();
    assert_eq!(strategies.len(), 3);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(
        config.contains(r#"["head", "blocks", "layers"]"#),
        "{config}"
    );

    succeeds(scene.resume("run", &["--repeats", "2"]));
    let results = json(&run.join("results.json"));
    let of = |number: usize| results["repeats"][number]["clock"].as_f64().unwrap();
    assert_eq!(of(0), second[3]);
    assert_eq!(results["clock"].as_f64(), Some(of(0) + of(1)));
    assert_eq!(results["repeats"].as_array().unwrap().len(), 2);
    assert_eq!(names(&run), ["head", "blocks", "layers"]);
    assert_eq!(names(&run.join("repeats/2")), ["head", "blocks", "layers"]);
    assert!(winners.map(read).as_slice() == before);

    // As it is now, it is resumed without being asked for anything.
    let whole = files(&run);
    succeeds(scene.resume("run", &[]));
    assert_eq!(files(&run), whole);
    let (code, text) = said(scene.resume("run", &["--repeats", "1"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--repeats"), "{text}");
}

#[test]
fn an_extended_run_that_is_interrupted_ends_as_one_that_was_not() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head,blocks --feature-precision f16");
    for run in ["whole", "run"] {
        succeeds(scene.start(run, &settings));
    }
    let more = ["--strategies", "layers,top2"];
    succeeds(scene.resume("whole", &more));
    let mut killed = scene.resume("run", &more);
    wait("trial of the extension", || {
        trials(&scene.at("run"))
            .keys()
            .any(|id| id.starts_with("layers"))
    });
    let _ = killed.kill();
    let _ = killed.wait();
    succeeds(scene.resume("run", &[]));
    assert_same_outcome(&scene.at("whole"), &scene.at("run"));
}

#[test]
fn the_layers_that_are_selected_may_be_named_when_select_is_added() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head")));
    succeeds(scene.resume("run", &["--strategies", "select", "--train", "c2.w"]));
    assert_eq!(names(&scene.at("run")), ["head", "select"]);
    let (code, text) = said(scene.resume("run", &["--train", "c1.w"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--train"), "{text}");
}
