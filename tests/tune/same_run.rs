//! What must be the same for a run to go on, and what need not.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::*;
use crate::support::*;

#[test]
fn what_has_changed_is_refused_by_name() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head --lr 1e-3");
    succeeds(scene.start("run", &settings));
    let refused = |arguments: &[&str], words: &[&str]| {
        let (code, text) = said(scene.resume("run", arguments));
        assert_eq!(code, Some(2), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    };
    succeeds(scene.resume("run", &["--lr", "1e-3"]));
    refused(&["--lr", "1e-4"], &["--lr", "0.001", "0.0001"]);
    refused(&["--head", "linear"], &["--head", "paper", "linear"]);
    refused(&["--bn", "batch"], &["--bn", "frozen", "batch"]);

    let photo = scene.at("photos/red/00.png");
    let bytes = std::fs::read(&photo).unwrap();
    let other = std::fs::read(scene.at("photos/blue/00.png")).unwrap();
    std::fs::write(&photo, other).unwrap();
    refused(&[], &["the data", "changed"]);
    std::fs::write(&photo, bytes).unwrap();

    let model = scene.at("model.onnx");
    std::fs::copy(&model, scene.at("old.onnx")).unwrap();
    let changed = ftsurgery::onnx::Model::open(&model).unwrap();
    let mut proto = changed.proto.clone();
    proto.doc_string = Some("changed".to_owned());
    drop(changed);
    ftsurgery::onnx::save(&proto, &model).unwrap();
    refused(&[], &["the model", "changed"]);
    std::fs::copy(scene.at("old.onnx"), &model).unwrap();
    succeeds(scene.resume("run", &[]));

    let (code, text) = said(scene.resume("nowhere", &[]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("nowhere"), "{text}");
}

#[test]
fn a_run_goes_on_with_the_threads_and_the_memory_it_began_with_wherever_that_is() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head");
    succeeds(scene.start("run", &settings));
    // As if it had begun on a machine with more cores.
    let path = scene.at("run/run.json");
    let mut record = json(&path);
    let cores = record["configuration"]["threads"].as_u64().unwrap();
    let elsewhere = cores + 3;
    record["configuration"]["threads"] = json!(elsewhere);
    let memory = record["configuration"]["memory_budget"].as_u64().unwrap();
    record["configuration"]["memory_budget"] = json!(memory + 1);
    std::fs::write(&path, record.to_string()).unwrap();
    std::fs::remove_file(scene.at("run/winners/head.onnx")).unwrap();
    succeeds(scene.resume("run", &[]));
    succeeds(scene.resume("run", &["--threads", &elsewhere.to_string()]));
    let (code, text) = said(scene.resume("run", &["--threads", &cores.to_string()]));
    assert_eq!(code, Some(2), "{text}");
    for word in ["--threads", &elsewhere.to_string(), &cores.to_string()] {
        assert!(text.contains(word), "{text}");
    }
}

/// Flags mean what they mean, not how they are written or whether they were needed.
#[test]
fn flags_are_compared_with_what_the_run_has_noted() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = format!("{QUICK} --strategies head");
    succeeds(scene.start("run", &settings));
    let same = "--lr 0.0001 --image-size 16x16 --dropout 0.50 --optimizer adam --epochs 3 \
                --strategies head";
    let same: Vec<&str> = same.split_whitespace().collect();
    succeeds(scene.resume("run", &same));
    let start = Instant::now();
    let (code, text) = said(scene.resume("run", &["--lr", "0.002"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--lr") && text.contains("0.0001"), "{text}");
    assert!(text.contains("0.002"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_run_that_goes_on_on_another_kind_of_processor_says_so() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    succeeds(scene.start("run", &format!("{QUICK} --strategies head")));
    let path = scene.at("run/run.json");
    let mut record = json(&path);
    let here = record["versions"]["instructions"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!here.is_empty());
    record["versions"]["instructions"] = json!("abacus");
    std::fs::write(&path, record.to_string()).unwrap();
    let text = scene.resume_telling("run");
    assert!(text.contains("abacus") && text.contains(&here), "{text}");
}
