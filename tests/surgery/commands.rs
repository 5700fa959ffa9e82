//! What the commands say and refuse.

use serde_json::Value;

use crate::support::{fixture, ftsurgery};

struct Place {
    folder: tempfile::TempDir,
    model: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.onnx");
        std::fs::copy(fixture(name), &model).unwrap();
        Place {
            model: model.display().to_string(),
            folder,
        }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = files
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_dry_run_tells_what_would_change_and_writes_nothing() {
    let place = Place::new("functions.onnx");
    let said = ftsurgery(&["prune", &place.model, "--dry-run"]).well();
    assert!(said.out.contains("gone: 1 tensor\n"), "{}", said.out);
    assert!(said.out.contains("tensor `unused` is gone"), "{}", said.out);
    assert!(said.notes.contains("nothing is written"), "{}", said.notes);
    let said = ftsurgery(&["externalize", &place.model, "--dry-run", "--least", "1"]).well();
    assert!(
        said.out
            .contains("5 tensors would have their values beside"),
        "{}",
        said.out
    );
    assert_eq!(place.files(), ["model.onnx"]);
}

#[test]
fn json_has_the_manifest_the_counts_and_what_was_checked() {
    let place = Place::new("functions.onnx");
    let out = place.at("out.onnx");
    let words = [
        "prune",
        &place.model,
        "--out",
        &out,
        "--check",
        "structure",
        "--json",
    ];
    let said = ftsurgery(&words).well();
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["operation"], "prune");
    assert_eq!(json["changes"][0]["name"], "unused");
    assert_eq!(
        json["counts"][0],
        serde_json::json!({"what": "removed", "part": "tensor", "count": 1})
    );
    assert_eq!(
        json["checked"],
        serde_json::json!({"structure": true, "numbers": null})
    );
    assert_eq!(place.files(), ["model.onnx", "out.onnx"]);
}

#[test]
fn what_is_there_is_written_over_only_when_asked_and_what_is_read_never() {
    let place = Place::new("ir3.onnx");
    let out = place.at("out.onnx");
    std::fs::write(&out, "something").unwrap();
    let prune = ["prune", &place.model, "--check", "structure", "--out"];
    ftsurgery(&[&prune[..], &[&out]].concat()).refused(&["out.onnx exists", "--force"]);
    assert_eq!(std::fs::read(&out).unwrap(), b"something");
    ftsurgery(&[&prune[..], &[&out, "--force"]].concat()).well();
    ftsurgery(&[&prune[..], &[&place.model, "--force"]].concat())
        .refused(&["is read here, and would be written over"]);
    let external = [
        "externalize",
        &place.model,
        "--least",
        "1",
        "--check",
        "structure",
        "--out",
    ];
    let (ext, other) = (place.at("ext.onnx"), place.at("other.onnx"));
    ftsurgery(&[&external[..], &[&ext]].concat()).well();
    assert!(place.files().contains(&"ext.onnx.data".to_owned()));
    // The data of one model are not those of another.
    ftsurgery(&["prune", &ext, "--check", "structure", "--out", &other]).well();
    std::fs::copy(&ext, place.at("link.onnx")).unwrap();
    let over = ["prune", &place.at("link.onnx"), "--out", &ext, "--force"];
    ftsurgery(&over).refused(&["ext.onnx.data is read here"]);
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_leaves_nothing() {
    let place = Place::new("subgraphs.onnx");
    let out = place.at("out.onnx");
    let run = |words: &[&str]| {
        let words = [&words[..1], &[&place.model], &words[1..], &["--out", &out]].concat();
        ftsurgery(&words)
    };
    run(&["extract", "--outputs", "nothing"]).refused(&["`nothing`"]);
    run(&["extract", "--inputs", "sum", "--outputs", "y"]).refused(&["cannot be computed"]);
    run(&["rename", "--value", "x=w"]).refused(&["`w` is taken"]);
    run(&["rename", "--value", "m=n"]).refused(&["`m`"]);
    run(&["rename", "--value", "h=m"]).refused(&["`h` cannot be renamed"]);
    run(&["rename", "--regex", "(", "x"]).refused(&["no regular expression"]);
    run(&["rename", "--regex", "^zzz", "x"]).refused(&["^zzz"]);
    run(&["rename"]).refused(&["--prefix"]);
    run(&["batch", "--free"]).refused(&["fixed batch size"]);
    run(&["batch"]).refused(&["--free"]);
    run(&["head", "--classes", "3"]).refused(&[]);
    run(&["extract"]).refused(&["--outputs"]);
    ftsurgery(&["extract", &place.model, "--outputs", "h"]).refused(&["--out"]);
    assert_eq!(place.files(), ["model.onnx"]);
}

#[test]
fn long_manifests_are_shortened_unless_all_is_asked_for() {
    let place = Place::new("notes.onnx");
    let words = ["rename", &place.model, "--prefix", "a/", "--dry-run"];
    let said = ftsurgery(&words).well();
    assert!(said.out.contains("(--verbose tells all)"), "{}", said.out);
    let all = ftsurgery(&[&words[..], &["--verbose"]].concat()).well();
    assert!(!all.out.contains("(--verbose tells all)") && all.out.len() > said.out.len());
}

#[test]
fn a_list_of_parameters_has_their_statistics() {
    let place = Place::new("ir3.onnx");
    let words = [
        "list",
        &place.model,
        "--stats",
        "--json",
        "--match",
        "layer?.weight",
    ];
    let json: Value = serde_json::from_str(&ftsurgery(&words).well().out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    let model = ftsurgery::onnx::Model::open(std::path::Path::new(&place.model)).unwrap();
    let tensor = &model.graph().initializer[0];
    let values = model.tensor(tensor).unwrap().to_f32().unwrap();
    let mean: f64 = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let told = &json[0]["statistics"];
    assert!((told["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    let most = values.iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(told["max"].as_f64().unwrap() as f32, most);
    ftsurgery(&["list", &place.model, "--match", "zz*"]).refused(&["`zz*`"]);
}

#[test]
fn a_freeze_list_that_is_written_is_read_by_who_differentiates() {
    let place = Place::new("ir3.onnx");
    let (list, step) = (place.at("freeze.txt"), place.at("step.onnx"));
    ftsurgery(&[
        "list",
        &place.model,
        "--out",
        &list,
        "--freeze",
        "layer1.weight",
    ])
    .well();
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains("\n!layer1.weight\nlayer1.bias\n"), "{text}");
    assert!(!text.contains("layer1.mean"), "no weight: {text}");
    let differentiate = ["differentiate", &place.model, "--out", &step, "--force"];
    let with = |words: &[&str]| ftsurgery(&[&differentiate[..], words].concat());
    with(&["--freeze-list", &list]).well();
    let model = ftsurgery::onnx::Model::open(std::path::Path::new(&step)).unwrap();
    let outputs: Vec<&str> = model.graph().output.iter().map(|o| o.name()).collect();
    assert!(
        outputs.contains(&"grad/layer1.bias") && !outputs.contains(&"grad/layer1.weight"),
        "{outputs:?}"
    );
    with(&["--freeze-list", &list, "--trainable", "layer1.weight"]).refused(&["freezes them all"]);
    std::fs::write(&list, "other.*\n").unwrap();
    with(&["--freeze-list", &list]).refused(&["`other.*`", "freeze.txt"]);
    std::fs::write(&list, "# nothing\n").unwrap();
    with(&["--freeze-list", &list]).refused(&["names nothing"]);
}
