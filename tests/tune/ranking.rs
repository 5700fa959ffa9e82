//! What candidates are ranked by and on, and how sure that is.

use serde_json::Value;

use crate::scene::*;
use crate::support::*;

const SETTINGS: &str = "--preprocess signed --search-fraction 0.3 --train-fraction 0.5 --epochs 1 \
                        --search-epochs 2 --strategies head,blocks --head linear --lr 1e-2 --threads 1";

fn search(run: &std::path::Path) -> Vec<Value> {
    let trials = trials(run).into_values();
    trials.filter(|t| t["phase"] == "search").collect()
}

#[test]
fn candidates_are_ranked_on_samples_that_they_are_not_trained_on_and_the_choice_says_how_sure_it_is()
 {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    let settings = format!("{SETTINGS} --rank-by loss --rank-samples 1000");
    scene.whole(&settings);
    let run = scene.at("whole");
    let parts = &json(&run.join("run.json"))["data"]["parts"];
    let part = |name: &str| parts[name].as_u64().unwrap();
    let expected = part("validation") + part("train");
    let searched = search(&run);
    assert_eq!(searched.len(), 4, "{searched:?}");
    for trial in &searched {
        assert_eq!(trial["ranking"]["count"], expected, "{trial}");
        assert_eq!(trial["validation"]["count"], part("validation"));
        let file = format!("trials/{}/ranking.json", trial["id"].as_str().unwrap());
        let ranking = json(&run.join(file));
        let losses = ranking["losses"].as_array().unwrap();
        assert_eq!(losses.len() as u64, expected);
        let mean = losses.iter().map(|l| l.as_f64().unwrap()).sum::<f64>() / expected as f64;
        assert!((mean - trial["ranking"]["loss"].as_f64().unwrap()).abs() < 1e-9);
    }
    let results = json(&run.join("results.json"));
    let certainty = &results["strategies"][1]["certainty"];
    assert_eq!(
        (&certainty["by"], &certainty["samples"]),
        (&"loss".into(), &expected.into())
    );
    let standings = certainty["candidates"].as_array().unwrap();
    let loss = |standing: &Value| {
        let trial = searched.iter().find(|t| t["id"] == standing["trial"]);
        trial.unwrap()["ranking"]["loss"].as_f64().unwrap()
    };
    let losses: Vec<f64> = standings.iter().map(loss).collect();
    assert!(losses.len() == 3 && losses.is_sorted(), "{losses:?}");
    assert_eq!(
        results["strategies"][1]["candidate"],
        standings[0]["candidate"]
    );
    for (standing, loss) in standings.iter().zip(&losses) {
        let behind = standing["behind"].as_f64().unwrap();
        assert!((behind - (loss - losses[0])).abs() < 1e-9, "{standing}");
    }
    let best = standings.iter().map(|s| s["best"].as_f64().unwrap());
    assert!((best.sum::<f64>() - 1.0).abs() < 1e-9);
    // There was nothing to choose for `head`.
    assert!(results["strategies"][0]["certainty"].is_null());
    // By accuracy on the validation part alone.
    let plain = format!("{SETTINGS} --rank-by accuracy --rank-samples 0");
    scene.tune("plain", &plain).assert().success();
    for trial in search(&scene.at("plain")) {
        assert_eq!(trial["ranking"], trial["validation"], "{trial}");
    }
}

#[test]
fn what_is_told_of_a_choice_stands_behind_the_table() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let output = scene
        .tune("run", SETTINGS)
        .assert()
        .success()
        .get_output()
        .clone();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|l| l.starts_with("blocks: "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("is the best of 3 with probability"), "{line}");
    let report = std::fs::read_to_string(scene.at("run/report.html")).unwrap();
    assert!(report.contains("is the best of 3 with probability"));
    // What a choice rests on is not passed over where its file is damaged.
    let results = json(&scene.at("run/results.json"));
    let winner = results["strategies"][1]["model"].as_str().unwrap();
    std::fs::remove_file(scene.at("run").join(winner)).unwrap();
    let one = search(&scene.at("run"))[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = format!("run/trials/{one}/ranking.json");
    std::fs::write(scene.at(&file), "{").unwrap();
    let (code, text) = said(scene.resume("run", &[]));
    assert!(
        code != Some(0) && text.contains("ranking.json"),
        "{code:?}: {text}"
    );
}
