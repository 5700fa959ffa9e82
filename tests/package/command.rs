//! What `package` refuses, and what it leaves alone.

use std::fs;

use ftsurgery::runtime::testing::has_runtime;

use crate::scene::{place, subjects};

#[test]
fn what_would_do_nothing_or_write_over_something_is_refused() {
    if !has_runtime() {
        return;
    }
    let place = place(&subjects()[0].proto);
    for (flags, words) in [
        ("--format triton --run run", "--run does nothing here"),
        ("--format web --license MIT", "--license does nothing here"),
        (
            "--format plain --runtime-web .",
            "--runtime-web does nothing here",
        ),
        ("--format triton --name a/b", "no name for a package"),
        ("--format triton --name ../x", "no name for a package"),
        ("--format web --embed-preprocessing", "the page decodes"),
        (
            "--format kserve --embed-preprocessing chw",
            "unexpected argument",
        ),
    ] {
        let said = place.run(&format!("package model.onnx --out made {flags}"));
        said.refused(&[words]);
        assert!(!place.at("made").exists(), "{flags}");
    }
    fs::create_dir(place.at("full")).unwrap();
    fs::write(place.at("full/mine"), "mine").unwrap();
    let flags = "package model.onnx --format plain --out full";
    place.run(flags).refused(&["full is not empty", "--force"]);
    place.run(&format!("{flags} --force")).well();
    assert_eq!(fs::read_to_string(place.at("full/mine")).unwrap(), "mine");
    let model = fs::read(place.at("full/model.onnx")).unwrap();
    place
        .run("package full/model.onnx --format plain --out full --force")
        .refused(&["full/model.onnx is read here"]);
    assert!(fs::read(place.at("full/model.onnx")).unwrap() == model);
}

#[test]
fn a_model_that_does_not_say_how_it_wants_its_pixels_is_refused_until_it_is_said() {
    if !has_runtime() {
        return;
    }
    let mut silent = subjects().remove(0).proto;
    silent
        .metadata_props
        .retain(|entry| entry.key.as_deref() != Some("ftsurgery.preprocess"));
    let place = place(&silent);
    let flags = "package model.onnx --format triton --out made";
    place
        .run(flags)
        .refused(&["how the model wants its pixels", "--preprocess"]);
    place
        .run(&format!("{flags} --preprocess signed --resize crop"))
        .well();
    let made = ftsurgery::onnx::Model::open(&place.at("made/model/1/model.onnx")).unwrap();
    let said = made.metadata("ftsurgery.preprocess").unwrap();
    assert!(said.contains("crop"), "{said}");
}

#[test]
fn a_model_that_mixes_samples_is_run_one_by_one() {
    if !has_runtime() {
        return;
    }
    let mut proto = subjects().remove(0).proto;
    let graph = proto.graph.as_mut().unwrap();
    // What is behind the first convolution, less its mean over the batch.
    let [mean, less] = [
        crate::models::node("ReduceMean", &["c1"], "mean").with("axes", vec![0i64, 2, 3]),
        crate::models::node("Sub", &["c1", "mean"], "less"),
    ];
    graph.node[1].input[0] = "less".to_owned();
    graph.node.splice(1..1, [mean.to_proto(), less.to_proto()]);
    let place = place(&proto);
    let said = place.run("package model.onnx --format triton --out made");
    assert!(
        said.well()
            .contains("something else of a sample beside others")
    );
    let config = fs::read_to_string(place.at("made/model/config.pbtxt")).unwrap();
    assert!(
        config.contains("max_batch_size: 1\n") && !config.contains("dynamic_batching"),
        "{config}"
    );
}
