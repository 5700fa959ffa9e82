//! Successive halving: all candidates begin, the best go on from where they are.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0.5 --train-fraction 0.3 --epochs 2 \
                        --search-epochs 4 --strategies layers,blocks,head --lr 3e-3";

fn requests(scene: &Scene, run: &str) -> Vec<Value> {
    lines(&scene.at(run).join("requests.jsonl"))
}

fn of_search(requests: &[Value]) -> impl Iterator<Item = (&str, u64, u64)> {
    let search = requests.iter().filter(|r| r["phase"] == "search");
    search.map(|r| {
        let number = |name: &str| r[name].as_u64().unwrap();
        (r["id"].as_str().unwrap(), number("rung"), number("epochs"))
    })
}

#[test]
fn the_best_half_goes_on_to_the_figures_of_an_exhaustive_search() {
    the_best_half_goes_on(SETTINGS);
}

/// A schedule of some length begins anew on each rung: what is half way down says little of where it leads.
#[test]
fn the_rate_has_fallen_when_candidates_are_ranked() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    for schedule in ["cosine", "one-cycle"] {
        let settings = format!("{SETTINGS} --schedule {schedule} --search halving:2");
        succeeds(scene.start(schedule, &settings));
        let asked = requests(&scene, schedule);
        let (last, ..) = of_search(&asked).find(|r| r.2 == 4).unwrap();
        let file = scene
            .at(schedule)
            .join("trials")
            .join(last)
            .join("metrics.jsonl");
        let rates: Vec<f64> = lines(&file)
            .iter()
            .map(|epoch| epoch["learning_rate"].as_f64().unwrap())
            .collect();
        // Rungs of 1, 2 and 4 epochs: at the end of the third epoch it is half way down.
        assert_eq!(rates.len(), 4, "{rates:?}");
        let half_way = rates[2];
        assert!(
            [0, 1, 3].iter().all(|&end| rates[end] < half_way),
            "{rates:?}"
        );
    }
}

fn the_best_half_goes_on(settings: &str) {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    scene.whole(settings);
    succeeds(scene.start("run", &format!("{settings} --search halving:2")));
    let asked = requests(&scene, "run");
    let mut on_rung: BTreeMap<(u64, u64), Vec<&str>> = BTreeMap::new();
    for (id, rung, epochs) in of_search(&asked) {
        on_rung.entry((rung, epochs)).or_default().push(id);
    }
    let sizes: Vec<_> = on_rung.iter().map(|(&at, ids)| (at, ids.len())).collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert_eq!(
        [sizes[0].0, sizes[1].0, sizes[2].0],
        [(1, 1), (2, 2), (3, 4)]
    );
    assert!(
        sizes[0].1 > sizes[1].1 && sizes[1].1 >= sizes[2].1,
        "{sizes:?}"
    );

    let (all, halved) = (trials(&scene.at("whole")), trials(&scene.at("run")));
    for id in &on_rung[&(3, 4)] {
        let mut went_on = halved[*id].clone();
        assert_eq!(went_on["rung"], 3);
        went_on.as_object_mut().unwrap().remove("rung");
        assert_eq!(
            went_on, all[*id],
            "a trial that went on is as one that was not interrupted"
        );
        let metrics = |run: &str| -> Vec<Value> {
            let file = scene.at(run).join("trials").join(id).join("metrics.jsonl");
            lines(&file).into_iter().map(timeless).collect()
        };
        assert_eq!(metrics("run"), metrics("whole"));
    }
    let results = json(&scene.at("run/results.json"));
    for strategy in results["strategies"].as_array().unwrap() {
        assert!(strategy["model"].is_string(), "{strategy}");
    }
    let left = files(&scene.at("run"));
    assert!(!left.iter().any(|f| f.contains("checkpoint")), "{left:?}");
}

#[test]
fn a_halved_search_that_is_killed_at_any_trial_ends_as_one_that_was_not() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{SETTINGS} --search halving:2 --threads 1");
    scene.whole(&settings);
    let count = |run: &str| {
        let text = std::fs::read_to_string(scene.at(run).join("trials.jsonl"));
        text.unwrap_or_default().lines().count()
    };
    let whole = count("whole");
    for killed_at in (1..whole).step_by(2) {
        let run = format!("run{killed_at}");
        let mut child = scene.start(&run, &settings);
        wait("trial", || count(&run) >= killed_at);
        let _ = child.kill();
        let _ = child.wait();
        succeeds(scene.resume(&run, &[]));
        assert_same_outcome(&scene.at("whole"), &scene.at(&run));
    }
}

#[test]
fn a_run_goes_on_by_the_method_it_began_with() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head")));
    let (code, text) = said(scene.resume("run", &["--search", "halving"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--search"), "{text}");
}
