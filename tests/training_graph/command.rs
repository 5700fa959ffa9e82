//! What `differentiate --optimizer` writes, prints and refuses.

use std::fs;
use std::path::Path;

use ftsurgery::graph::{Builder, Dim, Graph, Value};
use ftsurgery::onnx::messages::ValueInfoProto;
use ftsurgery::onnx::{DataType, Model, save, save_within};
use ftsurgery::runtime::Array;
use ftsurgery::runtime::testing::runtime;
use ndarray::{ArrayD, IxDyn};

use crate::networks::Small;
use crate::scene::{Made, ftsurgery};

/// A regression of images of 2 × 4 × 4 whose own names are in the way: its input is `labels`, its output `loss`, an inner
/// value `learning_rate`, and a trained tensor `param/w`; where `ends` is set, it has the loss that `mse` has at
/// the end, `cost`, of a second input, `wanted`.
fn save_awkward(path: &Path, ends: bool) {
    let names = Small {
        input: "labels",
        map: "learning_rate",
        output: "loss",
        weights: ["param/w", "w"],
    };
    let mut graph = names.graph("Softplus", 3);
    if ends {
        let mut b = Builder::new(&mut graph);
        let apart = b.op("apart", "Sub", &["loss", "wanted"], vec![]);
        let square = b.op("square", "Mul", &[&apart, &apart], vec![]);
        b.op(
            "cost",
            "ReduceMean",
            &[&square],
            vec![("keepdims", 0.into())],
        );
        graph.inputs.push(Value::batched("wanted", &[3]));
        graph
            .outputs
            .insert(0, Value::fixed("cost", DataType::Float, &[]));
    }
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

fn names(values: &[ValueInfoProto]) -> Vec<String> {
    values.iter().filter_map(|v| v.name.clone()).collect()
}

#[test]
fn names_of_the_model_keep_their_meaning_and_the_state_its_names() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    save_awkward(&at("model.onnx"), false);
    let assert = ftsurgery(&["differentiate", "--optimizer", "sgd", "--loss", "mse"])
        .args(["--batch-size", "free"])
        .arg(at("model.onnx"))
        .arg("--out")
        .arg(at("step.onnx"))
        .assert()
        .success();
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for line in [
        "  labels [N, 2, 4, 4], float",
        "  labels_2 [N, 3], float",
        "  learning_rate [], float",
        "  step [], int64",
        "  backbone [32], uint8",
        "  param/param/w [5, 2, 3, 3], float",
        "  moment1/w [5, 3], float",
        "  loss_2 [], float",
        "  loss [N, 3], float",
    ] {
        assert!(said.lines().any(|l| l == line), "no {line} in {said}");
    }
    let made = Model::open(&at("step.onnx")).unwrap();
    let state = [
        "step",
        "backbone",
        "param/param/w",
        "moment1/param/w",
        "param/w",
        "moment1/w",
    ];
    let mut inputs = vec!["labels", "labels_2", "learning_rate"];
    inputs.extend(state);
    assert_eq!(names(&made.graph().input), inputs);
    let next = state.map(|name| format!("next/{name}"));
    let mut outputs = vec!["loss_2".to_owned(), "loss".to_owned()];
    outputs.extend(next);
    assert_eq!(names(&made.graph().output), outputs);
    for (key, value) in [
        ("kind", "training"),
        ("contract", "1"),
        ("loss", "mse"),
        ("optimizer", "sgd"),
        ("input.data", "labels"),
        ("input.labels", "labels_2"),
        ("output.loss", "loss_2"),
        ("output.logits", "loss"),
    ] {
        assert_eq!(made.metadata(&format!("ftsurgery.{key}")), Some(value));
    }
    let graph = Graph::from_model(&made).unwrap();
    let batch = &graph.inputs[0].dims.as_ref().unwrap()[0];
    assert_eq!(*batch, Dim::Symbolic("N".to_owned()));
}

#[test]
fn a_loss_in_the_model_is_made_smaller_as_the_same_loss_of_ours() {
    let Some(runtime) = runtime() else { return };
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    save_awkward(&at("model.onnx"), false);
    save_awkward(&at("ended.onnx"), true);
    let x = ArrayD::from_shape_fn(IxDyn(&[3, 2, 4, 4]), |i| {
        (i[0] * 7 + i[2] * 3 + i[3]) as f32 / 9.0 - 1.0
    });
    let wanted = ArrayD::from_shape_fn(IxDyn(&[3, 3]), |i| (i[0] * 3 + i[1]) as f32 / 4.0);
    for batch in ["3", "free"] {
        let train = |model: &str, loss: &str, labels: &str| {
            let flags = format!("--optimizer adam --loss {loss} --batch-size {batch}");
            let mut made = Made::of(&runtime, &at(model), &flags);
            let inputs = [
                ("labels", Array::F32(x.clone())),
                (labels, Array::F32(wanted.clone())),
            ];
            let name = made
                .model
                .metadata("ftsurgery.output.loss")
                .unwrap()
                .to_owned();
            let losses: Vec<f32> = (0..3).map(|_| made.step_of(&inputs, 1e-2, &name)).collect();
            (losses, made.floats("param/param/w"), made.floats("param/w"))
        };
        let ours = train("model.onnx", "mse", "labels_2");
        let own = train("ended.onnx", "cost", "wanted");
        assert!(ours.0[2] < ours.0[0], "{:?}", ours.0);
        for (a, b) in ours.0.iter().zip(&own.0) {
            assert!((a - b).abs() < 1e-6 * a.abs(), "{ours:?} {own:?}");
        }
        for (a, b) in [(&ours.1, &own.1), (&ours.2, &own.2)] {
            assert!(crate::scene::apart(a, b) < 1e-6);
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_overwritten() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    save_awkward(&at("model.onnx"), false);
    let refused = |arguments: &str, word: &str| {
        let assert = ftsurgery(&["differentiate"])
            .arg(at("model.onnx"))
            .args(arguments.split(' '))
            .arg("--out")
            .arg(at("step.onnx"))
            .assert()
            .code(2)
            .stdout("");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(word), "no {word} in {said}");
    };
    refused("--loss mse", "--optimizer");
    refused("--clip 1 --bn batch", "by which --optimizer");
    refused("--batch-size free", "--optimizer");
    refused("--batch-size 0", "or `free`");
    refused("--optimizer lion", "none of adam, adamw, sgd");
    refused("--optimizer adam --momentum 0.5", "--momentum");
    refused("--optimizer adam --clip 0", "--clip");
    refused("--optimizer adam --ema 1", "--ema");
    refused(
        "--optimizer adam --loss nowhere",
        "`nowhere` is none of cross-entropy, bce and mse",
    );
    refused("--optimizer adam --loss soft", "it must be one number");
    refused(
        "--optimizer adam --loss mse --label-smoothing 0.1",
        "--label-smoothing",
    );
    refused("--optimizer adam --loss mse --task binary", "--task");
    refused("--optimizer adam --loss soft --output soft", "--output");
    refused(
        "--optimizer adam --loss bce --task single-label",
        "--loss bce",
    );
    refused(
        "--optimizer adam --loss cross-entropy --task multi-label",
        "--loss cross-entropy",
    );
    refused("--optimizer adam --class-weights 1,2", "3 classes");
    refused("--optimizer adam --trainable head.*", "`head.*`");
    let state = at("step.onnx");
    let same = format!("--optimizer adam --state {}", state.display());
    refused(&same, "--state");
    assert!(!state.exists());
    fs::write(at("step.safetensors"), "mine").unwrap();
    refused("--optimizer adam", "--force");
    assert_eq!(fs::read_to_string(at("step.safetensors")).unwrap(), "mine");
    assert!(!state.exists());
}

#[test]
fn nothing_that_is_read_is_written_over() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    // Names of files that the command writes, also for what is beside the model with its values.
    let names = Small {
        input: "x",
        map: "conv",
        output: "scores",
        weights: ["w", "fc"],
    };
    let (model, data) = (at("model.onnx"), at("state.safetensors"));
    let proto = names.graph("Softplus", 4000).to_model(usize::MAX).0;
    assert!(save_within(64, proto, &model, "state.safetensors").unwrap());
    fs::copy(&model, at("eval_model.onnx")).unwrap();
    let before = [&model, &data].map(|path| fs::read(path).unwrap());
    for arguments in [
        "model.onnx --out model.onnx",
        "model.onnx --out state.safetensors",
        "model.onnx --optimizer adam --out model.onnx --state x",
        "model.onnx --optimizer adam --out x --state model.onnx",
        "model.onnx --optimizer adam --out state.onnx",
        "eval_model.onnx --format ort-training --out .",
        "model.onnx --format web --classes 2 --preprocess raw --out .",
    ] {
        let assert = ftsurgery(&["differentiate", "--force"])
            .current_dir(work.path())
            .args(arguments.split(' '))
            .assert()
            .code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains("is read here"), "{arguments}: {said}");
    }
    let list = [
        "list",
        "model.onnx",
        "--force",
        "--out",
        "state.safetensors",
    ];
    ftsurgery(&list).current_dir(work.path()).assert().code(2);
    assert_eq!([&model, &data].map(|path| fs::read(path).unwrap()), before);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 3);
}
