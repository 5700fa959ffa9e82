//! `ftsurgery apply` of a trained state.

use std::fs;
use std::path::Path;

use ftsurgery::onnx::{Model, save};
use ftsurgery::runtime::Array;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::testing::only_tuned;

use crate::scene::{Arrays, Made, fixture, ftsurgery};

/// A graph of `convnet` with these flags, after a step.
fn stepped(flags: &str) -> Option<Made> {
    let runtime = runtime()?;
    let mut made = Made::of(&runtime, &fixture("convnet").join("model.onnx"), flags);
    let arrays = Arrays(fixture("convnet").join("reference.npz"));
    let (x, y) = (arrays.batches::<f32>("x"), arrays.batches::<i64>("y"));
    let inputs = [
        ("image", Array::F32(x[0].clone())),
        ("labels", Array::I64(y[0].clone())),
    ];
    made.step(&inputs, 1e-2);
    Some(made)
}

/// What `apply` says on stderr when it refuses, with exit code 2.
fn refusal(state: &Path, model: &Path, out: &Path) -> String {
    let assert = ftsurgery(&["apply"])
        .args([state, model])
        .arg("--out")
        .arg(out)
        .assert()
        .code(2);
    assert!(!out.exists());
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn trained_tensors_are_written_and_nothing_else_changes() {
    let model = fixture("convnet").join("model.onnx");
    let original = Model::open(&model).unwrap();
    for (flags, kinds) in [
        ("--optimizer adamw --batch-size 4", ["param", "param"]),
        (
            "--optimizer sgd --bn batch --batch-size 4",
            ["param", "running"],
        ),
        (
            "--optimizer sgd --bn batch --ema 0.5 --batch-size 4",
            ["average", "average"],
        ),
        (
            "--optimizer adam --trainable classifier.* --batch-size 4",
            ["param", "param"],
        ),
    ] {
        let Some(made) = stepped(flags) else { return };
        let at = |name: &str| made.folder.path().join(name);
        for file in ["trained.npz", "trained.safetensors"] {
            made.save(&at(file));
            let out = at("tuned.onnx");
            ftsurgery(&["apply"])
                .args([at(file), model.clone()])
                .args(["--force", "--out"])
                .arg(&out)
                .assert()
                .success();
            let tuned = Model::open(&out).unwrap();
            let is_tuned = |key: &&String| kinds.iter().any(|k| key.starts_with(&format!("{k}/")));
            let keys: Vec<&String> = made.state.keys().filter(is_tuned).collect();
            let names = keys
                .iter()
                .map(|key| key.split_once('/').unwrap().1.to_owned());
            let names: Vec<String> = names.collect();
            only_tuned(&original, &tuned, &names).unwrap();
            for tensor in &tuned.graph().initializer {
                let of = |kind: &str| format!("{kind}/{}", tensor.name());
                let key = kinds
                    .iter()
                    .map(|kind| of(kind))
                    .find(|key| keys.contains(&key));
                if let Some(key) = key {
                    let values = tuned.tensor(tensor).unwrap().to_f32().unwrap();
                    assert_eq!(values, made.floats(&key), "{key}");
                }
            }
            // No metadata, no other name: what is not trained is the same file.
            assert_eq!(tuned.proto.metadata_props, original.proto.metadata_props);
            assert_eq!(tuned.graph().node, original.graph().node);
        }
    }
}

#[test]
fn another_backbone_and_what_is_no_state_are_refused() {
    let Some(made) = stepped("--optimizer sgd --batch-size 4") else {
        return;
    };
    let at = |name: &str| made.folder.path().join(name);
    let (state, out) = (at("trained.npz"), at("tuned.onnx"));
    made.save(&state);
    let model = fixture("convnet").join("model.onnx");
    // The same network, saved anew with a word in it.
    let mut other = Model::open(&model).unwrap().proto;
    other.doc_string = Some("another".to_owned());
    save(&other, &at("other.onnx")).unwrap();
    let told = refusal(&state, &at("other.onnx"), &out);
    assert!(
        told.contains("what was tuned is a model of SHA-256"),
        "{told}"
    );
    assert!(told.contains("hint: "), "{told}");

    // A tensor of another network, and one of other dimensions, of which no moments tell.
    for (from, to, word) in [
        ("param/stem.weight", "param/stem", "no float tensor `stem`"),
        (
            "param/norm1.bias",
            "param/stem.weight",
            "`stem.weight` is [8]",
        ),
    ] {
        let mut wrong = stepped("--optimizer sgd --momentum 0 --batch-size 4").unwrap();
        let value = wrong.state.remove(from).unwrap();
        wrong.state.insert(to.to_owned(), value);
        wrong.save(&state);
        let told = refusal(&state, &model, &out);
        assert!(told.contains(word), "{told}");
    }
    let mut nameless = stepped("--optimizer sgd --batch-size 4").unwrap();
    nameless.state.remove("backbone");
    for file in ["nameless.npz", "nameless.safetensors"] {
        nameless.save(&at(file));
        let told = refusal(&at(file), &model, &out);
        assert!(told.contains("no `backbone`"), "{told}");
    }
    let mut bad = stepped("--optimizer sgd --batch-size 4").unwrap();
    if let Some(Array::F32(values)) = bad.state.get_mut("param/stem.weight") {
        values.fill(f32::NAN);
    }
    bad.save(&state);
    let told = refusal(&state, &model, &out);
    assert!(told.contains("stem.weight"), "{told}");
    fs::write(&state, "PK, but no archive").unwrap();
    let told = refusal(&state, &model, &out);
    assert!(told.contains("is no state of a training graph"), "{told}");
}

#[test]
fn nothing_that_is_read_is_written_over() {
    let Some(made) = stepped("--optimizer sgd --batch-size 4") else {
        return;
    };
    let at = |name: &str| made.folder.path().join(name);
    fs::copy(fixture("convnet").join("model.onnx"), at("model.onnx")).unwrap();
    made.save(&at("trained.npz"));
    let before = fs::read(at("model.onnx")).unwrap();
    for out in ["model.onnx", "trained.npz"] {
        ftsurgery(&["apply", "--force"])
            .args([at("trained.npz"), at("model.onnx")])
            .arg("--out")
            .arg(at(out))
            .assert()
            .code(2);
    }
    assert!(fs::read(at("model.onnx")).unwrap() == before);
    let assert = ftsurgery(&["apply", "--dry-run", "--json"])
        .args([at("trained.npz"), at("model.onnx")])
        .assert()
        .success();
    let told: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!((&told["steps"], &told["tensors"]), (&1.into(), &14.into()));
}
